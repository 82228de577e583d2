// A gateway without a chain of its own, in front of a facilitator whose answers get lost: the money moves and
// nobody hears of it. Whatever the facilitator says when it is asked again, the buyer is charged once, served
// for it, and never asked to sign anew.
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import * as rig from "../rig/src/rig.mjs";
import { startPontage } from "../rig/src/pontage.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";
import { books, offersOf, payHeader, paymentV1, paymentV2 } from "../rig/src/pay.mjs";

const chain = await rig.up();
after(() => chain.stop());

const kChain = `[chain."${rig.EVM_NETWORK_V1}"]\nrpc = ["${chain.rpc}"]\n`;
const kPayTo = `[x402.pay_to]\n"${rig.EVM_NETWORK_V1}" = "${rig.evmAddress("payee")}"\n`;
const kServer = `[server]\nlisten = "127.0.0.1:0"\nmetrics_listen = "127.0.0.1:0"\n[store]\nurl = "sqlite:pontage.db"\n`;

// Passes everything on, but for the answers that `own.lose` settlements have still to lose. `own.bare`: as a
// facilitator that knows no sales.
async function startLossy(target) {
  const own = { lose: 0, bare: false, settles: 0, keys: new Set() };
  const server = http.createServer(async (req, res) => {
    let body = "";
    for await (const chunk of req) body += chunk;
    const headers = { "content-type": "application/json" };
    for (const name of own.bare ? [] : ["idempotency-key", "prefer"]) {
      if (req.headers[name]) headers[name] = req.headers[name];
    }
    const answer = await fetch(target + req.url, { method: req.method, headers, body: body || undefined });
    const text = await answer.text();
    if (req.url === "/settle") {
      own.settles += 1;
      own.keys.add(req.headers["idempotency-key"]);
      if (own.lose > 0) {
        own.lose -= 1;
        return res.destroy();
      }
    }
    return res.writeHead(answer.status, { "content-type": "application/json" }).end(text);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  own.url = `http://127.0.0.1:${server.address().port}`;
  own.stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return own;
}

describe("a remote facilitator without check_receipts", () => {
  let facilitator, lossy, upstream, gateway;
  let hangs = false; // the upstream takes requests and answers none
  const toml = (more = "", timeout = "30s") => `${kServer}
[x402]
facilitator = "${lossy.url}"
settle_timeout = "${timeout}"
${kPayTo}${more}
[[upstream]]
name = "api"
url = "${upstream.url}"
[[route]]
match = "/paid/*"
price = "$0.001"
`;
  before(async () => {
    facilitator = await startPontage(`${kServer}[facilitator]\n${kPayTo}${kChain}signer = "env:PONTAGE_EVM_KEY"\n`);
    lossy = await startLossy(facilitator.url);
    upstream = await startUpstream((req, res) => hangs || res.end(`{"path":"${req.url}"}`));
    gateway = await startPontage(toml());
  });
  after(async () => {
    await gateway?.stop();
    await upstream?.stop();
    lossy?.stop();
    await facilitator?.stop();
  });

  let n = 0;
  async function buyer(make) {
    n += 1;
    const path = `/paid/${n}`;
    const offers = await offersOf(gateway.url + path);
    const headers = payHeader(await make(offers));
    const had = await rig.tokenBalance(chain.rpc, "payee");
    return {
      ask: async () => {
        const answer = await fetch(gateway.url + path, { headers });
        const text = await answer.text();
        const offer = answer.headers.has("payment-required") || text.includes('"accepts"');
        return { status: answer.status, offer, text, code: /"code": ?"(\w+)"/.exec(text)?.[1] };
      },
      charged: async () => (await rig.tokenBalance(chain.rpc, "payee")) - had,
      row: async () => (await books(gateway)).find((row) => row.resource === path),
    };
  }
  const untilServed = (payment, seen) =>
    rig.until(
      async () => {
        const answer = await payment.ask();
        seen.push(answer);
        return answer.status === 200;
      },
      { withinMs: 20_000, everyMs: 500, label: "served" },
    );

  for (const [version, make] of [[1, paymentV1], [2, paymentV2]]) {
    test(`v${version}: the answer of /settle is lost: charged once, served, never asked to sign anew`, async () => {
      const payment = await buyer(make);
      lossy.bare = false;
      lossy.lose = 1;
      lossy.keys.clear();
      const seen = [await payment.ask()];
      assert.equal(seen[0].status, 503);
      await untilServed(payment, seen);
      assert.deepEqual(seen.filter((one) => one.offer), []);
      assert.equal(await payment.charged(), 1000n);
      assert.equal((await payment.row()).state, "settled");
      assert.deepEqual([...lossy.keys], [(await payment.row()).id], "one name for one sale");
    });

    test(`v${version}: a block comes later than the gateway listens: the same`, async () => {
      const patience = gateway;
      gateway = await startPontage(toml("", "3s"));
      const payment = await buyer(make);
      lossy.bare = false;
      await rig.rpcCall(chain.rpc, "evm_setAutomine", false);
      const first = payment.ask();
      await sleep(6_000);
      await rig.rpcCall(chain.rpc, "evm_setAutomine", true);
      await rig.rpcCall(chain.rpc, "anvil_mine", "0x1");
      const seen = [await first];
      assert.equal(seen[0].status, 503);
      await untilServed(payment, seen);
      assert.deepEqual(seen.filter((one) => one.offer), []);
      assert.equal(await payment.charged(), 1000n);
      await gateway.stop();
      gateway = patience;
    });

    test(`v${version}: a facilitator that says "used" of its own success: in doubt, until an rpc of ours tells`, async () => {
      const payment = await buyer(make);
      lossy.bare = true;
      lossy.lose = 1;
      const had = lossy.settles;
      const seen = [await payment.ask()];
      // Asked again, and again.
      await rig.until(() => lossy.settles >= had + 3, { withinMs: 30_000, everyMs: 200, label: "asked again" });
      seen.push(await payment.ask());
      assert.equal((await payment.row()).state, "in_doubt");
      assert.deepEqual(seen.map((one) => one.code), ["settlement_pending", "settlement_pending"]);
      assert.deepEqual(seen.filter((one) => one.offer), []);
      assert.equal(await payment.charged(), 1000n);
      const { dir } = gateway;
      await gateway.kill();
      gateway = await startPontage(toml(kChain), { dir });
      await untilServed(payment, seen);
      assert.deepEqual(seen.filter((one) => one.offer), []);
      assert.equal(await payment.charged(), 1000n);
      await gateway.kill();
      gateway = await startPontage(toml(), { dir });
    });
  }

  test("killed before the upstream answered: nothing is charged, and the buyer may sign anew", async () => {
    const payment = await buyer(paymentV2);
    const had = lossy.settles;
    hangs = true;
    const broken = payment.ask().catch(() => "broken off");
    await rig.until(() => upstream.count(`/paid/${n}`) === 1, { label: "the upstream works" });
    const { dir } = gateway;
    await gateway.kill();
    assert.equal(await broken, "broken off");
    hangs = false;
    gateway = await startPontage(toml(), { dir });
    await rig.until(async () => (await payment.row()).state === "expired", { label: "given up" });
    assert.equal(lossy.settles, had, "nobody was asked to settle");
    const answer = await payment.ask();
    assert.deepEqual([answer.status, answer.code, answer.offer], [402, "payment_lapsed", true]);
    assert.equal(await payment.charged(), 0n);
  });
});
