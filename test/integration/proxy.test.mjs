// The gateway as a proxy: connections, streams, framing, hop-by-hop rules, interim answers and protocol
// switches, as a client and an upstream see them. What is refused for its form is adversarial.test.mjs's,
// deadlines and forwarding are proxy_edges.test.mjs's.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import { after, afterEach, before, describe, test } from "node:test";
import { books, decode, offersOf, payHeader, paymentV2 } from "../rig/src/pay.mjs";
import { receiptOf } from "../rig/src/peers.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { request, startRawServer, talk, whole } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";

const kMiB = 1 << 20;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// An upstream whose answers a test gives one at a time; `sockets` counts the connections it ever had.
async function startPlainUpstream() {
  const own = { sockets: 0, requests: [] };
  own.reset = () => {
    own.requests.length = 0;
    own.answer = (req, res) => {
      req.resume();
      res.end(JSON.stringify({ path: req.url }));
    };
  };
  own.reset();
  const server = http.createServer({ keepAliveTimeout: 60_000 }, (req, res) => {
    own.requests.push(req);
    own.answer(req, res);
  });
  server.on("checkContinue", (req, res) => {
    own.requests.push(req);
    own.answer(req, res);
  });
  server.on("connection", () => (own.sockets += 1));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  own.url = `http://127.0.0.1:${server.address().port}`;
  own.dropIdle = () => server.closeIdleConnections();
  own.stop = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  return own;
}

let chain, upstream, raw, server;
const kRoutes = `
[[route]]
match = "/free/*"
upstream = "api"
price = "free"
[[route]]
match = "/raw/*"
upstream = "raw"
price = "free"
[[route]]
match = "/paid/*"
upstream = "api"
price = "$0.001"
[[route]]
match = "/before/*"
upstream = "api"
price = "$0.001"
settle = "before"
[[route]]
match = "/rawpaid/*"
upstream = "raw"
price = "$0.001"
`;
before(async () => {
  chain = await rig.up();
  upstream = await startPlainUpstream();
  raw = await startRawServer();
  const sections = `[[upstream]]\nname = "raw"\nurl = "${raw.url}"`;
  server = await startPontage(
    // One loop, so that how many connections the pool has can be counted.
    sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: "", server: "threads = 1", sections: sections + kRoutes }),
  );
});
after(async () => {
  await server?.stop();
  await upstream?.stop();
  await raw?.stop();
  await chain?.stop();
});
afterEach(() => upstream.reset());

const headOf = (text) => text.slice(0, text.indexOf("\r\n\r\n"));
const bodyOf = (text) => text.slice(text.indexOf("\r\n\r\n") + 4);
const ok = (text, more = "") => `HTTP/1.1 200 OK\r\n${more}Content-Length: ${text.length}\r\n\r\n${text}`;
const rss = () => Number(/VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${server.pid}/status`, "utf8"))[1]) * 1024;

// A client connection that a test reads and writes at its own pace.
function dial(url = server.url) {
  const { port } = new URL(url);
  const socket = net.connect({ host: "127.0.0.1", port: Number(port), allowHalfOpen: true });
  const own = { socket, text: "", ended: false };
  socket.on("data", (data) => (own.text += data.toString("latin1")));
  socket.on("end", () => (own.ended = true));
  socket.on("error", () => (own.ended = true));
  socket.on("close", () => (own.ended = true));
  own.send = (bytes) => socket.write(bytes, "latin1");
  own.until = (what, label = String(what)) =>
    rig.until(() => (typeof what === "string" ? own.text.includes(what) : what(own.text)), { label: `${label} in ${own.text.slice(-300)}`, withinMs: 5_000 });
  return own;
}

async function payment(path) {
  return payHeader(await paymentV2(await offersOf(`${server.url}${path}`)));
}
const lines = (headers) => Object.entries(headers).map(([name, value]) => `${name}: ${value}`);

describe("connections", () => {
  test("many requests over one client connection reach the upstream over one of ours", async () => {
    const had = upstream.sockets;
    const client = dial();
    for (let n = 1; n <= 50; n += 1) {
      client.text = "";
      client.send(request(`GET /free/${n}`));
      await client.until(whole);
      assert.match(client.text, new RegExp(`"/free/${n}"`));
      assert.doesNotMatch(headOf(client.text), /connection: close/i);
    }
    client.socket.destroy();
    assert.ok(upstream.sockets - had <= 1, `${upstream.sockets - had} connections`);
  });

  test("many clients share the upstream's connections, and no more are opened than needed", async () => {
    const had = upstream.sockets;
    for (let n = 0; n < 20; n += 1) {
      const { statuses } = await talk(server.url, request("GET /free/x", ["Connection: close"]));
      assert.deepEqual(statuses, [200]);
    }
    assert.ok(upstream.sockets - had <= 1, `${upstream.sockets - had} connections`);
    // At once there are as many as requests in flight, and they stay for the next ones.
    let waiting = [];
    upstream.answer = (req, res) => {
      waiting.push(res);
      if (waiting.length === 10) for (const one of waiting.splice(0)) one.end("x");
    };
    for (let round = 0; round < 3; round += 1) {
      waiting = [];
      await Promise.all(Array.from({ length: 10 }, () => fetch(`${server.url}/free/x`).then((a) => a.text())));
    }
    assert.ok(upstream.sockets - had <= 10, `${upstream.sockets - had} connections`);
  });

  test("a pooled connection that the upstream closed is replaced in silence", async () => {
    for (let n = 0; n < 5; n += 1) {
      assert.equal((await fetch(`${server.url}/free/${n}`)).status, 200);
      upstream.dropIdle();
      const post = await fetch(`${server.url}/free/${n}`, { method: "POST", body: "x".repeat(1000) });
      assert.equal(post.status, 200);
      upstream.dropIdle();
    }
  });

  test("work that the upstream has read is not repeated when its connection dies", async () => {
    raw.onRequest = (socket, head, nth) => (nth === 1 ? socket.write(ok("first")) : socket.destroy());
    const heads = () => raw.heads.length;
    await fetch(`${server.url}/raw/a`).then((a) => a.text());
    const had = heads();
    const second = await fetch(`${server.url}/raw/b`, { method: "POST", body: "work" });
    assert.equal(second.status, 502, "what was read may have been done");
    assert.equal((await second.json()).code, "connection");
    assert.equal(heads() - had, 1, "asked once");
  });

  test("pipelined requests are answered in their order, however long each takes", async () => {
    upstream.answer = (req, res) => setTimeout(() => res.end(req.url), req.url.endsWith("0") ? 300 : 0);
    const wanted = Array.from({ length: 8 }, (_, n) => `/free/${n}`);
    const all = wanted.map((path, n) => request(`GET ${path}`, n === 7 ? ["Connection: close"] : [])).join("");
    const { text, statuses, closed } = await talk(server.url, all, { withinMs: 5_000 });
    assert.equal(statuses.length, 8);
    assert.deepEqual([...text.matchAll(/\/free\/\d/g)].map(String), wanted);
    assert.ok(closed);
  });

  test("Connection: close is respected on both sides", async () => {
    const { text, closed } = await talk(server.url, request("GET /free/x", ["Connection: close"]));
    assert.ok(closed);
    assert.match(headOf(text), /^connection: close\r?$/im);
    raw.onRequest = (socket, head) => {
      assert.doesNotMatch(head, /connection: close/i);
      socket.end(ok("bye", "Connection: close\r\n"));
    };
    const client = dial();
    const had = raw.sockets.length;
    for (let n = 0; n < 3; n += 1) {
      client.text = "";
      client.send(request("GET /raw/x"));
      await client.until(whole);
      assert.doesNotMatch(headOf(client.text), /connection: close/i, "ours goes on");
    }
    client.socket.destroy();
    assert.equal(raw.sockets.length - had, 3);
  });

  test("300 clients that leave at any stage leave no descriptor behind", { timeout: 60_000 }, async () => {
    upstream.answer = (req, res) => {
      req.resume();
      res.write("begun");
      setTimeout(() => res.end("ended"), 30);
    };
    // By its own word: nobody may look into a process that holds keys.
    const count = async () => {
      const text = await (await fetch(`${server.metricsUrl}/metrics`)).text();
      return Number(/^process_open_fds (\d+)$/m.exec(text)[1]);
    };
    await fetch(`${server.url}/free/x`).then((a) => a.text());
    const before = await count();
    const stages = [
      "",
      "GET /free",
      "GET /free/x HTTP/1.1\r\nHost: x\r\n",
      request("GET /free/x"),
      request("GET /paid/x"),
      request("POST /free/x", ["Content-Length: 100"], "abc"),
      request("POST /free/x", ["Transfer-Encoding: chunked"], "5\r\nabc"),
      request("GET /free/x") + request("GET /free/y"),
      "\0\0\0",
    ];
    for (let at = 0; at < 300; at += 30) {
      await Promise.all(
        Array.from({ length: 30 }, async (_, n) => {
          const client = dial();
          client.send(stages[(at + n) % stages.length]);
          await sleep((at + n * 7) % 60);
          if (n % 2) client.socket.resetAndDestroy();
          else client.socket.destroy();
        }),
      );
    }
    // The pool may keep what it opened meanwhile (64 for each upstream), and gives it back when the upstream does.
    await rig.until(
      async () => {
        upstream.dropIdle();
        return (await count()) <= before + 2;
      },
      { label: `descriptors back to ${before}`, withinMs: 20_000 },
    );
    assert.equal((await fetch(`${server.url}/free/x`)).status, 200);
  });
});

describe("streams", () => {
  test("a client that does not read holds the upstream back, in bounded memory", { timeout: 60_000 }, async () => {
    const total = 64 * kMiB;
    let given = 0;
    upstream.answer = (req, res) => {
      res.writeHead(200, { "content-length": total });
      const block = Buffer.alloc(256 * 1024, "d");
      const more = () => {
        while (given < total) {
          given += block.length;
          if (!res.write(block)) return res.once("drain", more);
        }
        return res.end();
      };
      more();
    };
    const start = rss();
    const { port } = new URL(server.url);
    const socket = net.connect({ host: "127.0.0.1", port: Number(port) });
    socket.pause();
    socket.write(request("GET /free/big"));
    let last = -1;
    await rig.until(
      async () => {
        const [was] = [last, (last = given)];
        await sleep(400);
        return given > 0 && given === was;
      },
      { label: "the upstream is held back", everyMs: 1, withinMs: 20_000 },
    );
    assert.ok(given < 48 * kMiB, `${given} of ${total} bytes went into nothing`);
    let most = rss();
    let heard = 0;
    socket.on("data", (data) => {
      heard += data.length;
      most = Math.max(most, rss());
    });
    socket.resume();
    await rig.until(() => heard > total, { label: `all of it, ${heard}`, withinMs: 30_000 });
    socket.destroy();
    assert.ok(most - start < 16 * kMiB, `grew by ${(most - start) / kMiB} MiB`);
  });

  test("an upstream that does not read holds the client back, in bounded memory", { timeout: 60_000 }, async () => {
    const total = 64 * kMiB;
    let arrived = 0;
    let begin;
    upstream.answer = (req, res) => {
      req.pause();
      begin = () => {
        req.on("data", (data) => (arrived += data.length));
        req.on("end", () => res.end(`${arrived}`));
        req.resume();
      };
    };
    const start = rss();
    const client = dial();
    client.send(request("POST /free/big", [`Content-Length: ${total}`]));
    const block = Buffer.alloc(256 * 1024, "u");
    let left = total;
    const feed = () => {
      while (left > 0) {
        left -= block.length;
        if (!client.socket.write(block)) return client.socket.once("drain", feed);
      }
      return undefined;
    };
    feed();
    let last = -1;
    await rig.until(
      async () => {
        const [was] = [last, (last = left)];
        await sleep(400);
        return begin && left === was;
      },
      { label: "the client is held back", everyMs: 1, withinMs: 20_000 },
    );
    assert.ok(left > 16 * kMiB, `${total - left} of ${total} bytes went into nothing`);
    let most = rss();
    begin();
    await rig.until(
      () => {
        most = Math.max(most, rss());
        return client.text.includes(`${total}`);
      },
      { label: "the answer to all of it", withinMs: 30_000 },
    );
    client.socket.destroy();
    assert.ok(most - start < 16 * kMiB, `grew by ${(most - start) / kMiB} MiB`);
  });

  for (const chunked of [false, true]) {
    test(`bytes go on as they come, both ways, before either side has ended (${chunked ? "chunked" : "sized"})`, async () => {
      upstream.answer = (req, res) => {
        if (!chunked) res.setHeader("content-length", 6);
        req.on("data", (data) => res.write(data.toString().toUpperCase()));
        req.on("end", () => res.end());
      };
      const client = dial();
      const framing = chunked ? "Transfer-Encoding: chunked" : "Content-Length: 6";
      const piece = (text) => (chunked ? `${text.length}\r\n${text}\r\n` : text);
      client.send(request("POST /free/echo", [framing]) + piece("ab"));
      await client.until("AB", "what was sent comes back while more is to come");
      client.send(piece("cd"));
      await client.until("CD");
      client.send(piece("ef") + (chunked ? "0\r\n\r\n" : ""));
      await client.until(whole);
      client.socket.destroy();
    });
  }

  test("the head of an answer does not wait for its body", async () => {
    let answer;
    upstream.answer = (req, res) => {
      answer = res;
      res.writeHead(200, { "x-early": "1" });
      res.flushHeaders();
    };
    const client = dial();
    client.send(request("GET /free/slow"));
    await client.until("x-early: 1");
    assert.equal(bodyOf(client.text), "");
    answer.end("late");
    await client.until("late");
    client.socket.destroy();
  });

  for (const [name, path] of [
    ["a free route", "/free/events"],
    ["a paid route that settles after", "/paid/events"],
    ["a paid route that settles before", "/before/events"],
  ]) {
    test(`events arrive one by one on ${name}`, async () => {
      let stream;
      upstream.answer = (req, res) => {
        res.writeHead(200, { "content-type": "text/event-stream" });
        res.write("data: 1\n\n");
        stream = res;
      };
      const paid = !path.startsWith("/free");
      const headers = paid ? await payment(path) : {};
      const had = await rig.tokenBalance(chain.rpc, "payee");
      const client = dial();
      client.send(request(`GET ${path}`, ["Accept: text/event-stream", ...lines(headers)]));
      await client.until("data: 1\n\n");
      if (paid) {
        assert.match(headOf(client.text), /^payment-response: /im);
        assert.equal((await rig.tokenBalance(chain.rpc, "payee")) - had, 1000n, "paid before the first byte");
      }
      for (let n = 2; n <= 5; n += 1) {
        stream.write(`data: ${n}\n\n`);
        await client.until(`data: ${n}\n\n`);
      }
      assert.ok(!client.ended);
      stream.end("data: end\n\n");
      await client.until("0\r\n\r\n");
      client.socket.destroy();
      if (paid) {
        await rig.until(async () => (await books(server)).find((row) => row.resource === path).delivery === "delivered", {
          label: "delivered",
        });
      }
    });
  }

  test("a client that half-closes gets the whole of a slow answer, free and paid", async () => {
    for (const path of ["/free/half", "/paid/half"]) {
      const headers = path.startsWith("/free") ? {} : await payment(path);
      upstream.answer = (req, res) => {
        let size = 0;
        req.on("data", (data) => (size += data.length));
        req.on("end", () => {
          res.write(`${size} `);
          setTimeout(() => res.end("whole"), 400);
        });
      };
      const text = request(`POST ${path}`, ["Content-Length: 4", ...lines(headers)], "body");
      const heard = await talk(server.url, text, { half: true, withinMs: 6_000 });
      assert.deepEqual(heard.statuses, [200], heard.text);
      assert.match(heard.text, /4 /);
      assert.match(heard.text, /whole/);
    }
  });
});

describe("framing", () => {
  test("HEAD has the size and no body, and the connection goes on", async () => {
    upstream.answer = (req, res) => {
      res.setHeader("content-length", 1234);
      res.end(req.method === "HEAD" ? undefined : "x".repeat(1234));
    };
    const all = request("HEAD /free/x") + request("GET /free/x", ["Connection: close"]);
    const { text, statuses } = await talk(server.url, all);
    assert.deepEqual(statuses, [200, 200]);
    const [first, second] = text.split(/(?=HTTP\/1\.1 200)/);
    assert.match(first, /content-length: 1234/i);
    assert.equal(bodyOf(first), "");
    assert.equal(bodyOf(second).length, 1234);
  });

  test("HEAD without a size announces none, free and paid", async () => {
    upstream.answer = (req, res) => res.writeHead(200, { "transfer-encoding": "chunked" }).end();
    for (const path of ["/free/x", "/paid/head"]) {
      let headers = {};
      if (path.startsWith("/paid")) {
        // The offer is read by HEAD too, because the payment is for that method.
        const unpaid = await fetch(`${server.url}${path}`, { method: "HEAD" });
        headers = payHeader(await paymentV2({ v2: decode(unpaid.headers.get("payment-required")) }));
      }
      const { text, statuses } = await talk(server.url, request(`HEAD ${path}`, ["Connection: close", ...lines(headers)]));
      assert.deepEqual(statuses, [200], text);
      assert.doesNotMatch(text, /content-length/i, "0 would be said of the GET");
      assert.equal(bodyOf(text), "");
    }
  });

  test("204 and 304 have no body, and the connection goes on", async () => {
    upstream.answer = (req, res) => {
      res.statusCode = Number(req.url.slice(-3));
      if (res.statusCode === 304) res.setHeader("etag", '"1"');
      res.end();
    };
    const all = request("GET /free/204") + request("GET /free/304") + request("GET /free/200", ["Connection: close"]);
    const { text, statuses } = await talk(server.url, all);
    assert.deepEqual(statuses, [204, 304, 200], text);
    const [none, same] = text.split(/(?=HTTP\/1\.1 )/);
    assert.doesNotMatch(none, /content-length|transfer-encoding/i);
    assert.doesNotMatch(same, /content-length|transfer-encoding/i);
    assert.match(same, /etag: "1"/i);
  });

  test("an HTTP/1.0 client gets the end of the connection instead of chunks, and no interim answer", async () => {
    upstream.answer = (req, res) => {
      res.writeEarlyHints({ link: "</a.css>; rel=preload" });
      res.write("one ");
      setTimeout(() => res.end("two"), 50);
    };
    const { text, statuses, closed } = await talk(server.url, "GET /free/old HTTP/1.0\r\n\r\n", { withinMs: 5_000 });
    assert.deepEqual(statuses, [200]);
    assert.ok(closed);
    assert.doesNotMatch(text, /transfer-encoding/i);
    assert.equal(bodyOf(text), "one two");
  });

  test("an HTTP/1.0 upstream's answer ends with its connection and is whole", async () => {
    raw.onRequest = (socket) => socket.end("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold and whole");
    const answer = await fetch(`${server.url}/raw/old`);
    assert.equal(await answer.text(), "old and whole");
  });

  test("trailers go both ways, and what pays does not hide in them", async () => {
    let seen;
    upstream.answer = async (req, res) => {
      for await (const chunk of req) void chunk;
      seen = req.trailers;
      res.setHeader("trailer", "x-sum");
      res.write("body");
      res.addTrailers({ "x-sum": "42" });
      res.end();
    };
    const trailers = ["X-Check: 7", "PAYMENT-SIGNATURE: x", "X-PAYMENT: x", "Authorization: Bearer x", "X-API-Key: x", "Connection: x"];
    const body = `4\r\nbody\r\n0\r\n${trailers.join("\r\n")}\r\n\r\n`;
    const head = ["Transfer-Encoding: chunked", "Trailer: X-Check", "TE: trailers", "Connection: close, TE"];
    const { text } = await talk(server.url, request("POST /free/t", head, body));
    assert.match(text, /0\r\nx-sum: 42\r\n\r\n$/i, text);
    assert.deepEqual({ ...seen }, { "x-check": "7" });
  });

  test("hop-by-hop fields stay on their hop, in both directions", async () => {
    raw.onRequest = (socket) =>
      socket.write(
        ok(
          "x",
          "Connection: x-up, keep-alive\r\nX-Up: 1\r\nKeep-Alive: timeout=9\r\nProxy-Connection: keep-alive\r\n" +
            "Proxy-Authenticate: Basic\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Kept: 1\r\n",
        ),
      );
    const hop = ["Keep-Alive: timeout=9", "Proxy-Connection: keep-alive", "TE: trailers", "X-Mine: 1", "X-Kept: 1", "Connection: x-mine"];
    const { text } = await talk(server.url, request("GET /raw/hop", [...hop, "Connection: close"]));
    const sent = raw.heads.at(-1);
    for (const name of ["Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "TE", "Upgrade", "X-Up", "X-Mine", "Transfer-Encoding"]) {
      assert.doesNotMatch(sent, new RegExp(`^${name}:`, "im"), "to the upstream");
      assert.doesNotMatch(text, new RegExp(`^${name}:`, "im"), "to the client");
    }
    assert.match(sent, /^x-kept: 1\r?$/im);
    assert.match(text, /^x-kept: 1\r?$/im);
  });
});

test("Connection cannot name away what is ours to say to the upstream", async () => {
  raw.onRequest = (socket) => socket.write(ok("x"));
  const named = "Connection: close, X-Request-Id, traceparent, X-Forwarded-For, Forwarded, X-Theirs";
  const { statuses } = await talk(server.url, request("GET /raw/named", [named, "X-Request-Id: theirs", "X-Theirs: 1"]));
  assert.deepEqual(statuses, [200]);
  const sent = raw.heads.at(-1);
  assert.match(sent, /^x-request-id: req_/im);
  assert.match(sent, /^traceparent: 00-/im);
  assert.match(sent, /^x-forwarded-for: 127/im);
  assert.match(sent, /^forwarded: for=127/im);
  assert.doesNotMatch(sent, /theirs/i);
});

describe("interim answers and protocol switches", () => {
  test("103 Early Hints pass on, before the answer", async () => {
    let answer;
    upstream.answer = (req, res) => {
      answer = res;
      res.writeEarlyHints({ link: "</a.css>; rel=preload" });
    };
    const client = dial();
    client.send(request("GET /free/hints"));
    await client.until("</a.css>; rel=preload");
    assert.match(client.text, /^HTTP\/1\.1 103 /);
    answer.end("x");
    await client.until("HTTP/1.1 200 OK");
    client.socket.destroy();
  });

  test("Expect: 100-continue is answered when the body is wanted, and the upstream is not asked to expect", async () => {
    upstream.answer = async (req, res) => {
      let text = "";
      for await (const chunk of req) text += chunk;
      res.end(text.toUpperCase());
    };
    const client = dial();
    client.send(request("POST /free/x", ["Content-Length: 4", "Expect: 100-continue"]));
    await client.until("HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    await client.until("BODY");
    assert.equal(upstream.requests.at(-1).headers.expect, undefined);
    client.socket.destroy();
  });

  test("an unpaid client is told the price instead of being asked for its body", async () => {
    const head = request("POST /paid/x", ["Content-Length: 1000000", "Expect: 100-continue"]);
    const { statuses } = await talk(server.url, head, { until: whole });
    assert.deepEqual(statuses, [402]);
  });

  test("another expectation is 417", async () => {
    const { statuses } = await talk(server.url, request("GET /free/x", ["Expect: miracles"]));
    assert.deepEqual(statuses, [417]);
  });

  const kSwitch = ["Connection: Upgrade", "Upgrade: websocket"];
  const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  const echo = (socket, head) => {
    assert.match(head, /^upgrade: websocket\r?$/im);
    assert.match(head, /^connection: upgrade\r?$/im);
    socket.removeAllListeners("data");
    socket.write(`${switched}hello `);
    socket.on("data", (data) => socket.write(data.toString().toUpperCase()));
  };

  for (const path of ["/raw/switch", "/rawpaid/switch"]) {
    test(`after a protocol switch the bytes go both ways: ${path}`, async () => {
      raw.onRequest = echo;
      const paid = path.startsWith("/rawpaid");
      const headers = paid ? await payment(path) : {};
      const had = await rig.tokenBalance(chain.rpc, "payee");
      const client = dial();
      client.send(request(`GET ${path}`, [...kSwitch, ...lines(headers)]));
      await client.until("hello ");
      assert.match(client.text, /^HTTP\/1\.1 101 /);
      assert.match(headOf(client.text), /^upgrade: websocket\r?$/im);
      if (paid) {
        assert.match(headOf(client.text), /^payment-response: /im);
        assert.equal((await rig.tokenBalance(chain.rpc, "payee")) - had, 1000n);
      }
      for (const word of ["one", "two"]) {
        client.send(word);
        await client.until(word.toUpperCase());
      }
      const socket = raw.sockets.at(-1);
      client.socket.end();
      await rig.until(() => client.ended && socket.destroyed, { label: "the end of one is the end of both" });
    });
  }

  test("after a switch a client that has said its last still hears the upstream's, and an upstream that goes ends both", async () => {
    raw.onRequest = (socket) => {
      socket.removeAllListeners("end");
      socket.on("end", () => setTimeout(() => socket.end("last words"), 100));
      socket.write(switched);
    };
    const client = dial();
    client.send(request("GET /raw/half", kSwitch));
    await client.until("101 ");
    client.socket.end("bye");
    await client.until("last words");
    await rig.until(() => client.ended, { label: "the end" });
    raw.onRequest = (socket) => socket.write(switched, () => setTimeout(() => socket.destroy(), 50));
    const other = dial();
    other.send(request("GET /raw/gone", kSwitch));
    await rig.until(() => other.ended, { label: "the upstream's going is seen" });
    other.socket.destroy();
  });

  test("a switch that the upstream declines is an answer like any other", async () => {
    raw.onRequest = (socket) => socket.write(ok("no"));
    const { statuses } = await talk(server.url, request("GET /raw/no", kSwitch), { until: whole });
    assert.deepEqual(statuses, [200]);
    raw.onRequest = (socket) => socket.write("HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket/2\r\nContent-Length: 0\r\n\r\n");
    const other = await talk(server.url, request("GET /raw/no", kSwitch), { until: whole });
    assert.deepEqual(other.statuses, [426]);
  });

  test("of a list of protocols none is asked for, and a switch to another one is no answer", async () => {
    raw.onRequest = (socket) => socket.write(ok("plain"));
    for (const fields of [["Upgrade: websocket, h2c"], ["Upgrade: h2c"], ["Upgrade: websocket", "Upgrade: h2c"], ["Upgrade: TLS/1.2"]]) {
      const { statuses } = await talk(server.url, request("GET /raw/list", ["Connection: Upgrade", ...fields]), { until: whole });
      assert.deepEqual(statuses, [200]);
      assert.doesNotMatch(raw.heads.at(-1), /^(upgrade|connection):/im, String(fields));
    }
    raw.onRequest = (socket) => socket.write(switched.replace("websocket", "h2c"));
    const had = await rig.tokenBalance(chain.rpc, "payee");
    for (const path of ["/raw/other", "/rawpaid/other"]) {
      const headers = path.startsWith("/rawpaid") ? lines(await payment(path)) : [];
      const { statuses, text } = await talk(server.url, request(`GET ${path}`, [...kSwitch, ...headers]), { until: whole });
      assert.deepEqual(statuses, [502], path);
      assert.match(text, /upstream_protocol/);
    }
    assert.equal(await rig.tokenBalance(chain.rpc, "payee"), had);
  });

  test("a switch that nobody asked for is no answer", async () => {
    raw.onRequest = (socket) => socket.write(switched);
    const answer = await fetch(`${server.url}/raw/unasked`);
    assert.equal(answer.status, 502);
  });

  test("an unpaid switch is told the price, and nobody is asked", async () => {
    const had = raw.heads.length;
    const { statuses } = await talk(server.url, request("GET /rawpaid/x", kSwitch), { until: whole });
    assert.deepEqual(statuses, [402]);
    assert.equal(raw.heads.length, had);
  });
});
