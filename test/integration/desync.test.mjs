// Desync: what a backend sends that two readers could take for two things, and clients that send too much
// or too slowly. Front attacks on the form of a request are in adversarial.test.mjs.
import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { ask, books, payHeader, sign } from "../rig/src/pay.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { request, startRawServer, talk, whole } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";

const kMiB = 1 << 20;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let chain, raw, server;
before(async () => {
  chain = await rig.up();
  raw = await startRawServer();
  const routes = ["free", "paid", "first"].map((name) => `
[[route]]
match = "/${name}/*"
price = "${name === "free" ? "free" : "$0.001"}"
${name === "first" ? `settle = "before"` : ""}`);
  const toml = sellerConfig({ rpc: chain.rpc, upstream: raw.url, routes: routes.join(""), server: "threads = 1" });
  server = await startPontage(toml.replace(`url = "${raw.url}"`, `url = "${raw.url}"\nanswer_timeout = "2s"`));
});
after(async () => {
  await server?.stop();
  await raw?.stop();
  await chain?.stop();
});
const kGood = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nclean";
const rss = () => Number(/VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${server.pid}/status`, "utf8"))[1]) * 1024;

// What every attack leaves: the process lives, and the next request on a connection of its own gets its own
// answer and nobody else's.
async function stillClean(label) {
  raw.onRequest = (socket) => socket.write(kGood);
  for (let n = 0; n < 3; n += 1) {
    const { status, text } = await ask(`${server.url}/free/after`);
    assert.deepEqual([status, text], [200, "clean"], label);
  }
}
const balance = () => rig.tokenBalance(chain.rpc, "payee");

describe("a backend's answer that can be read in two ways is none", () => {
  const kHead = "HTTP/1.1 200 OK\r\n";
  // Refused by its head: 502, whoever asks, and nobody pays.
  const kHeads = {
    "two Content-Lengths": `${kHead}Content-Length: 3\r\nContent-Length: 40\r\n\r\nabc`,
    "Content-Length and Transfer-Encoding": `${kHead}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    "Transfer-Encoding and Content-Length": `${kHead}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n`,
    "a list of Content-Lengths": `${kHead}Content-Length: 3, 4\r\n\r\nabc`,
    "a signed Content-Length": `${kHead}Content-Length: +3\r\n\r\nabc`,
    "a negative Content-Length": `${kHead}Content-Length: -3\r\n\r\nabc`,
    "a hexadecimal Content-Length": `${kHead}Content-Length: 0x3\r\n\r\nabc`,
    "an endless Content-Length": `${kHead}Content-Length: 99999999999999999999999\r\n\r\nabc`,
    "a coding nobody knows": `${kHead}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    "chunked and then another coding": `${kHead}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
    "chunked twice": `${kHead}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    "a space before the colon": `${kHead}Content-Length : 3\r\n\r\nabc`,
    "a folded header": `${kHead}X-A: 1\r\n two\r\nContent-Length: 3\r\n\r\nabc`,
    "a bare line feed": "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
    "a NUL in a header": `${kHead}X-A: \0\r\nContent-Length: 3\r\n\r\nabc`,
    "a carriage return in a header": `${kHead}X-A: a\rX-B: b\r\nContent-Length: 3\r\n\r\nabc`,
    "a header without a name": `${kHead}: x\r\nContent-Length: 3\r\n\r\nabc`,
    "a header without a colon": `${kHead}X-A\r\nContent-Length: 3\r\n\r\nabc`,
    "another version": "HTTP/2.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "another protocol": "ICY 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    "a status of two digits": "HTTP/1.1 99 OK\r\nContent-Length: 3\r\n\r\nabc",
    "a status of four digits": "HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\nabc",
    "a status that is no number": "HTTP/1.1 abc OK\r\nContent-Length: 3\r\n\r\nabc",
    "no head at all": "abc\r\n\r\n",
    "a protocol switch that nobody asked for": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "a first chunk size beside the head that is no number": `${kHead}Transfer-Encoding: chunked\r\n\r\nZZ\r\n`,
    "a first chunk size beside the head of 2^64": `${kHead}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n`,
    "a head of 40 KiB, which HTTP/2 could not pass on with ours": `${kHead}${`X-A: ${"~".repeat(8_000)}\r\n`.repeat(5)}Content-Length: 3\r\n\r\nabc`,
    "a flood of interim answers": "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000) + kGood,
    "a flood of early hints": "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000) + kGood,
    "a header of 100 KiB": `${kHead}X-A: ${"a".repeat(100_000)}\r\nContent-Length: 3\r\n\r\nabc`,
    "a thousand headers": `${kHead}${"X-A: 1\r\n".repeat(1000)}Content-Length: 3\r\n\r\nabc`,
    "a status line of 100 KiB": `HTTP/1.1 200 ${"O".repeat(100_000)}K\r\nContent-Length: 3\r\n\r\nabc`,
  };
  for (const [name, bytes] of Object.entries(kHeads)) {
    test(`refused as 502: ${name}`, async () => {
      const payment = await sign(`${server.url}/paid/x`);
      raw.onRequest = (socket) => socket.write(bytes, "latin1");
      const had = await balance();
      for (const [path, headers] of [["/free/x", {}], ["/paid/x", payment]]) {
        const { status, code, text } = await ask(server.url + path, headers);
        assert.deepEqual([status, code], [502, "upstream_protocol"], `${path}: ${text.slice(0, 200)}`);
      }
      assert.equal(await balance(), had);
      await rig.until(async () => (await books(server))[0].state === "voided", { label: "voided in the books" });
      await stillClean(name);
    });
  }

  // Refused in its body: a paid call is 502 and charged nothing; a free one is broken off, never short.
  const kChunked = `${kHead}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`;
  const kBodies = {
    "a chunk size that is no number": `${kChunked}xyz\r\n`,
    "a chunk size with a sign": `${kChunked}+3\r\nabc\r\n0\r\n\r\n`,
    "a chunk size with 0x": `${kChunked}0x3\r\nabc\r\n0\r\n\r\n`,
    "an endless chunk size": `${kChunked}fffffffffffffffff\r\nabc\r\n0\r\n\r\n`,
    "a chunk extension": `${kChunked}3;a=b\r\nabc\r\n0\r\n\r\n`,
    "a chunk longer than it said": `${kChunked}2\r\nabc\r\n0\r\n\r\n`,
    "a chunk ended by a line feed": `${kChunked}3\nabc\n0\n\n`,
    "a chunk line without end": `${kChunked}${"0".repeat(10_000)}`,
    "trailers without end": `${kChunked}0\r\n${"X-A: 1\r\n".repeat(10_000)}\r\n`,
    "a trailer with a NUL": `${kChunked}0\r\nX-A: \0\r\n\r\n`,
  };
  for (const [name, bytes] of Object.entries(kBodies)) {
    test(`broken off, and charged to nobody: ${name}`, async () => {
      const payment = await sign(`${server.url}/paid/x`);
      raw.onRequest = (socket) => socket.write(bytes, "latin1");
      const had = await balance();
      const free = await talk(server.url, request("GET /free/x"), { withinMs: 6_000 });
      assert.deepEqual(free.statuses, [200]);
      assert.ok(free.closed, "broken off");
      assert.doesNotMatch(free.text, /\r\n0\r\n\r\n$/);
      const { status, code } = await ask(`${server.url}/paid/x`, payment);
      assert.deepEqual([status, code], [502, "upstream_protocol"]);
      assert.equal(await balance(), had);
      await stillClean(name);
    });
  }

  test("with settle = \"before\" such an answer leaves the sale owed, and the same payment gets the goods", async () => {
    const payment = await sign(`${server.url}/first/x`);
    raw.onRequest = (socket) => socket.write(kHeads["Content-Length and Transfer-Encoding"]);
    const had = await balance();
    assert.equal((await ask(`${server.url}/first/x`, payment)).status, 502);
    raw.onRequest = (socket) => socket.write(kGood);
    const { status, text } = await ask(`${server.url}/first/x`, payment);
    assert.deepEqual([status, text], [200, "clean"]);
    assert.equal((await balance()) - had, 1000n);
  });
});

describe("a backend that says more than it was asked", () => {
  const kSecond = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";

  const kMore = {
    "a second answer at once": (socket) => socket.write(kGood + kSecond),
    "a second answer a moment later": (socket) => {
      socket.write(kGood);
      setTimeout(() => socket.write(kSecond), 60);
    },
    "bytes behind the body": (socket) => socket.write(`${kGood}garbage`),
    "a body for 204": (socket) => socket.write("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
    "a length and a body for 304": (socket) => socket.write("HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison"),
    "bytes behind the last chunk": (socket) => socket.write(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nclean\r\n0\r\n\r\n${kSecond}`),
  };
  for (const [name, answer] of Object.entries(kMore)) {
    test(`nobody's next request hears it: ${name}`, async () => {
      raw.onRequest = answer;
      const first = await ask(`${server.url}/free/x`);
      assert.ok([200, 204, 304].includes(first.status));
      assert.ok(!first.text.includes("poison") && !first.text.includes("garbage"), first.text);
      await sleep(150);
      await stillClean(name);
    });
  }

  test("nobody's next request hears it: a body for HEAD", async () => {
    raw.onRequest = (socket) => socket.write(`${kGood}${kSecond}`);
    assert.equal((await ask(`${server.url}/free/x`, {}, { method: "HEAD" })).status, 200);
    await sleep(50);
    await stillClean("HEAD");
  });

  test("nor does a paid one, and its buyer gets what he paid for", async () => {
    const payment = await sign(`${server.url}/paid/x`);
    raw.onRequest = (socket) => socket.write(kGood + kSecond);
    const { status, text } = await ask(`${server.url}/paid/x`, payment);
    assert.deepEqual([status, text], [200, "clean"]);
    await stillClean("paid");
  });

  test("an answer before the request has ended: the rest of the request is nobody's next request", async () => {
    const inner = request("GET /free/smuggled");
    raw.heads.length = 0;
    raw.onRequest = (socket, head) => {
      if (head.startsWith("POST")) socket.write(kGood);
      else socket.write(kSecond);
    };
    const socket = net.connect(Number(new URL(server.url).port), "127.0.0.1");
    let text = "";
    socket.on("data", (data) => (text += data));
    socket.on("error", () => {});
    socket.write(request("POST /free/x", [`Content-Length: ${inner.length + 10}`], "0123456789"));
    await rig.until(() => text.includes("clean"), { label: "the early answer" });
    // What follows belongs to the body, whatever it looks like.
    socket.write(inner);
    await sleep(200);
    assert.ok(!text.includes("poison"), text);
    socket.destroy();
    await stillClean("early answer");
  });

  test("a connection that was closed in the middle of an answer is not used again", async () => {
    raw.onRequest = (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
    const heard = await talk(server.url, request("GET /free/x"), { withinMs: 5_000 });
    assert.ok(heard.closed);
    await stillClean("cut");
  });

  test("a head drip-fed for longer than answer_timeout is 504", async () => {
    let drip;
    raw.onRequest = (socket) => {
      socket.write("HTTP/1.1 200 OK\r\nX-A: ");
      drip = setInterval(() => socket.write("a"), 100);
    };
    const begun = Date.now();
    const { status, code } = await ask(`${server.url}/free/x`, {}, { method: "POST" });
    clearInterval(drip);
    assert.deepEqual([status, code], [504, "upstream_timeout"]);
    assert.ok(Date.now() - begun < 4_000);
    await stillClean("drip");
  });
});

describe("clients that send too much or too slowly", () => {
  test("slowloris: five hundred half heads hold nobody up, and are told to go", { timeout: 60_000 }, async () => {
    raw.onRequest = (socket) => socket.write(kGood);
    const { port } = new URL(server.url);
    let over = 0;
    let told = 0;
    const sockets = Array.from({ length: 500 }, () => {
      const socket = net.connect(Number(port), "127.0.0.1");
      socket.on("error", () => {});
      socket.on("data", (data) => (told += data.toString().startsWith("HTTP/1.1 408 ") ? 1 : 0));
      socket.on("close", () => (over += 1));
      socket.write("GET /free/x HTTP/1.1\r\nHost: x\r\nX-A: ");
      return socket;
    });
    const drip = setInterval(() => sockets.forEach((socket) => !socket.destroyed && socket.write("a")), 1_000);
    await sleep(500);
    const begun = Date.now();
    const all = await Promise.all(Array.from({ length: 50 }, () => ask(`${server.url}/free/x`)));
    assert.ok(all.every(({ status }) => status === 200));
    assert.ok(Date.now() - begun < 3_000, `${Date.now() - begun} ms`);
    await rig.until(() => over === 500, { withinMs: 30_000, label: "all of them gone" });
    clearInterval(drip);
    assert.equal(told, 500);
    await stillClean("slowloris");
  });

  test("body bomb: an unpaid gigabyte is neither read nor passed on", async () => {
    raw.heads.length = 0;
    const before = rss();
    const socket = net.connect(Number(new URL(server.url).port), "127.0.0.1");
    let text = "";
    let closed = false;
    socket.on("data", (data) => (text += data));
    socket.on("error", () => {});
    socket.on("close", () => (closed = true));
    socket.write(request("POST /paid/x", ["Content-Length: 1073741824"]));
    const chunk = Buffer.alloc(kMiB, "x");
    for (let n = 0; n < 64 && !closed; n += 1) {
      if (!socket.write(chunk)) await Promise.race([new Promise((resolve) => socket.once("drain", resolve)), sleep(500)]);
    }
    await rig.until(() => closed, { withinMs: 10_000, label: "the end of the connection" });
    assert.match(text, /^HTTP\/1\.1 402 /);
    assert.equal(raw.heads.length, 0);
    assert.ok(rss() - before < 16 * kMiB, `${(rss() - before) / kMiB} MiB`);
  });

  test("body bomb: a paid request's endless body is held to a megabyte and streamed on, and ends with its upstream", async () => {
    const before = rss();
    // It takes the head and reads nothing more.
    raw.onRequest = (socket) => socket.removeAllListeners("data").pause();
    const payment = await sign(`${server.url}/paid/x`, undefined, { method: "POST" });
    const headers = Object.entries(payment).map(([name, value]) => `${name}: ${value}`);
    const socket = net.connect(Number(new URL(server.url).port), "127.0.0.1");
    let text = "";
    let closed = false;
    socket.on("data", (data) => (text += data));
    socket.on("error", () => {});
    socket.on("close", () => (closed = true));
    const had = await balance();
    socket.write(request("POST /paid/x", ["Transfer-Encoding: chunked", ...headers]));
    const chunk = Buffer.concat([Buffer.from(`${kMiB.toString(16)}\r\n`), Buffer.alloc(kMiB, "x"), Buffer.from("\r\n")]);
    let stuck = false;
    for (let n = 0; n < 64 && !stuck && !closed && !text; n += 1) {
      if (socket.write(chunk)) continue;
      stuck = await Promise.race([new Promise((resolve) => socket.once("drain", () => resolve(false))), sleep(500).then(() => true)]);
    }
    assert.ok(stuck, "who does not read holds the client back");
    assert.ok(rss() - before < 32 * kMiB, `${(rss() - before) / kMiB} MiB`);
    raw.sockets.forEach((one) => one.destroy());
    await rig.until(() => text || closed, { withinMs: 10_000, label: "an answer" });
    socket.destroy();
    assert.equal(await balance(), had);
    await stillClean("paid bomb");
  });

  test("header bomb: a payment header of 20 KiB is refused as a payment, one of 70 KiB as a head", async () => {
    const long = await ask(`${server.url}/paid/x`, payHeader("A".repeat(20_000), 2));
    assert.deepEqual([long.status, long.code], [402, "payment_malformed"]);
    const bomb = await talk(server.url, request("GET /paid/x", [`PAYMENT-SIGNATURE: ${"A".repeat(70_000)}`]));
    assert.deepEqual(bomb.statuses, [431]);
    await stillClean("header bomb");
  });

  test("pipelined requests without end are answered in turn, in bounded memory", async () => {
    raw.onRequest = (socket) => socket.write(kGood);
    const before = rss();
    const socket = net.connect(Number(new URL(server.url).port), "127.0.0.1");
    let answers = 0;
    let rest = "";
    socket.on("data", (data) => {
      rest += data.toString("latin1");
      const parts = rest.split("clean");
      answers += parts.length - 1;
      rest = parts.at(-1);
    });
    const many = request("GET /free/x").repeat(1000);
    for (let n = 0; n < 5; n += 1) socket.write(many);
    await rig.until(() => answers === 5000, { withinMs: 20_000, label: "five thousand answers" });
    socket.destroy();
    assert.ok(rss() - before < 16 * kMiB);
  });
});
