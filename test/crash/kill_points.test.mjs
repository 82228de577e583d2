// kill -9 at every step of a paid call, by points that only the sanitizers' build has (base/fault.h). Started
// again, the same payment is shown until there is an end; then the books, the chain, the upstream and what the
// buyer holds must agree.
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before, describe, test } from "node:test";
import { ask, books, payHeader, paymentV2, offersOf } from "../rig/src/pay.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoutes = `
[[route]]
match = "/after/*"
price = "$0.001"
[[route]]
match = "/before/*"
price = "$0.001"
settle = "before"
`;
const kPrice = 1000n;

// What a kill at a point of that order leaves: how it ends for the buyer, and how often the upstream ran.
// unused: nothing was written, the payment is as good as new. lapsed: nobody was charged, he signs anew.
// owed: settled by the restarted process on its own, before he asks; then served, uncharged.
const kPoints = {
  after: {
    verified: { end: "unused", runs: 1 },
    reserved: { end: "lapsed", runs: 0 },
    upstream_head: { end: "lapsed", runs: 1 },
    upstream_body: { end: "lapsed", runs: 1 },
    answered: { end: "owed", runs: 2 },
    tx_unsigned: { end: "owed", runs: 2 },
    tx_stored: { end: "owed", runs: 2 },
    tx_sent: { end: "owed", runs: 2 },
    tx_mined: { end: "owed", runs: 2 },
    tx_proved: { end: "owed", runs: 2 },
    tx_finished: { end: "owed", runs: 2 },
    settled: { end: "owed", runs: 2 },
    committed: { end: "owed", runs: 2 },
    // He had his answer, and the books do not know: a crash errs towards the buyer.
    delivered: { end: "owed", runs: 2 },
  },
  before: {
    verified: { end: "unused", runs: 1 },
    reserved: { end: "lapsed", runs: 0 },
    answered: { end: "owed", runs: 1 },
    tx_unsigned: { end: "owed", runs: 1 },
    tx_stored: { end: "owed", runs: 1 },
    tx_sent: { end: "owed", runs: 1 },
    tx_mined: { end: "owed", runs: 1 },
    tx_proved: { end: "owed", runs: 1 },
    tx_finished: { end: "owed", runs: 1 },
    settled: { end: "owed", runs: 1 },
    committed: { end: "owed", runs: 1 },
    upstream_head: { end: "owed", runs: 2 },
    delivered: { end: "owed", runs: 2 },
  },
};

let chain, upstream;
before(async () => {
  chain = await rig.up();
  upstream = await startUpstream();
});
after(async () => {
  await upstream?.stop();
  await chain?.stop();
});

const balance = () => rig.tokenBalance(chain.rpc, "payee");

for (const [order, points] of Object.entries(kPoints)) {
  describe(`settle = "${order}": killed`, () => {
    for (const [point, want] of Object.entries(points)) {
      test(`at ${point}: ${want.end}`, { timeout: 120_000 }, () => dies(order, point, want));
    }
  });
}

async function dies(order, point, want) {
  // The port is another one after the restart; what was sold is not.
  const server = 'public_url = "https://shop.example"';
  const toml = sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, server });
  const resource = `/${order}/${point}`;
  const had = await balance();
  const ran = upstream.requests.length;
  const first = await startPontage(toml, { env: { PTG_KILL_AT: point } });
  let second;
  try {
    const headers = payHeader(await paymentV2(await offersOf(first.url + resource)));
    const answer = await ask(first.url + resource, headers).catch((error) => error);
    const how = await first.exited;
    assert.equal(how.signal, "SIGKILL", `it never came by ${point}: ${JSON.stringify(answer)}`);
    const served = answer.status === 200;
    assert.ok(served ? point === "delivered" : answer instanceof Error, JSON.stringify(answer));

    second = await startPontage(toml, { dir: first.dir });
    if (want.end === "owed") {
      // Settled without anybody asking: what a kill leaves is finished, not thrown away.
      await rig.until(async () => (await balance()) > had, { withinMs: 40_000, everyMs: 200, label: "the money moves" });
    }
    const last = await shown(second.url + resource, headers);
    const gained = (await balance()) - had;
    if (want.end === "lapsed") {
      assert.equal(last.code, "payment_lapsed");
      assert.equal(gained, 0n);
    } else {
      assert.equal(last.status, 200, last.text);
      assert.equal(gained, kPrice, "charged once");
    }
    assert.equal(upstream.requests.length - ran, want.runs);
    const [row] = (await books(second)).filter((one) => one.resource === resource);
    assert.equal(row.state, want.end === "lapsed" ? "expired" : "settled");
    if (want.end === "lapsed") return;
    await rig.until(async () => (await books(second))[0].delivery === "delivered", { label: "delivered in the books" });
    const again = await ask(second.url + resource, headers);
    assert.deepEqual([again.status, again.code], [402, "payment_already_used"]);
    assert.equal((await balance()) - had, kPrice);
  } finally {
    await first.kill();
    await second?.stop();
    fs.rmSync(first.dir, { recursive: true, force: true });
  }
}

// The same payment again and again until the answer is an end.
async function shown(url, headers) {
  let last;
  await rig.until(
    async () => {
      last = await ask(url, headers);
      return last.status !== 409 && last.status !== 503;
    },
    { withinMs: 60_000, everyMs: 200, label: `an end for ${url}` },
  );
  return last;
}
