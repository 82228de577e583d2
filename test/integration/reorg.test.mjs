// A real chain that throws its last blocks out after the payments in them were settled and served: it is noticed,
// recorded and told, and the money comes back.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ask, books, offersOf, payHeader, paymentV2, sign } from "../rig/src/pay.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoutes = '[[route]]\nmatch = "GET /paid/*"\nprice = "$0.001"\n';
// The blocks are looked at every five seconds, and twice before a transaction counts as gone.
const kPatience = { withinMs: 60_000, everyMs: 300 };
const times = (n, make) => Promise.all(Array.from({ length: n }, (_, i) => make(i)));

describe("a reorganisation of the chain", () => {
  let chain, upstream, server;
  before(async () => {
    chain = await rig.up();
    upstream = await startUpstream();
    server = await startPontage(config());
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
    await chain?.stop();
  });
  const config = (more = {}) => sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, ...more });
  const call = (...args) => rig.rpcCall(chain.rpc, ...args);
  const balance = () => rig.tokenBalance(chain.rpc, "payee");
  const env = { PONTAGE_EVM_KEY: rig.evmKey("facilitator") };
  const command = (at, ...args) => run([...args, "--config", at.file], { cwd: at.dir, env });
  const explain = async (name) => {
    const done = await command(server, "explain", "--json", name);
    assert.equal(done.code, 0, done.stderr);
    return JSON.parse(done.stdout).payments;
  };
  const wordsOf = (row) => row.reorgs.map((event) => event.what).join(" ");
  const metric = async (name, labels) => {
    const text = await (await fetch(`${server.metricsUrl}/metrics`)).text();
    const line = text.split("\n").find((one) => one.startsWith(`${name}{`) && one.includes(labels));
    return line ? Number(line.split(" ").at(-1)) : 0;
  };
  const buy = async (name) => {
    const answer = await ask(`${server.url}/paid/${name}`, await sign(`${server.url}/paid/${name}`));
    assert.equal(answer.status, 200, answer.text);
    return answer.receipt.transaction;
  };
  // Until each of those transactions' payments has that history.
  const told = (hashes, words) =>
    rig.until(async () => {
      const rows = (await Promise.all(hashes.map(explain))).flat();
      return rows.every((row) => wordsOf(row) === words) ? rows : undefined;
    }, { ...kPatience, label: words });

  test("a settled payment that fell out is sent again, and explain, log and metrics say so", async () => {
    const had = await balance();
    const hash = await buy("one");
    assert.equal((await balance()) - had, 1000n);
    const [before] = await explain(hash);
    assert.equal(before.transactions[0].finality, "watched");
    assert.deepEqual(before.reorgs, []);
    await call("anvil_reorg", 1, []);
    assert.equal(await balance(), had, "the chain has forgotten it");
    const [row] = await told([hash], "left back paid");
    assert.equal((await balance()) - had, 1000n);
    assert.equal(row.state, "settled");
    assert.equal(row.transactions.length, 1);
    assert.equal(row.transactions[0].transaction, hash, "the same signed bytes");
    const left = server.events("settle.reorg").find((event) => event.transaction === hash);
    assert.equal(left.what, "left");
    assert.equal(left.payments, 1);
    assert.ok(server.events("settle.reorg_over").some((event) => event.transaction === hash));
    assert.equal(await metric("pontage_reorgs_total", 'what="left"'), 1);
    assert.equal(await metric("pontage_reorgs_total", 'what="back"'), 1);
    await rig.until(async () => (await metric("pontage_settle_not_final", "signer=")) === 1, { ...kPatience, label: "the gauge" });
    const doctor = JSON.parse((await command(server, "doctor", "--json")).stdout);
    assert.deepEqual(doctor.checks.filter((check) => /reorganisation/.test(check.what)), []);
  });

  test("a batch is thrown out as a whole, and each of its payments is told", async () => {
    const count = 12;
    const headers = await times(count, (i) => sign(`${server.url}/paid/b${i}`));
    const had = await balance();
    await call("evm_setAutomine", false);
    const answers = times(count, (i) => ask(`${server.url}/paid/b${i}`, headers[i]));
    await rig.until(async () => Number((await call("txpool_status")).pending) > 0, { label: "sent" });
    await new Promise((resolve) => setTimeout(resolve, 500));
    await call("anvil_mine", "0x1");
    await call("evm_setAutomine", true);
    const said = await answers;
    assert.deepEqual([...new Set(said.map((answer) => answer.status))], [200]);
    const hashes = [...new Set(said.map((answer) => answer.receipt.transaction))];
    assert.ok(hashes.length < count, "some share a transaction");
    assert.equal((await balance()) - had, BigInt(count) * 1000n);
    await call("anvil_reorg", 2, []);
    const rows = await told(hashes, "left back paid");
    assert.equal(rows.length, count);
    assert.equal((await balance()) - had, BigInt(count) * 1000n);
  });

  test("thrown out while the process was down: the next one finds out and sends it", async () => {
    const had = await balance();
    const snapshot = await call("evm_snapshot");
    const hash = await buy("down");
    await server.kill();
    assert.equal(await call("evm_revert", snapshot), true);
    await call("anvil_mine", "0x3");
    assert.equal(await balance(), had);
    server = await startPontage(config(), { dir: server.dir });
    await told([hash], "left back paid");
    assert.equal((await balance()) - had, 1000n);
    const later = await buy("later");
    const [row] = await explain(later);
    assert.equal(row.transactions[0].nonce, (await explain(hash))[0].transactions[0].nonce + 1);
  });

  test("what cannot be collected again is lost, and everybody who looks is told", async () => {
    await rig.fund(chain.rpc, { mint: { poor: 1_000n } });
    const url = `${server.url}/paid/lost`;
    const answer = await ask(url, payHeader(await paymentV2(await offersOf(url), { who: "poor" })));
    assert.equal(answer.status, 200, answer.text);
    const hash = answer.receipt.transaction;
    const block = await call("eth_getTransactionReceipt", hash);
    // On the new chain the buyer has spent his money elsewhere before our transaction comes.
    const depth = Number(await call("eth_blockNumber")) - Number(block.blockNumber) + 1;
    await call("anvil_reorg", depth, []);
    await call("anvil_impersonateAccount", rig.evmAddress("poor"));
    await call("anvil_setBalance", rig.evmAddress("poor"), "0xde0b6b3a7640000");
    const left = await rig.tokenBalance(chain.rpc, "poor");
    const data = `0xa9059cbb${rig.evmAddress("buyer").slice(2).toLowerCase().padStart(64, "0")}${left.toString(16).padStart(64, "0")}`;
    await call("eth_sendTransaction", { from: rig.evmAddress("poor"), to: rig.USDC.address, data });
    await rig.until(async () => (await rig.tokenBalance(chain.rpc, "poor")) === 0n, { label: "spent" });
    const [row] = await told([hash], "left back lost");
    assert.equal(row.state, "settled", "the buyer was served");
    assert.equal(row.transactions[0].succeeded, false);
    assert.equal(server.events("settle.reorg_lost").length, 1);
    assert.equal(await metric("pontage_reorgs_total", 'what="lost"'), 1);
    const doctor = JSON.parse((await command(server, "doctor", "--json")).stdout);
    const warned = doctor.checks.find((check) => check.what === "reorganisations");
    assert.equal(warned.level, "warn");
    assert.match(warned.detail, /^1 settled payments were undone/);
    assert.equal((await books(server)).find((one) => one.transaction === hash).delivery, "delivered");
  });

  test("sixty-four blocks later it is final", async () => {
    const hash = await buy("final");
    await call("anvil_mine", "0x41");
    await rig.until(async () => (await explain(hash))[0].transactions[0].finality === "final", { ...kPatience, label: "final" });
    await rig.until(async () => (await metric("pontage_settle_not_final", "signer=")) === 0, { ...kPatience, label: "the gauge" });
  });
});
