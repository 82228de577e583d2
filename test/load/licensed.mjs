// What a license costs at the gateway: CPU time of a request whose license it has seen before, over the free route in
// the same run; of one that it sees for the first time, over one that it has seen; and what a million licenses of which
// every tenth was revoked change. One core for the gateway, 64 connections, saturated, answers of 1 KiB.
//   node test/load/licensed.mjs [--rounds 9] [--seconds 2]
// Needs build/pontage (or PTG_BIN), build/release/crypto_bench, nginx and wrk.
import { execFile, spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { freePort } from "../rig/src/nginx.mjs";
import * as config from "../rig/src/config.mjs";
import { binary, run as pontage, sellerConfig } from "../rig/src/pontage.mjs";
import { anonymousKiB, cpuNs, median, row } from "./figures.mjs";

const kRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const kLicenses = 1_000_000;
const kRevoked = 100_000;
// The gateway keeps 32,768 that it has verified, any of them: of seven times as many next to none is known when it comes again.
const kStrangers = 240_000;
// In so many milliseconds a crowd's calls are written down, a part every five seconds.
const kWritten = 70_000;
const { values } = parseArgs({
  options: { rounds: { type: "string", default: "9" }, seconds: { type: "string", default: "2" }, stay: { type: "boolean", default: false } },
});
const run = promisify(execFile);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-load-"));
fs.chmodSync(dir, 0o755);
const children = [];

function start(cpu, command, args, options = {}) {
  const child = spawn("taskset", ["-c", String(cpu), command, ...args], { stdio: "ignore", ...options });
  children.push(child);
  return child;
}

async function startUpstream() {
  const port = await freePort();
  const conf = path.join(dir, "upstream.conf");
  fs.writeFileSync(conf, `daemon off; worker_processes 1; pid ${dir}/up.pid; error_log ${dir}/up.err; events { worker_connections 8192; }
    http { access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:${port} backlog=4096; location / { return 200 "${"x".repeat(1024)}"; } } }`);
  start(1, "nginx", ["-p", dir, "-c", conf, "-e", path.join(dir, "up.start")]);
  return `http://127.0.0.1:${port}`;
}

// A seller's folder with a plan; `issue` gives licenses of it.
async function makeShop(name, upstream) {
  const home = path.join(dir, name);
  if ((await pontage(["init", "--dir", home])).code !== 0) throw new Error("pontage init");
  const routes = `
[[plan]]
name = "pro"
price = "$29/month"
[[route]]
match = "/free/*"
price = "free"
[[route]]
match = "/paid/*"
price = "$0.001"
plans = ["pro"]
`;
  const sections = '[license]\nissuer = "https://api.example.com"\nsigning_key = "file:license.pem"\njwks = "file:jwks.json"\n';
  const file = path.join(home, "pontage.toml");
  fs.writeFileSync(file, sellerConfig({ rpc: "http://127.0.0.1:9", upstream, routes, server: "threads = 1", sections }));
  const env = { PONTAGE_EVM_KEY: config.evmKey("facilitator") };
  const out = await pontage(["license", "issue", "--plan", "pro", "--customer", "acme", "--json", "--config", file], { cwd: home, env });
  if (out.code !== 0) throw new Error(out.stderr);
  return { home, file, env, license: JSON.parse(out.stdout).license };
}

async function serve(shop) {
  const log = path.join(shop.home, "log");
  const env = { PATH: process.env.PATH, ...shop.env };
  const child = start(0, binary(), ["serve", "--role", "gateway,facilitator", "--config", shop.file], { cwd: shop.home, env, stdio: ["ignore", "ignore", fs.openSync(log, "w")] });
  for (let i = 0; i < 400; i++, await sleep(50)) {
    const address = /"event":"server\.listening","listener":"main","address":"([^"]+)"/.exec(fs.readFileSync(log, "utf8"))?.[1];
    if (address) return { pid: child.pid, url: `http://${address}` };
  }
  throw new Error(`the gateway did not come up\n${fs.readFileSync(log, "utf8")}`);
}

// A license like `one` under another id, signed as the issuer signs.
function likes(shop, count) {
  const key = crypto.createPrivateKey(fs.readFileSync(path.join(shop.home, "license.pem")));
  const [head, body] = shop.license.split(".");
  const claims = JSON.parse(Buffer.from(body, "base64url"));
  return Array.from({ length: count }, (_, i) => {
    const jti = `lic_${crypto.createHash("sha256").update(String(i)).digest("hex").slice(0, 32)}`;
    const text = `${head}.${Buffer.from(JSON.stringify({ ...claims, jti })).toString("base64url")}`;
    return `${text}.${crypto.sign(null, Buffer.from(text), key).toString("base64url")}`;
  });
}

// What is refused last before its signature is looked at, and what is refused for it: the difference is what one verification
// costs in this place, with the caches and the waking of others as they are here.
const unsigned = (token) => token.slice(0, -4);
const forged = (token) => {
  const at = token.lastIndexOf(".") + 1;
  return `${token.slice(0, at)}${token[at] === "A" ? "B" : "A"}${token.slice(at + 1)}`;
};

// Requests in turn under each of `tokens`, as a script for wrk.
function scriptOf(name, tokens) {
  const list = path.join(dir, `${name}.txt`);
  fs.writeFileSync(list, `${tokens.join("\n")}\n`);
  const script = path.join(dir, `${name}.lua`);
  fs.writeFileSync(script, `local all, n, i = {}, 0, tonumber(os.getenv("START") or 0)
for line in io.lines("${list}") do n = n + 1; all[n] = line end
local made = {}
init = function(args) for k = 1, n do made[k] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. all[k], ["Host"] = "a" }) end end
request = function() i = i % n + 1; return made[i] end
`);
  return ["-s", script];
}

let asked = 0;
let strangers;
// CPU time of `server` since now: what tells it, as often as it is asked, in nanoseconds.
const since = (server, before = cpuNs(server.pid)) => () => cpuNs(server.pid) - before;
// The CPU time for each of these requests, and how many they were.
async function load(server, where, how = [], { refused = false } = {}) {
  const used = since(server);
  const env = { ...process.env, START: String(asked % kStrangers) };
  const { stdout } = await run("taskset", ["-c", "1", "wrk", "-t", "1", "-c", "64", "-d", `${values.seconds}s`, ...how, server.url + where], { env });
  const count = Number(/(\d+) requests in/.exec(stdout)?.[1]);
  // The next run goes on with those that came longest ago; some were asked for and not answered.
  if (how === strangers) asked += count + 64;
  if (!count || /Non-2xx/.test(stdout) !== refused || /Socket errors/.test(stdout)) throw new Error(`${where}:\n${stdout}`);
  return { us: used() / 1000 / count, count };
}

// Calls are written down after they were served: the CPU time of `server` after a load until all of it is, and how many
// requests there were.
async function afterwards(server, how) {
  const { count } = await load(server, "/paid/x", how);
  const used = since(server);
  await sleep(kWritten);
  return { used: used(), count };
}

// Microseconds of one verification by libsodium, and of nothing else.
async function verification() {
  const { stdout } = await run("taskset", ["-c", "0", path.join(kRoot, "build/release/crypto_bench"), "--benchmark_filter=BM_VerifyEd25519", "--benchmark_format=json"]);
  return JSON.parse(stdout).benchmarks[0].cpu_time / 1000;
}

// The books of a million, and a feed of kRevoked lines, about as many licenses or about one: what the store keeps in
// memory of its file is the same.
async function fill(shop, about) {
  const { DatabaseSync } = await import("node:sqlite"); // not before: it warns that it is new
  const books = new DatabaseSync(path.join(shop.home, "pontage.db"));
  const now = Date.now();
  const id = (i) => `lic_${crypto.createHash("md5").update(`l${i}`).digest("hex")}`;
  books.exec("BEGIN");
  const license = books.prepare("INSERT INTO license (id, origin, customer, email, plan, products, tier, monthly, rpm, subscription, generation, status, revoked_by, reason, paid_through_ms, expires_ms, issued_ms, signed_until_ms, created_ms, updated_ms) SELECT ?, ?, customer, email, plan, products, tier, monthly, rpm, '', generation, ?, '', '', paid_through_ms, expires_ms, issued_ms, signed_until_ms, created_ms, updated_ms FROM license WHERE origin NOT LIKE 'load:%' LIMIT 1");
  const feed = books.prepare("INSERT INTO license_feed (seq, license, status, expires_ms, plan, generation, at_ms, hash) VALUES (?, ?, 'revoked', ?, 'pro', 1, ?, ?)");
  for (let i = 0; i < kLicenses; i++) license.run(id(i), `load:${i}`, i < kRevoked ? "revoked" : "active");
  for (let i = 0; i < kRevoked; i++) feed.run(i + 1, id(i % about), now + 1e9, now, `hash${i}`);
  books.exec("COMMIT");
  books.close();
}

try {
  const upstream = await startUpstream();
  // What strangers leave in the heap and in the books is theirs: they have a gateway of their own. All that is compared with
  // them is asked of the same one, because a verification takes a tenth more or less in another process.
  const few = await makeShop("few", upstream);
  const many = await makeShop("many", upstream);
  const visited = await makeShop("visited", upstream);
  await fill(few, 1);
  await fill(many, kRevoked);
  const a = await serve(few);
  const b = await serve(many);
  const c = await serve(visited);
  const all = likes(visited, kStrangers);
  strangers = scriptOf("strangers", all);
  const known = { a: scriptOf("a", [few.license]), b: scriptOf("b", [many.license]), c: scriptOf("c", [visited.license]) };
  const refused = { unsigned: scriptOf("unsigned", all.map(unsigned)), forged: scriptOf("forged", all.map(forged)) };
  if (values.stay) {
    console.log(JSON.stringify({ a, b, c, dir, known, strangers }));
    await new Promise(() => {});
  }
  await load(c, "/paid/x", strangers);
  await sleep(kWritten); // a server gives back what it has freed once a minute, too
  const bytes = ((anonymousKiB(b.pid) - anonymousKiB(a.pid)) * 1024) / kRevoked;
  // A license that is known leaves connections behind, too, and a row.
  const { used } = await afterwards(c, known.c);
  const crowd = await afterwards(c, strangers);
  const later = (crowd.used - used) / 1000 / crowd.count;
  const kinds = {
    free: () => load(a, "/free/x"),
    seen: () => load(a, "/paid/x", known.a),
    crowd: () => load(b, "/paid/x", known.b),
    unsigned: () => load(c, "/paid/x", refused.unsigned, { refused: true }),
    forged: () => load(c, "/paid/x", refused.forged, { refused: true }),
    own: () => load(c, "/paid/x", known.c),
    first: () => load(c, "/paid/x", strangers),
  };
  const names = Object.keys(kinds);
  const us = Object.fromEntries(names.map((kind) => [kind, []]));
  const verify = [];
  // The speed of a machine is not the same from one minute to the next: what is compared is measured close together. Of two
  // the mean: their differences are the smallest of all.
  const measure = async (order) => {
    const sums = {};
    for (const kind of [...order, ...order]) sums[kind] = (sums[kind] ?? 0) + (await kinds[kind]()).us / 2;
    for (const kind of order) us[kind].push(sums[kind]);
  };
  const round = async (turned) => {
    const turn = (order) => (turned ? order.reverse() : order);
    await measure(turn(["unsigned", "forged", "own", "first"]));
    await measure(turn(["seen", "free", "crowd"]));
    verify.push(await verification());
  };
  await round(false); // warm
  for (const kind of names) us[kind] = [];
  for (let i = 0; i < Number(values.rounds); i++) await round(i % 2 === 1);
  const over = (kind, base) => median(us[kind].map((own, i) => own - us[base][i]));
  const shown = (kind) => `${kind} ${median(us[kind]).toFixed(2)} us`;
  row("license seen before, over the free route", over("seen", "free"), "us", 1.5, { detail: `${shown("seen")}, ${shown("free")}` });
  const served = median(us.first.map((first, i) => first - us.own[i] - (us.forged[i] - us.unsigned[i])));
  row("license seen first, over seen and a verify", served + later, "us", 4, {
    detail: `${shown("first")}, seen ${median(us.own).toFixed(2)} us, one verification ${over("forged", "unsigned").toFixed(1)} us here, ${median(verify).toFixed(1)} us alone; ${later.toFixed(2)} us later for the books`,
  });
  row("1,000,000 licenses, 100,000 revoked", median(us.crowd.map((own, i) => own / us.seen[i])), "x one", 1.02, { detail: `${shown("crowd")}, ${shown("seen")}` });
  row("memory for each that is revoked", bytes, "B", 100);
} finally {
  for (const child of children) child.kill("SIGTERM");
  await sleep(300);
  fs.rmSync(dir, { recursive: true, force: true });
}
