// WebSockets through the gateway, by the client and the server that everybody uses (npm ws): free, paid,
// refused, and how they end.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { WebSocket, WebSocketServer } from "ws";
import { ask, books, decode, sign } from "../rig/src/pay.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";

let chain, upstream, server;

// Echoes what it hears; speaks "chat" if asked, compresses if asked, and refuses /…/refused.
async function startEchoServer() {
  const own = { sockets: [], requests: [] };
  const web = http.createServer((req, res) => res.end("no socket"));
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: { threshold: 0 },
    handleProtocols: (wanted) => (wanted.has("chat") ? "chat" : false),
  });
  web.on("upgrade", (req, socket, head) => {
    own.requests.push(req);
    if (req.url.endsWith("/refused")) {
      socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
      return;
    }
    sockets.handleUpgrade(req, socket, head, (ws) => {
      own.sockets.push(ws);
      ws.on("error", () => {});
      ws.on("message", (data, binary) => (data.toString() === "close, please" ? ws.close(4001, "as you wish") : ws.send(data, { binary })));
    });
  });
  await new Promise((resolve) => web.listen(0, "127.0.0.1", resolve));
  own.url = `http://127.0.0.1:${web.address().port}`;
  own.stop = () =>
    new Promise((resolve) => {
      for (const ws of own.sockets) ws.terminate();
      sockets.close();
      web.close(resolve);
      web.closeAllConnections();
    });
  return own;
}

const kRoutes = `
[[route]]
match = "/free/*"
upstream = "api"
price = "free"
[[route]]
match = "/paid/*"
upstream = "api"
price = "$0.001"
[[route]]
match = "/first/*"
upstream = "api"
price = "$0.001"
settle = "before"
[[route]]
match = "/narrow/*"
upstream = "narrow"
price = "free"
`;
before(async () => {
  chain = await rig.up();
  upstream = await startEchoServer();
  const narrow = `[[upstream]]\nname = "narrow"\nurl = "${upstream.url}"\nmax_in_flight = 1\nmax_waiting = 0\n`;
  server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: "", sections: narrow + kRoutes }));
});
after(async () => {
  await server?.stop();
  await upstream?.stop();
  await chain?.stop();
});

// A client that has opened: {ws, head (of the 101), next() (the next message), ended}.
function open(path, headers = {}, { protocols = [], ...options } = {}) {
  const ws = new WebSocket(server.url.replace("http", "ws") + path, protocols, { headers, ...options });
  const own = { ws, heard: [], waiting: [] };
  own.ended = new Promise((resolve) => ws.once("close", (code, reason) => resolve({ code, reason: reason.toString() })));
  own.next = () => (own.heard.length > 0 ? Promise.resolve(own.heard.shift()) : new Promise((resolve) => own.waiting.push(resolve)));
  ws.on("message", (data, binary) => {
    const message = binary ? data : data.toString();
    if (own.waiting.length > 0) own.waiting.shift()(message);
    else own.heard.push(message);
  });
  ws.on("upgrade", (answer) => (own.head = answer));
  return new Promise((resolve, reject) => {
    ws.once("open", () => resolve(own));
    ws.once("unexpected-response", (request, answer) => {
      let text = "";
      answer.on("data", (data) => (text += data));
      answer.on("end", () => reject(Object.assign(new Error(`${answer.statusCode}`), { status: answer.statusCode, headers: answer.headers, text })));
    });
    ws.once("error", reject);
  });
}
const refused = (path, headers) => open(path, headers).then((own) => assert.fail(`opened: ${own.ws.url}`), (error) => error);
const balance = () => rig.tokenBalance(chain.rpc, "payee");

describe("free", () => {
  test("texts and bytes of every size come back as they were, compressed or not", async () => {
    for (const perMessageDeflate of [false, true]) {
      const { ws, next } = await open("/free/a", {}, { perMessageDeflate });
      assert.equal(ws.extensions.includes("permessage-deflate"), perMessageDeflate);
      for (const text of ["", "a", "\u{1f310} text", "x".repeat(70_000)]) {
        ws.send(text);
        assert.equal(await next(), text);
      }
      for (const size of [1, 125, 126, 65_535, 65_536, 1 << 20, 5 << 20]) {
        const bytes = randomBytes(size);
        ws.send(bytes);
        assert.ok((await next()).equals(bytes), `${size} bytes`);
      }
      ws.close();
    }
  });

  test("pings are answered by the other end, and the subprotocol is the one it chose", async () => {
    const { ws } = await open("/free/a", {}, { protocols: ["news", "chat"] });
    assert.equal(ws.protocol, "chat");
    const pong = new Promise((resolve) => ws.once("pong", (data) => resolve(data.toString())));
    ws.ping("are you there");
    assert.equal(await pong, "are you there");
    ws.close();
  });

  test("a hundred at once do not hear each other", async () => {
    const all = await Promise.all(Array.from({ length: 100 }, () => open("/free/a")));
    for (let round = 0; round < 5; round += 1) {
      all.forEach(({ ws }, n) => ws.send(`${n}:${round}`));
      const heard = await Promise.all(all.map(({ next }) => next()));
      assert.deepEqual(heard, all.map((_, n) => `${n}:${round}`));
    }
    all.forEach(({ ws }) => ws.close());
    await Promise.all(all.map(({ ended }) => ended));
  });

  test("the code and the reason of a close pass on, from both ends", async () => {
    const one = await open("/free/a");
    one.ws.send("close, please");
    assert.deepEqual(await one.ended, { code: 4001, reason: "as you wish" });
    const other = await open("/free/a");
    const theirs = new Promise((resolve) => upstream.sockets.at(-1).once("close", (code, reason) => resolve({ code, reason: reason.toString() })));
    other.ws.close(4002, "good night");
    assert.deepEqual(await theirs, { code: 4002, reason: "good night" });
  });

  test("an end without a close ends the other side too, whichever goes", async () => {
    const one = await open("/free/a");
    const theirs = new Promise((resolve) => upstream.sockets.at(-1).once("close", resolve));
    one.ws.terminate();
    assert.equal(await theirs, 1006);
    const other = await open("/free/a");
    upstream.sockets.at(-1).terminate();
    assert.equal((await other.ended).code, 1006);
  });

  test("a refusal of the upstream is an answer", async () => {
    const { status, text } = await refused("/free/refused");
    assert.deepEqual([status, text], [401, "no"]);
  });

  test("the upstream sees the handshake, and what pays stays here", async () => {
    const { ws } = await open("/free/a?x=1", { "payment-signature": "x", authorization: "Bearer license", "x-own": "kept" });
    const { headers, url } = upstream.requests.at(-1);
    assert.equal(url, "/free/a?x=1");
    assert.deepEqual([headers["payment-signature"], headers.authorization, headers["x-own"]], [undefined, undefined, "kept"]);
    assert.ok(headers["sec-websocket-key"] && headers["sec-websocket-version"] === "13");
    ws.close();
  });
});

describe("paid", () => {
  for (const [path, when] of [["/paid/a", "after the upstream's 101"], ["/first/a", "before the upstream is asked"]]) {
    test(`unpaid is 402 with the offer; paid opens with the receipt, charged once ${when}`, async () => {
      const asked = upstream.requests.length;
      const { status, headers } = await refused(path);
      assert.equal(status, 402);
      assert.equal(decode(headers["payment-required"]).accepts[0].amount, "1000");
      assert.equal(upstream.requests.length, asked);

      const payment = await sign(server.url + path);
      const had = await balance();
      const { ws, head, next, ended } = await open(path, payment);
      assert.equal((await balance()) - had, 1000n, "paid when it opens");
      assert.equal(decode(head.headers["payment-response"]).success, true);
      for (const word of ["one", "two"]) {
        ws.send(word);
        assert.equal(await next(), word);
      }
      assert.ok(upstream.requests.at(-1).headers["idempotency-key"].startsWith("pay_"));
      ws.close(1000);
      assert.equal((await ended).code, 1000);
      await rig.until(async () => (await books(server))[0].delivery === "delivered", { label: "delivered in the books" });

      const again = await refused(path, payment);
      assert.deepEqual([again.status, JSON.parse(again.text).code], [402, "payment_already_used"]);
      assert.equal((await balance()) - had, 1000n);
    });
  }

  test("a handshake that the upstream refuses costs nothing, and the payment is good for another try", async () => {
    const payment = await sign(`${server.url}/paid/refused`);
    const had = await balance();
    assert.equal((await refused("/paid/refused", payment)).status, 401);
    assert.equal(await balance(), had);
    await rig.until(async () => (await books(server))[0].state === "voided", { label: "voided in the books" });
  });

  test("one that is cut off was delivered: no second session for the same money", async () => {
    const payment = await sign(`${server.url}/paid/cut`);
    const { ws } = await open("/paid/cut", payment);
    ws.terminate();
    await rig.until(async () => (await books(server))[0].delivery === "delivered", { label: "delivered in the books" });
    assert.equal((await refused("/paid/cut", payment)).status, 402);
  });
});

test("a socket keeps its place at an upstream with max_in_flight as long as it lasts", async () => {
  const { ws, ended } = await open("/narrow/a");
  assert.equal((await ask(`${server.url}/narrow/a`)).code, "upstream_busy");
  assert.equal((await refused("/narrow/a")).status, 503);
  ws.close();
  await ended;
  await rig.until(async () => (await ask(`${server.url}/narrow/a`)).status === 200, { label: "a place again" });
});

test("a reload does not end it, and SIGTERM waits for it", async () => {
  const { ws, next, ended } = await open("/free/a");
  const reloads = server.events("config.reloaded").length;
  fs.writeFileSync(server.file, fs.readFileSync(server.file, "utf8").replace(`match = "/first/*"`, `match = "/later/*"`));
  await rig.until(() => server.events("config.reloaded").length > reloads, { label: "the reload" });
  ws.send("still here");
  assert.equal(await next(), "still here");
  process.kill(server.pid, "SIGTERM");
  await rig.until(() => server.events("server.draining").length > 0, { label: "draining" });
  ws.send("and here");
  assert.equal(await next(), "and here");
  ws.close();
  await ended;
  assert.equal((await server.exited).code, 0);
});
