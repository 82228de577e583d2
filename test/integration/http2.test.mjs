// HTTP/2 towards clients, by node's own client and by frames that no client would send: the same messages
// as over HTTP/1.1.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import http from "node:http";
import http2 from "node:http2";
import { after, before, describe, test } from "node:test";
import * as h2 from "../rig/src/h2raw.mjs";
import { ask, authority, kNoChain, kRoutes, open, start } from "../rig/src/h2seller.mjs";
import { books, decode, during, payHeader, paymentV2 } from "../rig/src/pay.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { startRawServer, talk } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

describe("HTTP/2", () => {
  let upstream, server, session;
  const waiting = [];
  let left = 0; // answers without an end whose reader went away
  before(async () => {
    upstream = await startUpstream((req, res, body) => {
      const what = req.url.split("?")[0].split("/")[2];
      if (what === "echo") return res.end(body);
      if (what === "head") return res.writeHead(200, { "content-length": "5", "content-type": "text/plain" }).end(req.method === "HEAD" ? undefined : "hello");
      if (what === "status") return res.writeHead(Number(req.url.split("/")[3])).end();
      if (what === "hints") {
        res.writeEarlyHints({ link: "</style.css>; rel=preload" });
        return setTimeout(() => res.end("hinted"), 20);
      }
      if (what === "trailers") {
        res.writeHead(200, { trailer: "x-sum" });
        res.write("body");
        res.addTrailers({ "x-sum": String(body.length) });
        return res.end();
      }
      if (what === "events") {
        res.writeHead(200, { "content-type": "text/event-stream" });
        res.write("data: 1\n\n");
        return setTimeout(() => res.end("data: 2\n\n"), 300);
      }
      if (what === "endless") {
        res.on("close", () => (left += 1));
        res.writeHead(200, { "content-type": "text/event-stream" });
        return res.write("data: 1\n\n");
      }
      if (what === "large") return res.end(Buffer.alloc(3 << 20, "pontage "));
      if (what === "together") {
        waiting.push(res);
        if (waiting.length === 20) for (const one of waiting.splice(0)) one.end("together");
        return undefined;
      }
      if (what === "headof") {
        for (let n = 0; n < Number(req.url.split("/")[3]); n += 1) res.setHeader(`x-large-${n}`, "~".repeat(1024));
        return res.end("large");
      }
      if (what === "slow") return setTimeout(() => res.end("slow"), 400);
      return res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, version: req.httpVersion, trailers: req.trailers }));
    });
    server = await start(upstream.url);
    session = open(server);
  });
  after(async () => {
    session?.close();
    await server?.stop();
    await upstream?.stop();
  });

  test("is agreed on by ALPN and reaches an HTTP/1.1 upstream as the same request", async () => {
    const answer = await ask(session, { ":path": "/free/a%20b?q=1", "x-own": "1", te: "trailers" });
    assert.equal(session.alpnProtocol, "h2");
    assert.equal(answer.status, 200);
    assert.match(answer.headers["x-request-id"], /^req_/);
    const seen = JSON.parse(answer.text);
    assert.equal(seen.version, "1.1");
    assert.equal(seen.url, "/free/a%20b?q=1");
    assert.equal(seen.headers["x-own"], "1");
    assert.equal(seen.headers["x-forwarded-proto"], "https");
    assert.equal(seen.headers["x-forwarded-host"], new URL(server.url).host);
    assert.equal(seen.headers.te, undefined);
    for (const name of Object.keys(seen.headers)) assert.ok(!name.startsWith(":"), name);
    for (const name of ["connection", "keep-alive", "transfer-encoding"]) assert.equal(answer.headers[name], undefined);
  });

  test("carries large bodies both ways", async () => {
    const body = crypto.randomBytes(2 << 20).toString("base64");
    const echoed = await ask(session, { ":path": "/free/echo", ":method": "POST" }, body);
    assert.ok(echoed.text === body);
    assert.equal((await ask(session, { ":path": "/free/large" })).text.length, 3 << 20);
  });

  test("handles the requests of one connection side by side", async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(session, { ":path": "/free/together" })));
    assert.ok(answers.every((answer) => answer.text === "together"));
  });

  test("carries trailers both ways", async () => {
    const answer = await ask(session, { ":path": "/free/trailers", ":method": "POST" }, "12345");
    assert.equal(answer.trailers["x-sum"], "5");
    const up = await new Promise((resolve, reject) => {
      const stream = session.request({ ":path": "/free/x", ":method": "POST" }, { waitForTrailers: true });
      let text = "";
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-up": "6" }));
      stream.on("data", (data) => (text += data));
      stream.on("end", () => resolve(JSON.parse(text)));
      stream.on("error", reject);
      stream.end("123456");
    });
    assert.deepEqual(up.trailers, { "x-up": "6" });
  });

  test("passes 103 on, and answers an expectation with 100", async () => {
    const hinted = await ask(session, { ":path": "/free/hints" });
    assert.deepEqual(hinted.interims.map((one) => one[":status"]), [103]);
    assert.equal(hinted.text, "hinted");
    const text = await new Promise((resolve, reject) => {
      const stream = session.request({ ":path": "/free/echo", ":method": "POST", expect: "100-continue" });
      let got = "";
      stream.on("continue", () => stream.end("went on"));
      stream.on("data", (data) => (got += data));
      stream.on("end", () => resolve(got));
      stream.on("error", reject);
    });
    assert.equal(text, "went on");
  });

  test("a large head of the upstream arrives or is 502 at once, and too long a target to be offered is told", async () => {
    for (const [size, status] of [[30, 200], [40, 502], [63, 502], [80, 502]]) {
      const answer = await ask(session, { ":path": `/free/headof/${size}` });
      assert.equal(answer.status, status, `${size} KiB`);
      if (status === 502) assert.equal(JSON.parse(answer.text).code, "upstream_protocol");
      else assert.equal(answer.headers["x-large-0"].length, 1024);
    }
    // Its offer, which names it, has no place in a head that HTTP/2 clients take.
    const offer = await ask(session, { ":path": `/paid/${"~".repeat(58_000)}` });
    assert.deepEqual([offer.status, JSON.parse(offer.text).code], [500, "internal"]);
  });

  test("a method in small letters is refused, and nobody is asked", async () => {
    for (const method of ["get", "Head", "pOST"]) {
      const answer = await ask(session, { ":method": method, ":path": "/free/miscased" });
      assert.equal(answer.status, 400, method);
    }
    assert.ok(!upstream.requests.some((one) => one.path?.includes("miscased") || one.url?.includes("miscased")));
  });

  test("answers HEAD, 204 and 304 without a body", async () => {
    const head = await ask(session, { ":path": "/free/head", ":method": "HEAD" });
    assert.equal(head.headers["content-length"], "5");
    assert.equal(head.text, "");
    for (const status of [204, 304]) {
      const answer = await ask(session, { ":path": `/free/status/${status}` });
      assert.equal(answer.status, status);
      assert.equal(answer.text, "");
    }
  });

  test("passes an event on as it comes", async () => {
    const begun = Date.now();
    const stream = session.request({ ":path": "/free/events" });
    const first = await new Promise((resolve) => stream.once("data", resolve));
    assert.equal(first.toString(), "data: 1\n\n");
    assert.ok(Date.now() - begun < 290);
    const second = await new Promise((resolve) => stream.once("data", resolve));
    assert.equal(second.toString(), "data: 2\n\n");
    await new Promise((resolve) => stream.once("close", resolve));
  });

  test("joins the pieces of a cookie", async () => {
    const answer = await ask(session, { cookie: ["a=1", "b=2", "c=3"] });
    assert.equal(JSON.parse(answer.text).headers.cookie, "a=1; b=2; c=3");
  });

  test("offers no Extended CONNECT, so that a WebSocket asks over HTTP/1.1", async () => {
    const fresh = open(server);
    await new Promise((resolve) => fresh.once("remoteSettings", resolve));
    assert.ok(!fresh.remoteSettings.enableConnectProtocol);
    assert.equal(fresh.remoteSettings.maxConcurrentStreams, 100);
    fresh.close();
    const raw = await h2.connect(server.url, authority);
    raw.send(h2.headers(1, [[":method", "CONNECT"], [":authority", "shop.example:443"]], { end: false }));
    const fate = await raw.fate(1);
    assert.ok(fate.status === 501 || fate.reset !== undefined, JSON.stringify(fate));
    raw.end();
  });

  test("is not spoken on a plain port, and the preface hears so", async () => {
    const plain = await startPontage(sellerConfig({ rpc: kNoChain, upstream: upstream.url, routes: kRoutes }));
    try {
      const heard = await talk(plain.url, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", { withinMs: 5_000, half: true });
      assert.deepEqual(heard.statuses, [505]);
      assert.match(heard.text, /only HTTP\/1\.1/);
      const upgrade = await talk(
        plain.url,
        "GET /free/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        { until: (text) => text.includes("\r\n\r\n") },
      );
      assert.deepEqual(upgrade.statuses, [200]);
    } finally {
      await plain.stop();
    }
  });

  test("keeps the connection when one stream is broken off", async () => {
    const stream = session.request({ ":path": "/free/slow" });
    stream.on("error", () => {});
    await sleep(50);
    stream.close(http2.constants.NGHTTP2_CANCEL);
    assert.equal((await ask(session)).status, 200);
  });

  test("a stream that the client breaks off without an error gives its upstream back", async () => {
    for (let n = 0; n < 3; n += 1) {
      const stream = session.request({ ":path": "/free/endless" });
      await new Promise((resolve) => stream.once("data", resolve));
      stream.close(http2.constants.NGHTTP2_NO_ERROR);
    }
    // A silent event stream is looked at every fifteen seconds.
    for (let tries = 0; left < 3 && tries < 200; tries += 1) await sleep(100);
    assert.equal(left, 3);
    assert.equal((await ask(session)).status, 200);
  });

  test("hears a response to a body that is not read to its end", async () => {
    const stream = session.request({ ":path": "/nowhere", ":method": "POST" });
    stream.on("error", () => {});
    stream.write("some");
    const head = await new Promise((resolve) => stream.once("response", resolve));
    assert.equal(head[":status"], 404);
    stream.resume();
    await new Promise((resolve) => stream.once("close", resolve));
    assert.equal((await ask(session)).status, 200);
  });

  const bad = [
    ["no method", h2.requestOf().slice(1)],
    ["no path", h2.requestOf().slice(0, 3)],
    ["no scheme", [h2.requestOf()[0], ...h2.requestOf().slice(2)]],
    ["no authority", [...h2.requestOf().slice(0, 2), h2.requestOf()[3]]],
    ["a path twice", [...h2.requestOf(), [":path", "/paid/x"]]],
    ["a pseudo-header behind others", [...h2.requestOf().slice(0, 3), ["x-a", "1"], h2.requestOf()[3]]],
    ["a pseudo-header of answers", [...h2.requestOf(), [":status", "200"]]],
    ["an unknown pseudo-header", [...h2.requestOf(), [":other", "1"]]],
    ["a name in upper case", h2.requestOf("/free/x", [["X-A", "1"]])],
    ["a name with a space", h2.requestOf("/free/x", [["x a", "1"]])],
    ["a name with a colon", h2.requestOf("/free/x", [["x:a", "1"]])],
    ["CR LF in a value", h2.requestOf("/free/x", [["x-a", "1\r\nx-b: 2"]])],
    ["NUL in a value", h2.requestOf("/free/x", [["x-a", "1\0"]])],
    ["a space in the path", h2.requestOf("/free/x HTTP/1.1")],
    ["CR LF in the path", h2.requestOf("/free/x\r\nX-A: 1")],
    ["a path that is none", h2.requestOf("free/x")],
    ["an absolute path", h2.requestOf("http://other.example/free/x")],
    ["a fragment in the path", h2.requestOf("/free/x#y")],
    ["a space in the method", h2.requestOf("/free/x", [], "GET /paid/x")],
    ["user info in the authority", [...h2.requestOf().slice(0, 2), [":authority", "a@shop.example"], h2.requestOf()[3]]],
    ["a Host beside another authority", h2.requestOf("/free/x", [["host", "other.example"]])],
    ["Connection", h2.requestOf("/free/x", [["connection", "close"]])],
    ["Transfer-Encoding", h2.requestOf("/free/x", [["transfer-encoding", "chunked"]])],
    ["Upgrade", h2.requestOf("/free/x", [["upgrade", "websocket"]])],
    ["Keep-Alive", h2.requestOf("/free/x", [["keep-alive", "1"]])],
    ["Proxy-Connection", h2.requestOf("/free/x", [["proxy-connection", "close"]])],
    ["TE other than trailers", h2.requestOf("/free/x", [["te", "gzip"]])],
    ["two Content-Length", h2.requestOf("/free/x", [["content-length", "0"], ["content-length", "0"]])],
    ["a Content-Length with a sign", h2.requestOf("/free/x", [["content-length", "+0"]])],
    ["a Content-Length without a body", h2.requestOf("/free/x", [["content-length", "3"]])],
  ];
  for (const [what, pairs] of bad) {
    test(`a request with ${what} is refused and reaches nobody`, async () => {
      const had = upstream.requests.length;
      const raw = await h2.connect(server.url, authority);
      raw.send(h2.headers(1, pairs), h2.headers(3, h2.requestOf()));
      const fate = await raw.fate(1);
      assert.ok(fate.reset !== undefined || fate.status === 400, JSON.stringify(fate));
      assert.equal((await raw.fate(3)).status, 200, "the next stream");
      assert.equal(upstream.requests.length, had + 1);
      raw.end();
    });
  }

  test("a body that is not as long as announced is no request", async () => {
    const raw = await h2.connect(server.url, authority);
    const announced = (n) => h2.requestOf("/free/echo", [["content-length", String(n)]], "POST");
    raw.send(h2.headers(1, announced(2), { end: false }), h2.frame(0, 1, 1, Buffer.from("abc")));
    raw.send(h2.headers(3, announced(4), { end: false }), h2.frame(0, 1, 3, Buffer.from("abc")));
    assert.notEqual((await raw.fate(1)).reset, undefined);
    assert.notEqual((await raw.fate(3)).reset, undefined);
    raw.end();
  });

  test("too large a head and too many fields are 431", async () => {
    const raw = await h2.connect(server.url, authority);
    const many = Array.from({ length: 200 }, (_, n) => [`x-${n}`, "1"]);
    raw.send(h2.headers(1, h2.requestOf("/free/x", many)));
    assert.equal((await raw.fate(1)).status, 431);
    raw.end();
    const other = await h2.connect(server.url, authority);
    other.send(
      h2.headers(3, h2.requestOf("/free/x", Array.from({ length: 5 }, (_, n) => [`x-${n}`, "a".repeat(3_000)])), { endHeaders: false }),
      ...[0, 1, 2, 3].map((n) => h2.frame(h2.kTypes.continuation, n === 3 ? 4 : 0, 3, h2.block([[`y-${n}`, "b".repeat(15_000)]]))),
    );
    assert.equal((await other.fate(3)).status, 431);
    other.send(h2.headers(5, h2.requestOf()));
    assert.equal((await other.fate(5)).status, 200);
    other.end();
  });

  test("more streams than allowed are refused, and reach nobody", async () => {
    const had = upstream.requests.length;
    const raw = await h2.connect(server.url, authority);
    await raw.until(() => raw.frames.some((f) => f.type === h2.kTypes.settings));
    raw.send(Array.from({ length: 130 }, (_, n) => h2.headers(2 * n + 1, h2.requestOf("/free/slow"))));
    const last = await Promise.race([raw.fate(259), raw.verdict()]);
    assert.ok(last.reset === h2.kErrors.refused || last.code !== undefined, JSON.stringify(last));
    await sleep(100);
    assert.ok(upstream.requests.length - had <= 100, `${upstream.requests.length - had}`);
    raw.end();
  });
});

describe("an answer over HTTP/2 that cannot be completed", () => {
  test("is reset, and the connection serves on", async () => {
    const raw = await startRawServer((socket, head) => {
      if (head.includes("/cut")) {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
        setTimeout(() => socket.destroy(), 50);
      } else {
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      }
    });
    const server = await start(raw.url);
    const session = open(server);
    try {
      await assert.rejects(ask(session, { ":path": "/free/cut" }), /INTERNAL_ERROR|reset 2/);
      assert.equal((await ask(session)).text, "ok");
    } finally {
      session.close();
      await server.stop();
      await raw.stop();
    }
  });
});

describe("an orderly end over HTTP/2", () => {
  test("tells GOAWAY, lets the stream finish and ends", async () => {
    const held = [];
    const upstream = http.createServer((req, res) => held.push(res));
    await new Promise((resolve) => upstream.listen(0, "127.0.0.1", resolve));
    const server = await start(`http://127.0.0.1:${upstream.address().port}`);
    const session = open(server);
    const goaway = new Promise((resolve) => session.once("goaway", resolve));
    const idle = open(server);
    await new Promise((resolve) => idle.once("remoteSettings", resolve));
    const idleGone = new Promise((resolve) => idle.once("goaway", resolve));
    const answer = ask(session);
    await rig.until(() => held.length === 1, { label: "the upstream is asked" });
    process.kill(server.pid, "SIGTERM");
    assert.equal(await goaway, 0);
    assert.equal(await idleGone, 0);
    held[0].end("last words");
    assert.equal((await answer).text, "last words");
    const { code } = await server.exited;
    assert.equal(code, 0);
    upstream.close();
  });
});

describe("money over HTTP/2", () => {
  let chain, upstream, server, session;
  const large = Buffer.alloc(4 << 20, "pontage ");
  before(async () => {
    chain = await rig.up();
    upstream = await startUpstream((req, res) => res.end(req.url.includes("large") ? large : "goods"));
    server = await start(upstream.url, { rpc: chain.rpc });
    session = open(server);
  });
  after(async () => {
    session?.close();
    await server?.stop();
    await upstream?.stop();
    await chain?.stop();
  });
  const offers = async (where) => {
    const answer = await ask(session, { ":path": where });
    assert.equal(answer.status, 402);
    return { v2: decode(answer.headers["payment-required"]) };
  };
  const payment = async (where) => {
    const [[name, value]] = Object.entries(payHeader(await paymentV2(await offers(where))));
    return { ":path": where, [name.toLowerCase()]: value };
  };

  test("a call is paid, served once and receipted", async () => {
    const { value, gained, runs } = await during({ chain, upstream }, async () => ask(session, await payment("/paid/x")));
    assert.equal(value.status, 200);
    assert.equal(value.text, "goods");
    assert.equal(decode(value.headers["payment-response"]).success, true);
    assert.equal(gained, 1000n);
    assert.equal(runs, 1);
  });

  test("one payment on two streams at once is served once", async () => {
    const paid = await payment("/paid/twice");
    const { value, gained, runs } = await during({ chain, upstream }, () => Promise.all([ask(session, paid), ask(session, paid)]));
    assert.deepEqual(value.map((one) => one.status === 200).sort(), [false, true]);
    assert.equal(gained, 1000n);
    assert.equal(runs, 1);
  });

  test("a client that resets its stream in the middle of the answer has a broken delivery", async () => {
    const paid = await payment("/paid/large");
    const stream = session.request(paid);
    stream.on("error", () => {});
    await new Promise((resolve) => stream.once("data", resolve));
    stream.close(http2.constants.NGHTTP2_CANCEL);
    const broken = await rig.until(
      async () => (await books(server)).find((row) => row.delivery === "broken" || row.delivery === "owed"),
      { label: "the delivery is noted" },
    );
    assert.ok(broken);
    // The same payment again: redeemed, not charged.
    const { value, gained } = await during({ chain, upstream }, () => ask(session, paid));
    assert.equal(value.status, 200);
    assert.equal(value.text.length, large.length);
    assert.equal(gained, 0n);
  });
});
