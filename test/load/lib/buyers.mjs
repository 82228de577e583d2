// Many buyers whose payments are signed on a thread of their own, and an audit of what became of each payment:
// in the answers that the buyer saw, in the books, and on the chain.
import { DatabaseSync } from "node:sqlite";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { keccak256, pad, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { payHeader, paymentV1, paymentV2 } from "../../rig/src/pay.mjs";
import { rpcCall, USDC } from "../../rig/src/rig.mjs";

const kStock = 200; // payments signed ahead: they are good for five minutes
export const payersOf = (count) =>
  Array.from({ length: count }, (_, i) => privateKeyToAccount(keccak256(toHex(`soak payer ${i}`))));

// Hands out payments of both versions for `offers` (of offersOf): {nonce, headers, until}.
export class Signer {
  constructor(offers, payers) {
    this.stock = [];
    this.wanted = 0;
    this.worker = new Worker(new URL(import.meta.url), { workerData: { offers, payers } });
    this.worker.on("message", (payment) => {
      this.stock.push(payment);
      this.wanted -= 1;
      this.#order();
    });
    this.worker.on("error", (error) => {
      throw error;
    });
    this.#order();
  }
  // Undefined when none is signed yet; never one that is too old to be taken.
  take() {
    let one = this.stock.shift();
    while (one && one.until - Date.now() < 200_000) one = this.stock.shift();
    this.#order();
    return one;
  }
  end() {
    return this.worker.terminate();
  }
  #order() {
    const missing = kStock - this.stock.length - this.wanted;
    if (missing < 20) return;
    this.wanted += missing;
    this.worker.postMessage(missing);
  }
}

if (!isMainThread && workerData?.offers) {
  const payers = payersOf(workerData.payers);
  let n = 0;
  parentPort.on("message", async (count) => {
    for (let i = 0; i < count; i += 1) {
      const make = n % 2 ? paymentV1 : paymentV2;
      const payment = await make(workerData.offers, { account: payers[(n >> 1) % payers.length] });
      n += 1;
      const { nonce, validBefore } = payment.payload.authorization;
      parentPort.postMessage({ nonce, headers: payHeader(payment), until: Number(validBefore) * 1000 });
    }
  });
}

// Every authorization that was used on the chain and how often, read as the blocks come.
export class ChainWatch {
  constructor(rpc, from) {
    Object.assign(this, { rpc, next: from, used: new Map() });
  }
  async read() {
    const head = Number(await rpcCall(this.rpc, "eth_blockNumber"));
    while (this.next <= head) {
      const to = Math.min(head, this.next + 19);
      const logs = await rpcCall(this.rpc, "eth_getLogs", {
        address: USDC.address,
        fromBlock: toHex(this.next),
        toBlock: toHex(to),
        topics: [kUsed],
      });
      for (const { topics } of logs) this.used.set(topics[2], (this.used.get(topics[2]) ?? 0) + 1);
      this.next = to + 1;
    }
  }
}
const kUsed = keccak256(toHex("AuthorizationUsed(address,bytes32)"));

// Lists, as lines of text, everything in which answers, books and chain disagree. `shown` has for each nonce that
// was ever presented {served: how many 200s, answers: what was told and when}.
export function audit({ store, shown, used }) {
  const wrong = [];
  const db = new DatabaseSync(store, { readOnly: true });
  const rows = new Map();
  const states = {};
  for (const row of db.prepare("SELECT nonce, state, delivery, tx_hash FROM reservation WHERE state <> 'voided'").iterate()) {
    const nonce = pad(row.nonce.toLowerCase(), { size: 32 });
    if (rows.has(nonce)) wrong.push(`${nonce} has two rows`);
    rows.set(nonce, row);
    const state = `${row.state}/${row.delivery}`;
    states[state] = (states[state] ?? 0) + 1;
    if (row.state === "held" || row.state === "in_doubt") wrong.push(`${nonce} is still ${row.state}`);
    const times = used.get(nonce) ?? 0;
    if (times !== (row.state === "settled" ? 1 : 0)) wrong.push(`${nonce} is ${row.state} and ${times} times on the chain`);
  }
  const unsaid = db.prepare("SELECT COUNT(*) AS n FROM outgoing_transaction WHERE state IN ('signed', 'broadcast')").get().n;
  if (unsaid > 0) wrong.push(`${unsaid} transactions wait for a block`);
  db.close();
  for (const [nonce, { served, answers }] of shown) {
    const times = used.get(nonce) ?? 0;
    if (served > 1) wrong.push(`${nonce} was served ${served} times`);
    if (served > 0 && rows.get(nonce)?.state !== "settled") wrong.push(`${nonce} was served and its row is ${rows.get(nonce)?.state}`);
    if (served !== times) wrong.push(`${nonce} was served ${served} times and charged ${times} times: ${answers.slice(-6).join(", ")}`);
  }
  for (const nonce of used.keys()) if (!shown.has(nonce)) wrong.push(`${nonce} was charged and never shown`);
  return { wrong, states, rows: rows.size };
}
