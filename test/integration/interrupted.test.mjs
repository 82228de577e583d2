// A process that dies in the middle of a sale, a client that breaks off: nobody is charged twice, and whoever paid
// gets what he paid for.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { books, offersOf, payHeader, paymentV1, paymentV2 } from "../rig/src/pay.mjs";
import { receiptOf } from "../rig/src/peers.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { request, talk, whole } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

let chain;
before(async () => {
  chain = await rig.up();
});
after(() => chain?.stop());

const balance = () => rig.tokenBalance(chain.rpc, "payee");
const kRoutes = `
[[route]]
match = "GET /paid/*"
price = "$0.001"
`;

describe("a process that dies", () => {
  let upstream, dir, server;
  const gate = { wait: undefined };
  const config = () =>
    sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, x402: 'settle_timeout = "5s"' });
  before(async () => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-crash-"));
    upstream = await startUpstream(async (req, res) => {
      await gate.wait;
      res.setHeader("content-type", "application/json").end(JSON.stringify({ key: req.headers["idempotency-key"] }));
    });
    server = await startPontage(config(), { dir });
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
    fs.rmSync(dir, { recursive: true, force: true });
  });

  const rowOf = async (resource) => (await books(server)).find((row) => row.resource === resource);
  const closed = (resource) =>
    rig.until(
      async () => {
        const row = await rowOf(resource);
        return row && ["settled", "expired", "voided"].includes(row.state) ? row : undefined;
      },
      { withinMs: 40_000, everyMs: 250, label: `closed: ${resource}` },
    );

  test("while the upstream works: nobody is charged, and the payment lapses", { timeout: 60_000 }, async () => {
    const url = `${server.url}/paid/slow`;
    const headers = payHeader(await paymentV2(await offersOf(url)));
    const had = await balance();
    let open;
    gate.wait = new Promise((resolve) => (open = resolve));
    const ran = upstream.requests.length;
    const lost = fetch(url, { headers }).catch((error) => error);
    await rig.until(() => upstream.requests.length > ran, { label: "the upstream works" });
    await server.kill();
    assert.ok((await lost) instanceof Error);
    open();
    gate.wait = undefined;
    server = await startPontage(config(), { dir });
    const row = await closed("/paid/slow");
    assert.equal(row.state, "expired", "its buyer got nothing and pays nothing");
    assert.equal(await balance(), had);
    const again = await fetch(`${server.url}/paid/slow`, { headers });
    assert.equal(again.status, 402);
    assert.ok(again.headers.has("payment-required"), "he may sign a new one");
    assert.equal((await again.json()).code, "payment_lapsed");
    assert.equal(await balance(), had);
  });

  test("between the upstream's answer and the settlement: settled, owed, redeemed once", { timeout: 90_000 }, async () => {
    // No block comes, so settling waits for its receipt.
    await rig.rpcCall(chain.rpc, "evm_setAutomine", false);
    const had = await balance();
    const url = `${server.url}/paid/unsettled`;
    const headers = payHeader(await paymentV2(await offersOf(url)));
    const ran = upstream.requests.length;
    const lost = fetch(url, { headers }).catch((error) => error);
    await rig.until(async () => (await rowOf("/paid/unsettled"))?.stage === "answered", { label: "answered" });
    await server.kill();
    await lost;
    const key = upstream.requests.at(-1).headers["idempotency-key"];
    await rig.rpcCall(chain.rpc, "evm_setAutomine", true);
    await rig.rpcCall(chain.rpc, "anvil_mine", "0x1");
    server = await startPontage(config(), { dir });
    const row = await closed("/paid/unsettled");
    assert.equal(row.state, "settled");
    assert.equal(row.delivery, "owed");
    assert.equal((await balance()) - had, 1000n, "charged once");
    assert.equal(upstream.requests.length - ran, 1);
    const other = await fetch(`${server.url}/paid/other`, { headers });
    assert.equal(other.status, 402, "owed to the same request only");
    const answers = await Promise.all(Array.from({ length: 10 }, () => fetch(`${server.url}/paid/unsettled`, { headers })));
    const served = answers.filter((answer) => answer.status === 200);
    assert.equal(served.length, 1);
    assert.equal((await served[0].json()).key, key, "the same idempotency key");
    assert.equal(receiptOf(served[0]).transaction, row.transaction);
    assert.equal(upstream.requests.length - ran, 2);
    assert.equal((await balance()) - had, 1000n, "not charged again");
    await rig.until(async () => (await rowOf("/paid/unsettled")).delivery !== "redeeming", { label: "noted" });
    const after = await fetch(`${server.url}/paid/unsettled`, { headers });
    assert.equal(after.status, 402);
    assert.equal((await after.json()).code, "payment_already_used");
  });

  test("under load: every payment is charged at most once and served or owed", { timeout: 90_000 }, async () => {
    const had = await balance();
    const payments = [];
    const offers = await offersOf(`${server.url}/paid/load`);
    for (let k = 0; k < 30; k += 1) payments.push(payHeader(await paymentV1(offers)));
    const got = payments.map(() => false);
    const ask = (k) =>
      fetch(`${server.url}/paid/load`, { headers: payments[k] })
        .then(async (answer) => {
          await answer.text();
          if (answer.status === 200) got[k] = true;
          return answer.status;
        })
        .catch(() => 0);
    const asked = payments.map((_, k) => ask(k));
    await Promise.race(asked); // Somebody has his answer: the others are at every stage.
    await server.kill();
    await Promise.all(asked);
    server = await startPontage(config(), { dir });
    await rig.until(
      async () => {
        const rows = (await books(server, "--limit", "1000")).filter((row) => row.resource === "/paid/load");
        return rows.every((row) => ["settled", "expired", "voided"].includes(row.state));
      },
      { withinMs: 40_000, everyMs: 500, label: "all closed" },
    );
    const statuses = await Promise.all(payments.map((_, k) => (got[k] ? 200 : ask(k))));
    const rows = (await books(server, "--limit", "1000")).filter((row) => row.resource === "/paid/load");
    const settled = rows.filter((row) => row.state === "settled");
    assert.equal((await balance()) - had, BigInt(settled.length) * 1000n, "the books are the chain's");
    // Whoever was charged holds his goods; the others were told to sign anew and paid nothing.
    for (const [k, status] of statuses.entries()) {
      assert.ok(status === 200 || status === 402, `${k}: ${status}`);
    }
    assert.equal(statuses.filter((status) => status === 200).length, settled.length);
  });
});

describe("a client that breaks off", () => {
  let upstream, server;
  const kPiece = Buffer.alloc(64 << 10, "x");
  before(async () => {
    upstream = await startUpstream(async (req, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      if (req.url.includes("short")) return res.end("data: 1\n\n");
      for (let k = 0; k < 200 && !res.destroyed; k += 1) {
        if (!res.write(kPiece)) await Promise.race([new Promise((r) => res.once("drain", r)), new Promise((r) => res.once("close", r))]);
      }
      return res.end();
    });
    server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes }));
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
  });

  test("in the middle of its answer is redeemed once, and never again", { timeout: 60_000 }, async () => {
    const url = `${server.url}/paid/long`;
    const headers = payHeader(await paymentV2(await offersOf(url)));
    const had = await balance();
    const raw = request("GET /paid/long", Object.entries(headers).map(([name, value]) => `${name}: ${value}`));
    const rowOf = async () => (await books(server)).find((row) => row.resource === "/paid/long");
    const first = await talk(server.url, raw, { until: (text) => text.length > 100_000, withinMs: 10_000 });
    assert.deepEqual(first.statuses, [200]);
    await rig.until(async () => (await rowOf()).delivery === "broken", { label: "broken is written down" });
    assert.equal((await balance()) - had, 1000n);
    const second = await fetch(url, { headers });
    assert.equal(second.status, 200);
    assert.equal((await second.arrayBuffer()).byteLength, 200 * kPiece.length);
    assert.equal(receiptOf(second).success, true);
    await rig.until(async () => ["delivered", "redeemed"].includes((await rowOf()).delivery), { label: "closed" });
    const third = await fetch(url, { headers });
    assert.equal(third.status, 402);
    assert.equal((await third.json()).code, "payment_already_used");
    assert.equal((await balance()) - had, 1000n);
    assert.equal(upstream.count("/paid/long"), 2);
  });

  test("twice has had his second chance", { timeout: 60_000 }, async () => {
    const url = `${server.url}/paid/twice`;
    const headers = payHeader(await paymentV2(await offersOf(url)));
    const raw = request("GET /paid/twice", Object.entries(headers).map(([name, value]) => `${name}: ${value}`));
    const rowOf = async () => (await books(server)).find((row) => row.resource === "/paid/twice");
    for (const delivery of ["broken", "redeemed"]) {
      const heard = await talk(server.url, raw, { until: (text) => text.length > 100_000, withinMs: 10_000 });
      assert.deepEqual(heard.statuses, [200]);
      await rig.until(async () => (await rowOf()).delivery === delivery, { label: delivery });
    }
    const third = await fetch(url, { headers });
    assert.equal(third.status, 402);
    await third.text();
    assert.equal(upstream.count("/paid/twice"), 2);
  });

  test("before its answer: charged once, and the answer is owed or redeemable once", { timeout: 60_000 }, async () => {
    const url = `${server.url}/paid/short`;
    const headers = payHeader(await paymentV2(await offersOf(url)));
    const had = await balance();
    const raw = request("GET /paid/short", Object.entries(headers).map(([name, value]) => `${name}: ${value}`));
    await talk(server.url, raw, { cut: true });
    const rowOf = async () => (await books(server)).find((row) => row.resource === "/paid/short");
    const row = await rig.until(
      async () => {
        const now = await rowOf();
        return now && !["held", "in_doubt"].includes(now.state) && now.delivery !== "pending" ? now : undefined;
      },
      { label: "closed" },
    );
    const charged = (await balance()) - had;
    assert.equal(charged, row.state === "settled" ? 1000n : 0n);
    const again = await talk(server.url, raw, { until: whole, withinMs: 5_000 });
    assert.equal((await balance()) - had, 1000n, `never twice (${row.state} ${row.delivery}) ${again.text}`);
    assert.ok(again.statuses[0] === 200 || row.delivery === "delivered", `${row.delivery}: ${again.text.slice(0, 200)}`);
  });
});
