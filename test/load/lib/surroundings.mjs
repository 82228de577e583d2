// What stands around the gateway of a long run: a chain behind a wire that can be cut, upstreams that can be taken
// away, and the configuration that names them.
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { WebSocketServer } from "ws";
import { makeAuthority, makeCertificate } from "../../rig/src/certs.mjs";
import { startNginx } from "../../rig/src/nginx.mjs";
import { sellerConfig } from "../../rig/src/pontage.mjs";
import * as rig from "../../rig/src/rig.mjs";
import { payersOf } from "./buyers.mjs";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A wire before the chain's node that can be cut: "refuse" takes no connection, "silent" takes and never answers.
async function startWire(port) {
  const wire = { mode: "pass", sockets: new Set() };
  const server = net.createServer((client) => {
    wire.sockets.add(client);
    client.on("error", () => {}).on("close", () => wire.sockets.delete(client));
    if (wire.mode === "refuse") return client.resetAndDestroy();
    if (wire.mode === "silent") return client.resume();
    const node = net.connect({ host: "127.0.0.1", port });
    node.on("error", () => client.destroy()).on("close", () => client.destroy());
    client.on("close", () => node.destroy());
    client.pipe(node).pipe(client);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  wire.url = `http://127.0.0.1:${server.address().port}`;
  wire.set = (mode) => {
    wire.mode = mode;
    for (const socket of wire.sockets) socket.destroy();
  };
  wire.stop = () => {
    server.close();
    wire.set("refuse");
  };
  return wire;
}

// A free port below those that the system gives to clients: one that is free for seconds, while its server is away,
// must still be free when it comes back.
async function quietPort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = net.createServer();
    const free = await new Promise((resolve) => {
      server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
    });
    await new Promise((resolve) => server.close(resolve));
    if (free) return port;
  }
}

// WebSockets that echo, behind the gateway like the rest of the seller's API.
async function startEcho(port) {
  const web = http.createServer((req, res) => res.end());
  const sockets = new WebSocketServer({ server: web });
  sockets.on("connection", (socket) => {
    socket.on("error", () => {});
    socket.on("message", (data) => socket.send(data));
  });
  await new Promise((resolve) => web.listen(port, "127.0.0.1", resolve));
  return {
    stop: () => {
      for (const socket of sockets.clients) socket.terminate();
      web.closeAllConnections();
      return new Promise((resolve) => web.close(resolve));
    },
  };
}

const kSite = (port) => `server {
  listen 127.0.0.1:${port} backlog=1024;
  keepalive_requests 5000;
  default_type application/json;
  location / { return 200 '{"paid":"${"x".repeat(1000)}"}'; }
}`;

// Everything that stands around one gateway, with `payers` funded buyers. `flap(ms)` takes the upstreams away for so
// long. With `keep` the folder with the books and the log stays.
export async function surround({ payers: count, keep }) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-soak-"));
  // For each block the node copies all payments that were ever made: blocks of two seconds, as Base has them. Those of
  // one second took half a core more at the end of an hour than at its beginning.
  const chain = await rig.up({ blockTime: 2, states: 16 });
  await rig.rpcCall(chain.rpc, "evm_setBlockGasLimit", "0x5f5e100");
  const payers = payersOf(count);
  await rig.fund(chain.rpc, { mint: Object.fromEntries(payers.map((p) => [p.address, 10_000_000_000n])) });
  const ports = {};
  for (const name of ["main", "metrics", "api", "echo"]) ports[name] = await quietPort();
  const authority = makeAuthority(dir);
  const certificate = makeCertificate(dir, "server", { authority });
  const own = { dir, chain, ports, authority: authority.cert, ca: fs.readFileSync(authority.cert), wire: await startWire(chain.port) };
  let api = await startNginx(kSite(ports.api), ports.api, { connections: 4096 });
  let echo = await startEcho(ports.echo);
  own.flap = async (ms) => {
    await Promise.all([api.stop(), echo.stop()]);
    await sleep(ms);
    api = await startNginx(kSite(ports.api), ports.api, { connections: 4096 });
    echo = await startEcho(ports.echo);
  };
  const url = (name) => `http://127.0.0.1:${ports[name]}`;
  own.metrics = url("metrics");
  own.toml = (generation) =>
    sellerConfig({
      rpc: own.wire.url,
      upstream: url("api"),
      server: `tls = { cert = "${certificate.cert}", key = "${certificate.key}" }`,
      sections: `[[upstream]]\nname = "echo"\nurl = "${url("echo")}"\n`,
      routes: `
[[route]]
match = "/free/*"
upstream = "api"
price = "free"
[[route]]
match = "/socket"
upstream = "echo"
price = "free"
[[route]]
match = "/paid/*"
upstream = "api"
price = "$0.001"
description = "bought over and over"
[[route]]
match = "/generation/${generation}"
upstream = "api"
price = "$0.00${1 + (generation % 9)}"
`,
    })
      .replace('listen = "127.0.0.1:0"', `listen = "127.0.0.1:${ports.main}"`)
      .replace('metrics_listen = "127.0.0.1:0"', `metrics_listen = "127.0.0.1:${ports.metrics}"`);
  own.stop = async () => {
    await Promise.all([api.stop(), echo.stop()]);
    own.wire.stop();
    await chain.stop();
    if (keep) console.log(`kept: ${dir}`);
    else fs.rmSync(dir, { recursive: true, force: true });
  };
  return own;
}
