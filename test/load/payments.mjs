// What a payment costs: CPU time of our process for each verification, settlement, paid call and reservation,
// beside what one recovery of a signature costs in the same run. Each figure is the median of five rounds.
//   node test/load/payments.mjs [--only recovery,verify,verify-rpc,settle,paid,reserve] [--rounds 5]
//   node test/load/payments.mjs --only store10m      a store with ten million finished payments; takes long
// Needs build/pontage (or PTG_BIN) with facilitator_bench, ledger_bench and load_sign beside it, wrk and nginx.
// The process that is measured has CPU 0, one loop and 64 calls outstanding; the load, the chain (the sandbox,
// whose blocks come at once) and the upstream have CPU 1.
import { execFile, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import * as config from "../rig/src/config.mjs";
import { freePort } from "../rig/src/nginx.mjs";
import { binary, sellerConfig } from "../rig/src/pontage.mjs";
import { cpuNs, median, row } from "./figures.mjs";

const kHere = path.dirname(fileURLToPath(import.meta.url));
// Where the benchmarks are, when PTG_BIN is another build's.
const kBuild = process.env.PTG_BENCH_DIR ?? path.dirname(fs.realpathSync(binary()));
const kPayers = 64;
const kSigners = ["facilitator", "deployer"]; // one for each process that settles on the chain
const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    only: { type: "string", default: "verify,verify-rpc,settle,paid,reserve" },
    count: { type: "string", default: "6000" }, // of payments in a round
    outstanding: { type: "string", default: "64" },
    stay: { type: "string" }, // seconds to go on with the last round's load: for a profiler beside it
    rows: { type: "string", default: "10000000" }, // of store10m
    store: { type: "string" }, // of store10m: a folder where the full store is kept, or found
  },
});
const only = new Set(values.only.split(","));
const kRounds = Number(values.rounds);
const kOutstanding = Number(values.outstanding);
const run = promisify(execFile);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-load-"));
fs.chmodSync(dir, 0o755);
const children = [];
let ending = false;

function start(cpu, command, args, options = {}) {
  const child = spawn("taskset", ["-c", String(cpu), command, ...args], { stdio: "ignore", ...options });
  children.push(child);
  child.once("exit", (code, signal) => {
    if (!ending && command !== "wrk" && !child.killed) console.error(`${command} ended by itself: ${code ?? signal}`);
  });
  return child;
}
async function until(what, ask) {
  for (let i = 0; i < 400; i++, await sleep(50)) {
    const got = await Promise.resolve().then(ask).catch(() => undefined);
    if (got) return got;
  }
  throw new Error(`${what} did not come up`);
}

// ---- the parties

async function startUpstream() {
  const port = await freePort();
  fs.writeFileSync(
    path.join(dir, "upstream.conf"),
    `daemon off; worker_processes 1; pid ${dir}/up.pid; error_log ${dir}/up.err; events { worker_connections 4096; }
    http { access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:${port} backlog=4096; location / { return 200 "${"x".repeat(1024)}"; } } }`,
  );
  start(1, "nginx", ["-p", dir, "-c", path.join(dir, "upstream.conf"), "-e", path.join(dir, "up.start")]);
  const url = `http://127.0.0.1:${port}`;
  await until("the upstream", async () => (await fetch(url)).ok);
  return url;
}

async function call(rpc, method, ...params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const answer = await (await fetch(rpc, { method: "POST", headers: { "content-type": "application/json" }, body })).json();
  if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
  return answer.result;
}

async function startChain() {
  const port = await freePort();
  const child = start(1, binary(), ["sandbox", "--json", "--port", String(port)], { cwd: dir });
  const rpc = `http://127.0.0.1:${port}`;
  await until("the sandbox", () => call(rpc, "eth_chainId"));
  const { stdout } = await run(path.join(kBuild, "load_sign"), ["payers", String(kPayers)]);
  const payers = stdout.trim().split("\n");
  for (const payer of payers) await call(rpc, "sandbox_fund", payer, "0x5af3107a4000", "0x0");
  for (const signer of kSigners) await call(rpc, "sandbox_fund", config.evmAddress(signer), "0x0", "0x21e19e0c9bab2400000");
  return { rpc, pid: child.pid, stop: () => child.kill("SIGTERM") };
}

async function startPontage(rpc, upstream, { role, signer = kSigners[0], store = "sqlite:pontage.db", home = fs.mkdtempSync(path.join(dir, "home-")) } = {}) {
  const routes = role ? "" : `[[route]]\nmatch = "/paid/*"\nprice = "$0.001"\n`;
  const toml = sellerConfig({ rpc, upstream, routes, store, server: 'threads = 1\npublic_url = "http://shop.example"' });
  fs.writeFileSync(path.join(home, "pontage.toml"), toml);
  const log = path.join(home, "log");
  const child = start(0, binary(), ["serve", "--config", path.join(home, "pontage.toml"), ...(role ? ["--role", role] : [])], {
    cwd: home,
    env: { PATH: process.env.PATH, PONTAGE_EVM_KEY: config.evmKey(signer) },
    stdio: ["ignore", "ignore", fs.openSync(log, "w")],
  });
  const url = await until("pontage", () => /"event":"server\.listening".*"listener":"main".*"url":"([^"]+)"/.exec(fs.readFileSync(log, "utf8"))?.[1]);
  await until("pontage", () => /"event":"settle\.signer_ready"/.test(fs.readFileSync(log, "utf8")));
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const stop = async () => {
    child.kill("SIGTERM");
    await exited;
  };
  return { url, pid: child.pid, home, log, stop };
}

// ---- the load

let serial = 0;
async function sign(what, count, ...more) {
  const file = path.join(dir, `payments-${++serial}`);
  const out = fs.openSync(file, "w");
  const child = spawn(path.join(kBuild, "load_sign"), [what, String(count), String(kPayers), config.evmAddress("payee"), `${process.pid}-${serial}`, ...more], {
    stdio: ["ignore", out, "inherit"],
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  fs.closeSync(out);
  if (code !== 0) throw new Error(`load_sign: ${code}`);
  return file;
}

// Sends every line of `file`; resolves to {us of CPU for each, p50, p99 in us}.
async function feed(server, file, count, method, target, sign, outstanding = kOutstanding) {
  const args = ["-t1", `-c${outstanding}`, "-d600", "--timeout", "60s", "-s", path.join(kHere, "feed.lua"), server.url, "--", file, method, target, sign];
  const before = cpuNs(server.pid);
  let after;
  const child = start(1, "wrk", args, { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (data) => {
    said += data;
    if (after === undefined && /^fed .*\n/m.test(said)) {
      after = cpuNs(server.pid);
      child.kill("SIGINT");
    }
  });
  await new Promise((resolve) => child.once("close", resolve));
  children.splice(children.indexOf(child), 1);
  const fed = /^fed (\d+) bad (\d+) (.*)$/m.exec(said);
  if (!fed || Number(fed[1]) !== count || fed[2] !== "0") throw new Error(`${target}: ${said}\n${fs.readFileSync(server.log, "utf8").slice(-2000)}`);
  const [, p50, p99] = /latency p50 (\d+) p99 (\d+)/.exec(said).map(Number);
  return { us: (after - before) / 1000 / count, p50, p99 };
}

async function rounds(server, how) {
  const count = Number(values.count);
  const { what, method, target, sign: sought } = how;
  const more = what === "header" ? [`http://shop.example${target}`] : [];
  await feed(server, await sign(what, 1000, ...more), 1000, method, target, sought);
  const got = [];
  for (let i = 0; i < kRounds; i++) got.push(await feed(server, await sign(what, count, ...more), count, method, target, sought));
  if (values.stay) {
    console.log(`pid ${server.pid} is under load`);
    for (const end = Date.now() + Number(values.stay) * 1000; Date.now() < end; ) {
      await feed(server, await sign(what, count, ...more), count, method, target, sought);
    }
  }
  const of = (key) => median(got.map((one) => one[key]));
  return { us: of("us"), detail: `p50 ${(of("p50") / 1000).toFixed(1)} ms, p99 ${(of("p99") / 1000).toFixed(1)} ms` };
}

// ---- figures

// Medians in us for one item, by the name of the benchmark.
async function microBenchmark(name, filter) {
  const { stdout } = await run(
    "taskset",
    ["-c", "0", path.join(kBuild, name), `--benchmark_filter=${filter}`, `--benchmark_repetitions=${kRounds}`, "--benchmark_format=json"],
    { maxBuffer: 1 << 24 },
  );
  const all = {};
  for (const one of JSON.parse(stdout).benchmarks) {
    if (one.run_type === "iteration" && !one.error_occurred) (all[one.run_name] ??= []).push(1e6 / one.items_per_second);
  }
  return Object.fromEntries(Object.entries(all).map(([key, us]) => [key, median(us)]));
}

// A store with `rows` payments that were settled and delivered over a year, made by SQL: as the ledger leaves them,
// with their history and their outbox rows.
async function fill(file, rows) {
  const { DatabaseSync } = await import("node:sqlite"); // not before: it warns that it is new
  const db = new DatabaseSync(file);
  const indices = db.prepare("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name LIKE 'reservation%' OR name = 'outbox_due'").all();
  db.exec("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA temp_store = FILE");
  for (const { name } of indices) db.exec(`DROP INDEX ${name}`);
  const at = Date.now() - 366 * 86_400_000;
  const made = (i) => `${at} + ${i} * ${Math.floor((365 * 86_400_000) / rows)}`;
  const numbers = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})`;
  const id = (prefix) => `'${prefix}_' || printf('%026d', i)`;
  db.exec(`${numbers} INSERT INTO reservation SELECT ${id("pay")}, randomblob(32), ${id("req")}, '', '/paid/*', 'GET', '/paid/x',
    zeroblob(32), 'x402', 2, 'exact', '${config.EVM_NETWORK}', '${config.USDC.address}', '0x' || printf('%040x', i * 2654435761 % 100003),
    '${config.evmAddress("payee")}', '0x' || hex(randomblob(32)), printf('%078d', 1000), 1000, '${"p".repeat(700)}', '${"q".repeat(300)}',
    ${made("i")} + 300000, 'settled', 'answered', 'delivered', 200, '0x' || lower(hex(randomblob(32))), '${"r".repeat(200)}', '',
    'node_of_old', ${made("i")}, ${made("i")} + 900, '', '', 0, 0, ${made("i")} + 50, ${made("i")} + 800, ${made("i")} + 900 FROM n`);
  db.exec(`${numbers} INSERT INTO outbox SELECT ${id("out")}, 'payment.settled', 'payment.settled:' || ${id("pay")}, '${"o".repeat(400)}', ${made("i")}, 0, 1, ${made("i")} FROM n`);
  for (const { sql } of indices) db.exec(sql);
  db.exec("ANALYZE; PRAGMA journal_mode = WAL");
  db.close();
}

// Takes out of a kept store what was bought in earlier runs: their chains are gone.
async function forgetRuns(file) {
  const { DatabaseSync } = await import("node:sqlite");
  const db = new DatabaseSync(file);
  const last = db.prepare("SELECT max(created_ms) AS at FROM outbox WHERE key LIKE 'payment.settled:pay_00%'").get().at;
  for (const table of ["outbox", "reservation"]) db.exec(`DELETE FROM ${table} WHERE created_ms > ${last}`);
  db.exec("DELETE FROM pending_settlement");
  db.close();
}

// The same few paid calls at a time on an empty store and on a full one, in turns.
async function compareStores(chain) {
  const upstream = await startUpstream();
  const rows = Number(values.rows);
  const target = { method: "GET", path: "/paid/x" };
  const sellers = [];
  for (const full of [false, true]) {
    const kept = full && values.store ? path.resolve(values.store) : undefined;
    const there = kept && fs.existsSync(path.join(kept, "pontage.db"));
    if (kept) fs.mkdirSync(kept, { recursive: true });
    const first = await startPontage(chain.rpc, upstream, kept ? { home: kept } : {});
    await first.stop();
    if (full && !there) await fill(path.join(first.home, "pontage.db"), rows);
    if (there) await forgetRuns(path.join(first.home, "pontage.db"));
    sellers.push(await startPontage(chain.rpc, upstream, { home: first.home, signer: kSigners[Number(full)] }));
  }
  const load = async (server, count) => feed(server, await sign("header", count, `http://shop.example${target.path}`), count, target.method, target.path, "xxxx", 8);
  for (const seller of sellers) await load(seller, 500);
  const p50 = [[], []];
  const p99 = [[], []];
  const us = [[], []];
  for (let i = 0; i < kRounds; i++) {
    for (const who of i % 2 ? [0, 1] : [1, 0]) {
      const one = await load(sellers[who], 2000);
      p50[who].push(one.p50);
      p99[who].push(one.p99);
      us[who].push(one.us);
    }
  }
  const [empty, full] = p99.map(median);
  row(`p99 of a paid call with ${rows / 1e6} M finished`, full / empty, "x empty", 1.2, {
    detail: `${(full / 1000).toFixed(1)} ms (p50 ${(median(p50[1]) / 1000).toFixed(1)}, empty ${(median(p50[0]) / 1000).toFixed(1)}), ${(empty / 1000).toFixed(1)} ms empty; ${median(us[1]).toFixed(0)} us of CPU, ${median(us[0]).toFixed(0)} us empty`,
  });
  for (const seller of sellers) await seller.stop();
}

const wants = (...names) => names.some((name) => only.has(name));
try {
  let recovery;
  if (wants("recovery", "verify", "verify-rpc", "settle")) {
    const micro = await microBenchmark("facilitator_bench", only.has("verify") ? "." : "Recovery");
    recovery = micro.BM_Recovery;
    row("one recovery of a signature", recovery, "us");
    if (only.has("verify")) {
      const detail = (us) => `${us.toFixed(1)} us`;
      row("/verify, chain in the process", micro.BM_Verify / recovery, "x recovery", 1.5, { detail: detail(micro.BM_Verify) });
      row("/verify, chain in the process, over HTTP", micro.BM_VerifyHttp / recovery, "x recovery", undefined, { detail: detail(micro.BM_VerifyHttp) });
    }
  }
  if (wants("verify-rpc", "settle", "paid")) {
    const chain = await startChain();
    const facilitator = wants("verify-rpc", "settle") ? await startPontage(chain.rpc, "http://127.0.0.1:9", { role: "facilitator" }) : undefined;
    if (only.has("verify-rpc")) {
      const { us, detail } = await rounds(facilitator, { what: "settle", method: "POST", target: "/verify", sign: '"isValid":true' });
      row("/verify with its chain reads", us / recovery, "x recovery", 3.3, { detail: `${us.toFixed(1)} us; ${detail}` });
    }
    if (only.has("settle")) {
      const { us, detail } = await rounds(facilitator, { what: "settle", method: "POST", target: "/settle", sign: '"success":true' });
      row("/settle", us / recovery, "x recovery", 9, { detail: `${us.toFixed(1)} us; ${detail}` });
    }
    await facilitator?.stop();
    if (only.has("paid")) {
      const seller = await startPontage(chain.rpc, await startUpstream());
      const { us, detail } = await rounds(seller, { what: "header", method: "GET", target: "/paid/x", sign: "xxxx" });
      row("paid request, all of it in one process", us, "us", 130, { detail });
      await seller.stop();
    }
    chain.stop();
  }
  if (only.has("store10m")) {
    const chain = await startChain();
    await compareStores(chain);
    chain.stop();
  }
  if (only.has("reserve")) {
    const micro = await microBenchmark("ledger_bench", "Reserve");
    const of = (engine) => Object.entries(micro).find(([name]) => name.includes(engine))?.[1];
    row("durable reservation, SQLite", of("Sqlite"), "us", 20);
    if (of("Postgres") !== undefined) row("durable reservation, PostgreSQL", of("Postgres"), "us", 13);
    else console.log("durable reservation, PostgreSQL: PTG_TEST_POSTGRES is not set");
  }
} finally {
  ending = true;
  for (const child of children) child.kill("SIGTERM");
  await sleep(300);
  fs.rmSync(dir, { recursive: true, force: true });
}
