// CPU time a request of the gateway costs, as a ratio to nginx doing the same in the same run: one core each,
// 64 connections, saturated, answers of 1 KiB; and the memory of a connection that does nothing.
//   node test/load/proxy.mjs [--rounds 5] [--seconds 3] [--only plain,tls,http2,offer,idle]
// Needs build/pontage (or PTG_BIN), nginx, wrk and h2load. The gateway and nginx run on CPU 0, the load and the
// upstream on CPU 1.
import { execFile, spawn } from "node:child_process";
import fs from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import tls from "node:tls";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { makeCertificate } from "../rig/src/certs.mjs";
import { freePort } from "../rig/src/nginx.mjs";
import * as config from "../rig/src/config.mjs";
import { binary, sellerConfig } from "../rig/src/pontage.mjs";
import { anonymousKiB, cpuNs, median, row } from "./figures.mjs";

const kHere = path.dirname(fileURLToPath(import.meta.url));
const kConnections = 64;
const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    only: { type: "string", default: "plain,tls,http2,offer,idle" },
    stay: { type: "boolean", default: false }, // load the gateway for ever: for a profiler beside it
  },
});
const only = new Set(values.only.split(","));
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
async function until(what, ask) {
  for (let i = 0; i < 200; i++, await sleep(50)) {
    const got = await Promise.resolve().then(ask).catch(() => undefined);
    if (got) return got;
  }
  throw new Error(`${what} did not come up`);
}
const childrenOf = (pid) =>
  fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);

async function startNginx(name, text, cpu) {
  const file = path.join(dir, `${name}.conf`);
  fs.writeFileSync(file, text);
  const child = start(cpu, "nginx", ["-p", dir, "-c", file, "-e", path.join(dir, `${name}.start`)]);
  return until(name, () => childrenOf(child.pid)[0]);
}

async function startGateway(upstream, certificate) {
  const home = fs.mkdtempSync(path.join(dir, "gateway-"));
  const routes = `
[[route]]
match = "/free/*"
price = "free"
[[route]]
match = "/paid/*"
price = "$0.001"
description = "what the load asks for"
`;
  const sections = certificate ? `[server.tls]\ncert = "${certificate.cert}"\nkey = "${certificate.key}"\n` : "";
  fs.writeFileSync(
    path.join(home, "pontage.toml"),
    sellerConfig({ rpc: "http://127.0.0.1:9", upstream, routes, server: "threads = 1", sections }),
  );
  const log = path.join(home, "log");
  const child = start(0, binary(), ["serve", "--config", path.join(home, "pontage.toml")], {
    cwd: home,
    env: { PATH: process.env.PATH, PONTAGE_EVM_KEY: config.evmKey("facilitator") },
    stdio: ["ignore", "ignore", fs.openSync(log, "w")],
  });
  const address = await until("pontage", () => /"event":"server\.listening","listener":"main","address":"([^"]+)"/.exec(fs.readFileSync(log, "utf8"))?.[1]);
  return { pid: child.pid, url: `${certificate ? "https" : "http"}://${address}` };
}

// The gateway's refusal as nginx directives.
async function offerDirectives(url) {
  const answer = await fetch(`${url}/paid/x`);
  if (answer.status !== 402) throw new Error(`the gateway said ${answer.status} where 402 was expected`);
  const quote = (text) => `"${text.replace(/[\\"]/g, "\\$&").replaceAll("$", "${dollar}")}"`;
  const lines = [];
  for (const [name, value] of answer.headers) {
    if (name === "content-type") lines.push(`default_type ${quote(value)};`);
    else if (!["content-length", "date", "connection", "server", "x-request-id"].includes(name)) lines.push(`add_header ${name} ${quote(value)} always;`);
  }
  lines.push("add_header X-Request-Id $request_id always;", `return 402 ${quote(await answer.text())};`);
  return lines.map((line) => `      ${line}`).join("\n");
}

// Requests made and CPU time of `pid` for each, in microseconds.
async function measure(pid, url, how) {
  const before = cpuNs(pid);
  let count;
  if (how.http2) {
    const total = how.requests;
    const { stdout } = await run("taskset", ["-c", "1", "h2load", "-t", "1", "-c", "16", "-m", "8", "-n", String(total), url]);
    count = Number(/status codes: (\d+) 2xx/.exec(stdout)?.[1]);
    if (count !== total) throw new Error(`${url}: ${count} of ${total} answered 200`);
  } else {
    const { stdout } = await run("taskset", ["-c", "1", "wrk", "-t", "1", "-c", String(kConnections), "-d", `${how.seconds}s`, url]);
    count = Number(/(\d+) requests in/.exec(stdout)?.[1]);
    const others = Number(/Non-2xx or 3xx responses: (\d+)/.exec(stdout)?.[1] ?? 0);
    if (!count || others !== (how.refused ? count : 0) || /Socket errors/.test(stdout)) throw new Error(`${url}:\n${stdout}`);
  }
  return (cpuNs(pid) - before) / 1000 / count;
}

async function compare(name, ours, theirs, goal, how) {
  const seconds = Number(values.seconds);
  const whole = { ...how, seconds, requests: 25_000 * seconds };
  const short = { ...how, seconds: 1, requests: 10_000 };
  await measure(ours.pid, ours.url, short);
  await measure(theirs.pid, theirs.url, short);
  const us = [[], []];
  for (let round = 0; round < Number(values.rounds); round++) {
    const order = round % 2 ? [0, 1] : [1, 0];
    for (const who of order) us[who].push(await measure([ours, theirs][who].pid, [ours, theirs][who].url, whole));
  }
  const ratio = median(us[0].map((own, i) => own / us[1][i]));
  row(name, ratio, "x nginx", goal, { detail: `${median(us[0]).toFixed(1)} us, nginx ${median(us[1]).toFixed(1)} us` });
}

// KiB of the process for each of many connections that had one answer and then nothing. A gateway of its own:
// what an earlier load left in the heap would be used first.
async function idle(name, server, goal, open) {
  const warm = [];
  for (let i = 0; i < 200; i++) warm.push(await open());
  await sleep(500);
  const had = anonymousKiB(server.pid);
  const kMany = 4000;
  const held = [];
  for (let i = 0; i < kMany; i += 50) held.push(...(await Promise.all(Array.from({ length: 50 }, open))));
  await sleep(1500);
  row(name, (anonymousKiB(server.pid) - had) / kMany, "KiB", goal);
  for (const connection of [...warm, ...held]) connection.destroy();
  process.kill(server.pid);
}
function openPlain(url, make) {
  const { port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = make(Number(port), () => socket.write("GET /free/x HTTP/1.1\r\nHost: a\r\n\r\n"));
    socket.once("data", () => resolve(socket)).once("error", reject);
  });
}
function openHttp2(url) {
  return new Promise((resolve, reject) => {
    const session = http2.connect(url, { rejectUnauthorized: false }).on("error", reject);
    const stream = session.request({ ":path": "/free/x" });
    stream.resume().on("close", () => resolve(session));
  });
}

try {
  const certificate = makeCertificate(dir, "server");
  const port = { UPSTREAM: await freePort(), PLAIN: await freePort(), TLS: await freePort(), HTTP2: await freePort() };
  const upstreamConf = `daemon off; worker_processes 1; pid ${dir}/up.pid; error_log ${dir}/up.err; events { worker_connections 8192; }
    http { access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:${port.UPSTREAM} backlog=4096; location / { return 200 "${"x".repeat(1024)}"; } } }`;
  await startNginx("upstream", upstreamConf, 1);
  const plain = await startGateway(`http://127.0.0.1:${port.UPSTREAM}`);
  const secure = await startGateway(`http://127.0.0.1:${port.UPSTREAM}`, certificate);
  let text = fs.readFileSync(path.join(kHere, "nginx.conf.in"), "utf8");
  const fill = { ...port, DIR: dir, CERT: certificate.cert, KEY: certificate.key, OFFER: await offerDirectives(plain.url) };
  for (const [name, value] of Object.entries(fill)) text = text.replaceAll(`@${name}@`, () => String(value));
  const nginx = await startNginx("proxy", text, 0);
  const theirs = (which, scheme, of) => ({ pid: nginx, url: `${scheme}://127.0.0.1:${port[which]}${of}` });
  const ours = (server, of) => ({ pid: server.pid, url: server.url + of });
  if (values.stay) {
    console.log(`plain ${plain.pid} ${plain.url} tls ${secure.pid} ${secure.url} nginx ${nginx} ports ${JSON.stringify(port)}`);
    await new Promise(() => {});
  }
  if (only.has("plain")) await compare("free route, plain HTTP", ours(plain, "/free/x"), theirs("PLAIN", "http", "/free/x"), 0.95, {});
  if (only.has("tls")) await compare("free route, TLS", ours(secure, "/free/x"), theirs("TLS", "https", "/free/x"), 1.0, {});
  if (only.has("http2")) await compare("free route, HTTP/2 over TLS", ours(secure, "/free/x"), theirs("HTTP2", "https", "/free/x"), 0.7, { http2: true });
  if (only.has("offer")) await compare("unpaid: 402 with the offer", ours(plain, "/paid/x"), theirs("PLAIN", "http", "/paid/x"), 1.0, { refused: true });
  if (only.has("idle")) {
    const own = (secured) => startGateway(`http://127.0.0.1:${port.UPSTREAM}`, secured && certificate);
    let server = await own(false);
    await idle("idle connection, plain", server, 2.5, () => openPlain(server.url, (to, then) => net.connect(to, "127.0.0.1", then)));
    server = await own(true);
    const over = { host: "127.0.0.1", rejectUnauthorized: false };
    await idle("idle connection, TLS", server, 14, () => openPlain(server.url, (to, then) => tls.connect({ ...over, port: to }, then)));
    server = await own(true);
    await idle("idle connection, HTTP/2 over TLS", server, undefined, () => openHttp2(server.url));
  }
} finally {
  for (const child of children) child.kill("SIGTERM");
  await sleep(300);
  fs.rmSync(dir, { recursive: true, force: true });
}
