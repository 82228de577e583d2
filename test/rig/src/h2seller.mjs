// A seller that speaks HTTP/2 with free and paid routes, and node's own client towards it.
import fs from "node:fs";
import http2 from "node:http2";
import os from "node:os";
import path from "node:path";
import { makeAuthority, makeCertificate } from "./certs.mjs";
import { sellerConfig, startPontage } from "./pontage.mjs";

export const kNoChain = "http://127.0.0.1:9";
export const kRoutes = `
[[route]]
match = "/free/*"
price = "free"
[[route]]
match = "GET /paid/*"
price = "$0.001"
`;

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-h2-"));
process.once("exit", () => fs.rmSync(dir, { recursive: true, force: true }));
const signer = makeAuthority(dir);
// What its clients trust.
export const authority = signer.cert;
const files = makeCertificate(dir, "server", { authority: signer });
const kTls = `[server.tls]\ncert = "${files.cert}"\nkey = "${files.key}"\n`;

export const start = (upstream, { rpc = kNoChain, server = "" } = {}) =>
  startPontage(sellerConfig({ rpc, upstream, routes: kRoutes, server: `threads = 1\n${server}`, sections: kTls }));

export function open(server, options = {}) {
  const session = http2.connect(server.url, { ca: fs.readFileSync(authority), ...options });
  session.on("error", () => {});
  return session;
}
// One request to its end: {status, headers, text, interims, trailers}; rejects when the stream breaks.
export function ask(session, headers = {}, body = undefined) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":path": "/free/x", ...headers }, { endStream: body === undefined });
    const got = { interims: [], text: "" };
    stream.setEncoding("latin1");
    stream.on("headers", (more) => got.interims.push(more));
    stream.on("response", (head) => Object.assign(got, { status: head[":status"], headers: head }));
    stream.on("trailers", (trailers) => Object.assign(got, { trailers }));
    stream.on("data", (data) => (got.text += data));
    stream.on("error", reject);
    stream.on("close", () => (stream.rstCode === 0 ? resolve(got) : reject(new Error(`reset ${stream.rstCode}`))));
    if (body !== undefined) stream.end(body);
    got.stream = stream;
  });
}
