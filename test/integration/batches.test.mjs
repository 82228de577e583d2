// Payments that queue up share a transaction: on a real chain, through the running gateway and the running
// facilitator. Each has its own proof and its own line in the books, and a crash loses none of them.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ask, books, settleRequest, sign } from "../rig/src/pay.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoutes = '[[route]]\nmatch = "GET /paid/*"\nprice = "$0.001"\n';
const kOwnKey = { PONTAGE_EVM_KEY: rig.evmKey("mallory") };
const times = (n, make) => Promise.all(Array.from({ length: n }, (_, i) => make(i)));

describe("payments that share a transaction", () => {
  let chain, upstream, server;
  before(async () => {
    chain = await rig.up();
    // A key of their own for the processes beside the first one: they share no database with it.
    await rig.fund(chain.rpc, { eth: { mallory: "10" } });
    upstream = await startUpstream();
    server = await startPontage(config());
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
    await chain?.stop();
  });
  const config = (more = {}) => sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, ...more });
  const balance = () => rig.tokenBalance(chain.rpc, "payee");
  const mining = async (on) => {
    await rig.rpcCall(chain.rpc, "evm_setAutomine", on);
    if (on) await rig.rpcCall(chain.rpc, "anvil_mine", "0x1");
  };
  const pooled = async () => Number((await rig.rpcCall(chain.rpc, "txpool_status")).pending);
  const explain = async (at, name) => {
    const done = await run(["explain", "--json", "--config", at.file, name], {
      cwd: at.dir,
      env: { PONTAGE_EVM_KEY: rig.evmKey("facilitator") },
    });
    assert.equal(done.code, 0, done.stderr);
    return JSON.parse(done.stdout).payments;
  };

  test("a lone payment goes alone", async () => {
    const answer = await ask(`${server.url}/paid/lone`, await sign(`${server.url}/paid/lone`));
    assert.equal(answer.status, 200, answer.text);
    const [row] = await explain(server, answer.receipt.transaction);
    assert.equal(row.transactions[0].payments, 1);
  });

  // One payer, one payee, one amount.
  test("what queues up is served, charged once each, and cheaper", async () => {
    const count = 40;
    const headers = await times(count, (i) => sign(`${server.url}/paid/q${i}`));
    const had = await balance();
    await mining(false);
    const answers = times(count, (i) => ask(`${server.url}/paid/q${i}`, headers[i]));
    await rig.until(async () => (await pooled()) > 0 && upstream.requests.length >= count, { label: "sent" });
    await new Promise((resolve) => setTimeout(resolve, 500));
    await mining(true);
    const said = await answers;
    assert.deepEqual([...new Set(said.map((answer) => answer.status))], [200]);
    assert.equal((await balance()) - had, BigInt(count) * 1000n);
    const hashes = new Set(said.map((answer) => answer.receipt.transaction));
    assert.ok(hashes.size <= 17, `${hashes.size} transactions`);
    const rows = (await books(server, "--limit", "1000")).filter((row) => row.resource.startsWith("/paid/q"));
    assert.deepEqual([...new Set(rows.map((row) => `${row.state} ${row.delivery}`))], ["settled delivered"]);
    let together = 0;
    for (const hash of hashes) {
      const told = await explain(server, hash);
      for (const row of told) assert.equal(row.transactions.at(-1).payments, told.length);
      together = Math.max(together, told.length);
    }
    assert.ok(together >= 5, `at most ${together} together`);
  });

  test("a member that the token refuses is told so, and the others are settled", async () => {
    // poor has 10 units more than two payments: each of hers is good by itself, not all.
    await rig.fund(chain.rpc, { mint: { poor: 2_000n } });
    const bodies = await times(12, (i) => settleRequest(rig.evmAccount(i < 6 ? "poor" : "buyer")));
    const alone = await startPontage(config({ routes: "" }), { args: ["--role", "facilitator"], env: kOwnKey });
    try {
      const had = await balance();
      const settle = async (body) => {
        const answer = await fetch(`${alone.url}/settle`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify(body),
        });
        return answer.json();
      };
      await mining(false);
      const answers = Promise.all(bodies.map(settle));
      await rig.until(async () => (await pooled()) > 0, { label: "sent" });
      await new Promise((resolve) => setTimeout(resolve, 500));
      await mining(true);
      const said = await answers;
      assert.equal(said.slice(6).filter((one) => one.success).length, 6);
      const poor = said.slice(0, 6);
      assert.equal(poor.filter((one) => one.success).length, 2);
      for (const one of poor.filter((other) => !other.success)) {
        assert.match(one.errorReason, /insufficient_balance|simulation_failed|transaction_failed/);
      }
      assert.equal((await balance()) - had, 8_000n);
    } finally {
      await alone.stop();
    }
  });

  test("kill -9 with a batch in the pool: every member is found again and paid once", async () => {
    const count = 20;
    let own = await startPontage(config(), { env: kOwnKey });
    const headers = await times(count, (i) => sign(`${own.url}/paid/k${i}`));
    const had = await balance();
    await mining(false);
    const lost = times(count, (i) => ask(`${own.url}/paid/k${i}`, headers[i]).catch(() => 0));
    await rig.until(async () => (await pooled()) > 1, { label: "sent" });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await own.kill();
    await lost;
    // Nor does any node know of them.
    await rig.rpcCall(chain.rpc, "anvil_dropAllTransactions");
    await mining(true);
    own = await startPontage(config(), { dir: own.dir, env: kOwnKey });
    try {
      await rig.until(async () => (await books(own)).every((row) => ["settled", "expired"].includes(row.state)), {
        withinMs: 40_000,
        label: "all closed",
      });
      const settled = (await books(own)).filter((row) => row.state === "settled");
      assert.equal((await balance()) - had, BigInt(settled.length) * 1000n);
      assert.ok(settled.length >= 10, `${settled.length} of ${count} had been answered`);
    } finally {
      await own.stop();
    }
  });
});
