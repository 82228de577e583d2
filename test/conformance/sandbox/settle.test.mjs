// The official stack lives on `pontage sandbox`: server, facilitator and clients settle on it as they
// do on a real node, and the books of the token say so.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createPublicClient, getContract, http, parseAbi } from "viem";
import * as official from "../lib/official.mjs";
import { startSandbox } from "../lib/sandbox.mjs";

const kUsdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const abi = parseAbi([
  "function balanceOf(address) view returns (uint256)",
  "event Transfer(address indexed from, address indexed to, uint256 value)",
]);

// What one test needs, ended in reverse order.
async function world(t, { sandboxArgs = [], server = official.startOfficialServer } = {}) {
  const stops = [];
  t.after(async () => {
    for (const stop of stops.reverse()) await stop();
  });
  const sandbox = await startSandbox(sandboxArgs);
  stops.push(sandbox.stop);
  const { facilitator: payer, seller, buyer } = sandbox.identities;
  const rpc = sandbox.rpc;
  const facilitator = await official.startOfficialFacilitator({ rpc, key: payer.key });
  stops.push(facilitator.stop);
  const shop = await server({ facilitator: facilitator.url, payTo: seller.address });
  stops.push(shop.stop);
  const client = createPublicClient({ transport: http(rpc) });
  const usdc = getContract({ address: kUsdc, abi, client });
  const balance = (who) => usdc.read.balanceOf([sandbox.identities[who].address]);
  return { sandbox, rpc, facilitator, shop, client, balance, buyer, seller };
}

test("twenty payments, one after another, on blocks that come at once", async (t) => {
  const w = await world(t);
  const pay = official.payingFetch({ key: w.buyer.key });
  const before = await w.balance("buyer");
  const hashes = new Set();
  for (let i = 0; i < 20; ++i) {
    const answer = await pay(`${w.shop.url}/quote`);
    assert.equal(answer.status, 200, await answer.clone().text());
    const receipt = official.receiptOf(answer);
    assert.equal(receipt.success, true);
    hashes.add(receipt.transaction);
  }
  assert.equal(hashes.size, 20);
  assert.equal(w.shop.served.quote, 20);
  assert.equal(await w.balance("seller"), 20_000n);
  assert.equal(before - (await w.balance("buyer")), 20_000n);
  const logs = await w.client.getContractEvents({
    address: kUsdc,
    abi,
    eventName: "Transfer",
    args: { to: w.seller.address },
    fromBlock: 0n,
  });
  assert.deepEqual(new Set(logs.map((log) => log.transactionHash)), hashes);
});

test("payments on blocks that take a second", async (t) => {
  const w = await world(t, { sandboxArgs: ["--block-time", "1s"] });
  const pay = official.payingFetch({ key: w.buyer.key });
  for (let i = 0; i < 2; ++i) {
    const answer = await pay(`${w.shop.url}/quote`, { method: "POST", body: "{}" });
    assert.equal(answer.status, 200, await answer.clone().text());
  }
  assert.equal(await w.balance("seller"), 2_000n);
});

test("version 1: the old server and the old client, through the same facilitator", async (t) => {
  const w = await world(t, { server: official.startOfficialServerV1 });
  const pay = official.payingFetchV1({ key: w.buyer.key, rpc: w.rpc });
  for (let i = 0; i < 3; ++i) {
    const answer = await pay(`${w.shop.url}/quote`);
    assert.equal(answer.status, 200, await answer.clone().text());
    assert.equal(official.receiptOf(answer).success, true);
  }
  assert.equal(await w.balance("seller"), 3_000n);
});

test("the facilitator finds its reasons in what the chain says", async (t) => {
  const w = await world(t);
  const spy = [];
  const listening = async (input, init) => {
    const request = new Request(input, init);
    const header = request.headers.get("payment-signature");
    if (header) spy.push(header);
    return fetch(request);
  };
  const paid = official.payingFetch({ key: w.buyer.key, fetch: listening });
  assert.equal((await paid(`${w.shop.url}/quote`)).status, 200);
  const reasonOf = async (header) => {
    const headers = { "payment-signature": header };
    const answer = await fetch(`${w.shop.url}/quote`, { headers });
    assert.equal(answer.status, 402);
    return JSON.parse(atob(answer.headers.get("payment-required"))).error;
  };
  // The same authorization again: the token says that its nonce is used.
  assert.equal(await reasonOf(spy[0]), "invalid_exact_evm_nonce_already_used");
  // Ten thousand atomic units cannot pay eleven times a thousand.
  const poor = official.payingFetch({
    key: w.sandbox.identities.poor.key,
    fetch: listening,
  });
  let last;
  for (let i = 0; i < 11; ++i) last = await poor(`${w.shop.url}/quote`);
  assert.equal(last.status, 402);
  assert.equal(await reasonOf(spy.at(-1)), "invalid_exact_evm_insufficient_balance");
  assert.equal(await w.balance("poor"), 0n);
});
