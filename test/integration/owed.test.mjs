// What a buyer may cause and must not gain by: one payment buys one answer, whoever breaks what off. And
// what the books owe is given while the chain is silent.
import assert from "node:assert/strict";
import http from "node:http";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import { books, offersOf, payHeader, paymentV2 } from "../rig/src/pay.mjs";
import { receiptOf } from "../rig/src/peers.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kMegabyte = 1 << 20;
const balance = (chain) => rig.tokenBalance(chain.rpc, "payee");
const lines = (headers) => Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
const rowOf = async (server, resource) => (await books(server)).find((row) => row.resource === resource);
// The row once its delivery is written down.
const noted = (server, resource) =>
  rig.until(
    async () => {
      const row = await rowOf(server, resource);
      return row && !["none", "pending", "redeeming"].includes(row.delivery) ? row : undefined;
    },
    { withinMs: 15_000, everyMs: 100, label: `delivery of ${resource}` },
  );
const serve = async (handler) => {
  const server = http.createServer(handler);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    stop: () => {
      server.close();
      server.closeAllConnections();
    },
  };
};

describe("a buyer who breaks off his own request", () => {
  let chain, upstream, server;
  let runs = 0;
  before(async () => {
    chain = await rig.up();
    // Answers the prompt as soon as it stands there, while the rest of the body is still to come.
    upstream = await serve((req, res) => {
      let seen = "";
      req.on("data", (data) => {
        seen = (seen + data.toString("latin1")).slice(-99);
        const prompt = /PROMPT:(\w+);/.exec(seen)?.[1];
        if (!prompt || res.headersSent) return;
        runs += 1;
        res.writeHead(200, { "content-type": "text/event-stream" }).write(`data: answer to ${prompt}\n\n`);
      });
      for (const side of [req, res]) side.on("error", () => {});
    });
    const route = (name, more) => `[[route]]\nmatch = "POST /${name}/*"\nprice = "$0.001"\n${more}\n`;
    const routes = route("before", 'settle = "before"') + route("after", "");
    server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes }));
  });
  after(async () => {
    await server?.stop();
    upstream?.stop();
    await chain?.stop();
  });

  const kEnds = {
    "a chunk that is none": (socket) => socket.write("ZZ\r\n"),
    "the end of the connection's half": (socket) => socket.end(),
  };
  for (const where of ["before", "after"]) {
    for (const [name, breakOff] of Object.entries(kEnds)) {
      test(`${where}, by ${name}: one payment, one answer`, { timeout: 60_000 }, async () => {
        const path = `/${where}/${name.length}`;
        const headers = payHeader(await paymentV2(await offersOf(server.url + path, { method: "POST" })));
        const had = await balance(chain);
        const ran = runs;
        const shot = (prompt) =>
          new Promise((resolve) => {
            const socket = net.connect(Number(new URL(server.url).port), "127.0.0.1");
            let got = "";
            let broken = false;
            socket.on("data", (data) => {
              got += data.toString("latin1");
              if (got.includes("answer to") && !broken) breakOff(socket, (broken = true));
              if (got.includes("does not run again")) socket.destroy();
            });
            socket.on("error", () => {});
            socket.on("close", () => resolve(got));
            setTimeout(() => socket.destroy(), 8_000);
            const chunk = (text) => `${text.length.toString(16)}\r\n${text}\r\n`;
            socket.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n${lines(headers)}\r\n`);
            socket.write(chunk(" ".repeat(kMegabyte)) + chunk(`PROMPT:${prompt};`));
          });
        const first = await shot("first");
        assert.match(first, /^HTTP\/1.1 200 /);
        assert.equal((await noted(server, path)).delivery, "broken");
        for (const prompt of ["second", "third"]) {
          const said = await shot(prompt);
          assert.match(said, /^HTTP\/1.1 402 /, said.slice(0, 200));
          assert.match(said, /longer than 1048576 bytes does not run again/);
        }
        assert.equal(runs - ran, 1);
        assert.equal((await balance(chain)) - had, 1000n);
      });
    }
  }
});

describe("a buyer who takes his answer slowly", () => {
  let chain, upstream, server;
  let runs = 0;
  const kSize = 40 * kMegabyte;
  before(async () => {
    chain = await rig.up();
    // Like nginx's send_timeout: who takes nothing for two seconds is reset.
    upstream = await serve((req, res) => {
      runs += 1;
      res.on("error", () => {});
      res.writeHead(200, { "content-length": kSize }).write(Buffer.alloc(kSize, "x"));
      let last = -1;
      const look = setInterval(() => {
        const now = req.socket.bytesWritten - req.socket.writableLength;
        if (now === last) req.socket.resetAndDestroy();
        last = now;
      }, 2_000);
      res.on("close", () => clearInterval(look));
    });
    const routes = '[[route]]\nmatch = "GET /file"\nprice = "$0.001"\n';
    server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes }));
  });
  after(async () => {
    await server?.stop();
    upstream?.stop();
    await chain?.stop();
  });

  test("until the upstream gives up has a second chance, and no third", { timeout: 90_000 }, async () => {
    const headers = payHeader(await paymentV2(await offersOf(`${server.url}/file`)));
    const had = await balance(chain);
    const shot = () =>
      new Promise((resolve) => {
        const socket = net.connect(Number(new URL(server.url).port), "127.0.0.1");
        let got = 0;
        let head = "";
        socket.on("data", (data) => {
          head ||= data.toString("latin1").split("\r\n")[0];
          got += data.length;
          if (got < 8 * kMegabyte || socket.slow) return;
          socket.slow = true;
          socket.pause();
          setTimeout(() => socket.resume(), 6_000);
        });
        socket.on("error", () => {});
        socket.on("close", () => resolve(head));
        setTimeout(() => socket.destroy(), 20_000);
        socket.write(`GET /file HTTP/1.1\r\nHost: localhost\r\n${lines(headers)}\r\n`);
      });
    for (const [k, delivery] of ["broken", "redeemed"].entries()) {
      assert.match(await shot(), / 200 /, `${k}`);
      assert.equal((await noted(server, "/file")).delivery, delivery);
    }
    assert.match(await shot(), / 402 /);
    assert.equal(runs, 2);
    assert.equal((await balance(chain)) - had, 1000n);
  });
});

describe("an upstream that breaks off in the middle, again and again", () => {
  test("is asked four times for one payment; one that gives nothing, as often as it is asked", { timeout: 60_000 }, async () => {
    const chain = await rig.up();
    let runs = 0;
    let silent = false;
    const upstream = await serve((req, res) => {
      runs += 1;
      if (silent) return req.socket.resetAndDestroy();
      res.writeHead(200, { "content-length": 99 });
      return res.write("part", () => setTimeout(() => req.socket.resetAndDestroy(), 50));
    });
    const routes = '[[route]]\nmatch = "GET /*"\nprice = "$0.001"\nsettle = "before"\n';
    const server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes }));
    try {
      for (const [path, quiet, wanted] of [["/cut", false, 4], ["/quiet", true, 7]]) {
        silent = quiet;
        runs = 0;
        const headers = payHeader(await paymentV2(await offersOf(server.url + path)));
        const had = await balance(chain);
        for (let k = 0; k < 7; k += 1) {
          await fetch(server.url + path, { headers }).then((answer) => answer.text()).catch(() => {});
          await noted(server, path);
        }
        assert.equal(runs, wanted, path);
        assert.equal((await rowOf(server, path)).delivery, quiet ? "owed" : "redeemed");
        assert.equal((await balance(chain)) - had, 1000n);
      }
    } finally {
      await server.stop();
      upstream.stop();
      await chain.stop();
    }
  });
});

describe("a payment that runs out while its request is still on its way", () => {
  test("asks nobody to finish work that cannot be settled any more", { timeout: 90_000 }, async () => {
    const chain = await rig.up();
    const upstream = await startUpstream();
    const server = await startPontage(
      sellerConfig({
        rpc: chain.rpc,
        upstream: upstream.url,
        routes: '[[route]]\nmatch = "POST /work/*"\nprice = "$0.001"\nanswer_timeout = "5s"\n',
        x402: 'settle_timeout = "5s"',
      }),
    );
    try {
      const had = await balance(chain);
      // A body that fits what is kept, and one that is streamed.
      for (const [bytes, drops, want] of [
        [20, 3, /^HTTP\/1.1 402 [^]*payment_expired/],
        [kMegabyte + 20, 13, /^HTTP\/1.1 504 [^]*"code":"timeout"/],
      ]) {
        const path = `/work/${bytes}`;
        const offers = await offersOf(server.url + path, { method: "POST" });
        const auth = { validBefore: String(Math.floor(Date.now() / 1000) + 18) };
        const headers = payHeader(await paymentV2(offers, { auth }));
        const said = await new Promise((resolve) => {
          const socket = net.connect(Number(new URL(server.url).port), "127.0.0.1");
          let got = "";
          socket.on("data", (data) => (got += data));
          socket.on("error", () => {});
          const end = setTimeout(() => socket.destroy(), 40_000);
          let left = drops;
          const drip = setInterval(() => {
            if (left-- > 0) socket.write("y");
          }, 1_300);
          socket.on("close", () => {
            clearInterval(drip);
            clearTimeout(end);
            resolve(got);
          });
          socket.write(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${bytes}\r\n${lines(headers)}\r\n`);
          socket.write("x".repeat(bytes - left));
        });
        assert.match(said, want);
      }
      assert.equal(upstream.requests.length, 0, "a whole request never reached it");
      assert.equal(await balance(chain), had);
    } finally {
      await server.stop();
      await upstream.stop();
      await chain.stop();
    }
  });
});

describe("a chain that is silent", () => {
  test("does not keep back what the books owe, and says of what is in doubt that it is", { timeout: 90_000 }, async () => {
    const chain = await rig.up();
    const node = { away: false };
    const pass = await serve(async (req, res) => {
      let text = "";
      for await (const chunk of req) text += chunk;
      if (node.away || (node.deaf && text.includes("eth_sendRawTransaction"))) return res.destroy();
      const answer = await fetch(chain.rpc, { method: "POST", headers: { "content-type": "application/json" }, body: text });
      return res.end(await answer.text());
    });
    let status = 500;
    const upstream = await startUpstream((_, res) => res.writeHead(status).end("goods"));
    const route = (name, more) => `[[route]]\nmatch = "GET /${name}/*"\nprice = "$0.001"\n${more}\n`;
    const server = await startPontage(
      sellerConfig({
        rpc: pass.url,
        upstream: upstream.url,
        routes: route("before", 'settle = "before"') + route("after", ""),
        x402: 'settle_timeout = "2s"',
      }),
    );
    try {
      const sign = async (path) => paymentV2(await offersOf(server.url + path));
      const ask = async (path, payment) => {
        const answer = await fetch(server.url + path, { headers: payHeader(payment) });
        const text = await answer.text();
        return { status: answer.status, text, receipt: receiptOf(answer) };
      };
      const owed = await sign("/before/1");
      assert.equal((await ask("/before/1", owed)).status, 500);
      assert.equal((await noted(server, "/before/1")).delivery, "owed");
      status = 200;
      node.deaf = true;
      const doubted = await sign("/after/2");
      assert.equal((await ask("/after/2", doubted)).status, 503);
      await rig.until(async () => (await rowOf(server, "/after/2"))?.state === "in_doubt", { label: "in doubt" });
      const fresh = await sign("/after/3");

      node.away = true;
      const pending = await ask("/after/2", doubted);
      assert.equal(pending.status, 503, pending.text);
      assert.equal(pending.receipt?.errorReason, "settlement_pending");
      const signature = `0x${"1b".repeat(65)}`;
      const guessed = { ...owed, payload: { ...owed.payload, signature } };
      for (const [path, payment] of [["/after/3", fresh], ["/before/1", guessed]]) {
        const nothing = await ask(path, payment);
        assert.ok([402, 503].includes(nothing.status), nothing.text);
        assert.ok(!nothing.receipt, "nobody learns anything by guessing");
        assert.notEqual(nothing.text, "goods");
      }
      const given = await ask("/before/1", owed);
      assert.equal(given.status, 200, given.text);
      assert.equal(given.text, "goods");
      assert.equal(given.receipt.success, true);
    } finally {
      await server.stop();
      await upstream.stop();
      pass.stop();
      await chain.stop();
    }
  });
});
