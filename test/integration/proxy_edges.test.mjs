// The gateway at its edges: deadlines on every stage, which route a request is for, what a peer's word about
// the client is worth, and what every answer carries.
import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { request, startRawServer, talk, whole } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

// Nothing here is paid for: the offers need a chain's name and no chain.
const kNoChain = "http://127.0.0.1:9";
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const ok = (text) => `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;

async function closedPort() {
  const socket = net.createServer();
  await new Promise((resolve) => socket.listen(0, "127.0.0.1", resolve));
  const { port } = socket.address();
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

// Every listener of its own loop would answer too; one is enough here.
const start = ({ upstream, sections, server = "" }) =>
  startPontage(sellerConfig({ rpc: kNoChain, upstream, routes: "", server: `threads = 1\n${server}`, sections }));

describe("deadlines", { concurrency: true }, () => {
  let raw, server;
  before(async () => {
    raw = await startRawServer((socket, head) => {
      const say = {
        "/raw/part": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        "/raw/chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
        "/raw/head": "HTTP/1.1 200 OK\r\nContent-Le",
        "/raw/cut": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
        "/raw/cutchunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
      }[head.split(" ")[1]];
      if (say) socket.write(say);
      if (head.includes("/cut")) setTimeout(() => socket.destroy(), 50);
      if (head.includes("/upload")) setTimeout(() => socket.write(ok("took it")), 1_500 + 400);
    });
    server = await start({
      upstream: raw.url,
      sections: `
[[upstream]]
name = "quick"
url = "${raw.url}"
answer_timeout = "1s"
[[upstream]]
name = "down"
url = "http://127.0.0.1:${await closedPort()}"
[[upstream]]
name = "nowhere"
url = "http://192.0.2.1:81"
connect_timeout = "300ms"
[[route]]
match = "/raw/*"
upstream = "quick"
price = "free"
[[route]]
match = "/down/*"
upstream = "down"
price = "free"
[[route]]
match = "/nowhere/*"
upstream = "nowhere"
price = "free"
`,
    });
  });
  after(async () => {
    await server?.stop();
    await raw?.stop();
  });

  async function problem(where, init) {
    const begun = Date.now();
    const answer = await fetch(server.url + where, init);
    const text = await answer.text();
    assert.match(answer.headers.get("content-type"), /^application\/problem\+json/, text);
    assert.match(answer.headers.get("x-request-id"), /^req_/);
    return { status: answer.status, code: JSON.parse(text).code, ms: Date.now() - begun };
  }

  test("a head that never ends is 408, and the connection is over", async () => {
    const { statuses, closed, text } = await talk(server.url, "GET /raw/x HTTP/1.1\r\nHost: x\r\nX-A: ", { withinMs: 25_000 });
    assert.deepEqual(statuses, [408]);
    assert.match(text, /application\/problem\+json/);
    assert.ok(closed);
  });

  test("a head sent byte by byte has no more time than one in a piece", async () => {
    const begun = Date.now();
    const socket = net.connect(Number(new URL(server.url).port), "127.0.0.1");
    let text = "";
    socket.on("data", (data) => (text += data));
    socket.on("error", () => {});
    socket.write("GET /raw/x HTTP/1.1\r\nX-A: ");
    const drip = setInterval(() => socket.write("a"), 200);
    await rig.until(() => text.includes("408"), { withinMs: 25_000, label: "408" });
    clearInterval(drip);
    socket.destroy();
    assert.ok(Date.now() - begun < 22_000);
  });

  test("an upstream that refuses connections is 502", async () => {
    const { status, code } = await problem("/down/x");
    assert.deepEqual([status, code], [502, "upstream_unreachable"]);
  });

  test("an upstream that cannot be connected to is 502 in time", async () => {
    const { status, ms } = await problem("/nowhere/x");
    assert.equal(status, 502);
    assert.ok(ms < 2_500, `${ms} ms`);
  });

  test("an upstream that never answers is 504 within answer_timeout", async () => {
    for (const where of ["/raw/silent", "/raw/head"]) {
      const { status, code, ms } = await problem(where);
      assert.deepEqual([status, code], [504, "upstream_timeout"], where);
      assert.ok(ms >= 900 && ms < 4_000, `${ms} ms`);
    }
  });

  test("an upload that takes longer than answer_timeout is no slow answer", async () => {
    const socket = net.connect(Number(new URL(server.url).port), "127.0.0.1");
    let text = "";
    socket.on("data", (data) => (text += data));
    socket.write(request("POST /raw/upload", ["Content-Length: 6"]));
    for (let n = 0; n < 6; n += 1) {
      await sleep(250);
      socket.write("x");
    }
    await rig.until(() => text.includes("took it") || text.includes("504"), { label: "an answer" });
    socket.destroy();
    assert.match(text, /took it/);
  });

  for (const [name, where] of [
    ["stops in the middle of a sized answer", "/raw/part"],
    ["stops in the middle of a chunked answer", "/raw/chunk"],
    ["leaves in the middle of a sized answer", "/raw/cut"],
    ["leaves in the middle of a chunked answer", "/raw/cutchunk"],
  ]) {
    test(`an upstream that ${name}: the client sees a broken answer, not a short one`, async () => {
      const heard = await talk(server.url, request(`GET ${where}`), { withinMs: 6_000 });
      assert.deepEqual(heard.statuses, [200]);
      assert.match(heard.text, /part/);
      assert.ok(heard.closed, "the connection is over");
      assert.doesNotMatch(heard.text, /\r\n0\r\n\r\n$/);
      await assert.rejects(fetch(server.url + where).then((answer) => answer.text()));
    });
  }

  test("a client that stops in the middle of its body holds nobody else up", async () => {
    const stuck = talk(server.url, request("POST /raw/upload", ["Content-Length: 1000"], "abc"), { withinMs: 3_000 });
    const { status } = await problem("/down/x");
    assert.equal(status, 502);
    // The upstream's time is over before the client's is; either way it is told.
    assert.ok([408, 504, 200].includes((await stuck).statuses[0]));
  });
});

describe("routes", () => {
  let upstreams, server;
  const route = (match, upstream, price = "free") => `[[route]]\nmatch = "${match}"\nupstream = "${upstream}"\nprice = "${price}"\n`;
  before(async () => {
    upstreams = {};
    for (const name of ["rest", "segment", "exact", "post"]) {
      upstreams[name] = await startUpstream((req, res) => res.setHeader("x-upstream", name).end(req.method === "HEAD" ? undefined : name));
    }
    const sections = Object.entries(upstreams).map(([name, { url }]) => `[[upstream]]\nname = "${name}"\nurl = "${url}"\n`);
    server = await start({
      upstream: upstreams.rest.url,
      sections: [
        ...sections,
        route("/a/*", "rest"),
        route("/a/*/c", "segment"),
        route("GET /a/b/c", "exact"),
        route("POST /only/post", "post"),
        route("GET /priced/*", "rest", "$0.001"),
        route("/free/*", "rest"),
      ].join(""),
    });
  });
  after(async () => {
    await server?.stop();
    for (const one of Object.values(upstreams)) await one.stop();
  });

  test("the most specific one wins, whatever the order of the file", async () => {
    const kWants = { "/a/x": "rest", "/a/x/c": "segment", "/a/b/c": "exact", "/a/b/c/d": "rest", "/a/b/d": "rest" };
    for (const [where, name] of Object.entries(kWants)) {
      assert.equal(await (await fetch(server.url + where)).text(), name, where);
    }
    const post = await fetch(`${server.url}/a/b/c`, { method: "POST", body: "x" });
    assert.equal(await post.text(), "segment", "the exact one is for GET");
  });

  test("HEAD goes where GET goes", async () => {
    const head = await fetch(`${server.url}/a/b/c`, { method: "HEAD" });
    assert.equal(head.headers.get("x-upstream"), "exact");
    assert.equal((await fetch(`${server.url}/priced/x`, { method: "HEAD" })).status, 402);
  });

  test("a path that no route has is 404, a method that none takes is 405 and says which", async () => {
    const unknown = await fetch(`${server.url}/unknown`);
    assert.equal(unknown.status, 404);
    assert.match(unknown.headers.get("content-type"), /^application\/problem\+json/);
    assert.match(unknown.headers.get("x-request-id"), /^req_/);
    const said = await unknown.json();
    assert.deepEqual([said.status, said.code], [404, "not_found"]);
    assert.ok(said.type && said.title && said.detail);
    const kAllowed = { "/only/post": /^POST$/, "/priced/x": /GET/ };
    for (const [where, allowed] of Object.entries(kAllowed)) {
      const wrong = await fetch(server.url + where, { method: "DELETE" });
      assert.equal(wrong.status, 405, where);
      assert.match(wrong.headers.get("allow"), allowed);
      assert.equal((await wrong.json()).code, "method_not_allowed");
    }
  });

  test("a preflight is ours, free and not forwarded, for priced and free routes; other OPTIONS are a method", async () => {
    const had = upstreams.rest.requests.length;
    for (const where of ["/priced/x", "/free/x"]) {
      const answer = await fetch(server.url + where, {
        method: "OPTIONS",
        headers: { origin: "https://app.example", "access-control-request-method": "GET" },
      });
      assert.equal(answer.status, 204);
      assert.equal(answer.headers.get("access-control-allow-origin"), "*");
    }
    assert.equal(upstreams.rest.requests.length, had);
    assert.equal((await fetch(`${server.url}/priced/x`, { method: "OPTIONS" })).status, 405);
    assert.equal((await fetch(`${server.url}/free/x`, { method: "OPTIONS" })).status, 200);
    assert.equal(upstreams.rest.requests.at(-1).method, "OPTIONS");
  });

  test("two routes that tie are an error of the configuration, and nothing starts", async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-tie-"));
    const file = path.join(dir, "pontage.toml");
    const env = { PONTAGE_EVM_KEY: rig.evmKey("facilitator") };
    const kTies = [
      ["/x/*", "/x/*"],
      ["GET /x", "GET /x"],
      ["GET /x/*/y", "GET /x/*/y"],
    ];
    try {
      for (const [one, other] of kTies) {
        const routes = `[[route]]\nmatch = "${one}"\nprice = "free"\n[[route]]\nmatch = "${other}"\nprice = "free"\n`;
        fs.writeFileSync(file, sellerConfig({ rpc: kNoChain, upstream: kNoChain, routes }));
        for (const args of [["config", "check"], ["serve"]]) {
          const { code, stdout, stderr } = await run([...args, "--config", file], { cwd: dir, env, withinMs: 15_000 });
          assert.equal(code, 1, `${args} ${one} ${other}: ${stdout}${stderr}`);
          assert.ok((stdout + stderr).includes(other), stdout + stderr);
        }
      }
    } finally {
      fs.rmSync(dir, { recursive: true });
    }
  });
});

describe("who is asking", () => {
  let upstream, strict, trusting;
  before(async () => {
    upstream = await startUpstream();
    const sections = '[[route]]\nmatch = "/free/*"\nprice = "free"\n';
    strict = await start({ upstream: upstream.url, sections });
    trusting = await start({ upstream: upstream.url, sections, server: 'trusted_proxies = ["127.0.0.1/32"]' });
  });
  after(async () => {
    await strict?.stop();
    await trusting?.stop();
    await upstream?.stop();
  });
  async function seen(server, headers) {
    const { statuses } = await talk(server.url, request("GET /free/x", headers), { until: whole });
    assert.deepEqual(statuses, [200]);
    return upstream.requests.at(-1).headers;
  }
  // Who the log says it was.
  async function clientOf(server, headers) {
    const done = () => server.events("request.done").find((said) => said.request_id === headers["x-request-id"]);
    return (await rig.until(done, { label: "logged" })).client;
  }
  const kClaims = [
    "X-Forwarded-For: 6.6.6.6",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 1",
    "X-Real-IP: 6.6.6.6",
    "Forwarded: for=6.6.6.6;proto=https",
  ];

  test("a stranger's claims about himself are dropped", async () => {
    const got = await seen(strict, kClaims);
    assert.equal(got["x-forwarded-for"], "127.0.0.1");
    assert.equal(got["x-forwarded-proto"], "http");
    assert.equal(got["x-forwarded-host"], "shop.example");
    assert.equal(got.forwarded, "for=127.0.0.1;proto=http");
    assert.ok(!JSON.stringify(got).includes("6.6.6.6"), JSON.stringify(got));
    assert.equal(got["x-forwarded-port"], undefined);
  });

  test("a trusted proxy's word is kept and appended to", async () => {
    const got = await seen(trusting, kClaims);
    assert.equal(got["x-forwarded-for"], "6.6.6.6, 127.0.0.1");
    assert.equal(got["x-forwarded-proto"], "https");
    assert.equal(got["x-forwarded-host"], "evil.example");
    assert.equal(got.forwarded, "for=6.6.6.6;proto=https, for=127.0.0.1;proto=http");
    assert.equal(got["x-real-ip"], "6.6.6.6");
    assert.equal(await clientOf(trusting, got), "6.6.6.6");
  });

  test("the last address counts that no trusted proxy has, in one line or in several", async () => {
    for (const lines of [["X-Forwarded-For: 6.6.6.6, 9.9.9.9"], ["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 9.9.9.9"]]) {
      const got = await seen(trusting, lines);
      assert.equal(got["x-forwarded-for"], "6.6.6.6, 9.9.9.9, 127.0.0.1");
      assert.equal(await clientOf(trusting, got), "9.9.9.9");
    }
  });

  test("every answer has its own X-Request-Id, the refused ones too, and the upstream has the same", async () => {
    const ids = new Set();
    const kAsked = [
      request("GET /free/x", ["X-Request-Id: mine"]),
      request("GET /unknown"),
      request("GET /healthz"),
      request("GET /free/%zz"),
      request("GET /free/x", ["Expect: miracles"]),
      "GET /free/x HTTP/1.1\r\n\r\n",
      "GET /free/x HTTP/3.0\r\nHost: x\r\n\r\n",
      `GET /free/x HTTP/1.1\r\nHost: x\r\nX-A: ${"a".repeat(100_000)}\r\n\r\n`,
      "\u0016\u0003\u0001",
      request("OPTIONS /free/x", ["Origin: https://x", "Access-Control-Request-Method: GET"]),
    ];
    for (const bytes of kAsked) {
      const { text } = await talk(strict.url, bytes, { until: whole });
      const found = /^x-request-id: (req_[0-9a-f]{32})\r?$/im.exec(text);
      assert.ok(found, text.slice(0, 400));
      assert.equal([...text.matchAll(/^x-request-id:/gim)].length, 1);
      ids.add(found[1]);
      if (bytes === kAsked[0]) assert.equal(upstream.requests.at(-1).headers["x-request-id"], found[1]);
    }
    assert.equal(ids.size, kAsked.length, "no two alike");
  });

  test("a trace goes on through us: the same id under a new span, tracestate with it; without one it begins here", async () => {
    const id = "0af7651916cd43dd8448eb211c80319c";
    const on = await seen(strict, [`traceparent: 00-${id}-b7ad6b7169203331-01`, "tracestate: vendor=1"]);
    const [, trace, span, flags] = on.traceparent.split("-");
    assert.equal(trace, id);
    assert.notEqual(span, "b7ad6b7169203331");
    assert.equal(flags, "01");
    assert.equal(on.tracestate, "vendor=1");
    const fresh = await seen(strict, []);
    assert.match(fresh.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/);
    for (const bad of ["junk", `00-${"0".repeat(32)}-b7ad6b7169203331-01`, `ff-${id}-b7ad6b7169203331-01`]) {
      const begun = await seen(strict, [`traceparent: ${bad}`, "tracestate: vendor=1"]);
      assert.match(begun.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-/);
      assert.ok(!begun.traceparent.includes(id) || bad === "junk");
      assert.equal(begun.tracestate, undefined, "the state of no trace");
    }
  });
});
