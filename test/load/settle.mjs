// How many payments one key settles on a real EVM chain (anvil) with blocks of one second, and what
// a payment costs alone and in a batch. Prints the figures and, with --json, what they were made from as one
// JSON object; needs build/pontage or PTG_BIN.
//   node test/load/settle.mjs [--seconds 15] [--outstanding 900] [--payers 40] [--json]
import { parseArgs } from "node:util";
import { keccak256, toHex } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { settleRequest } from "../rig/src/pay.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { row } from "./figures.mjs";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "15" },
    outstanding: { type: "string", default: "900" }, // the API takes 1,000 calls at once
    payers: { type: "string", default: "40" },
    queued: { type: "string", default: "200" },
    json: { type: "boolean", default: false },
  },
});
const kSeconds = Number(values.seconds);
const kOutstanding = Number(values.outstanding);
const kQueued = Number(values.queued);
const kBatch = 50;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const chain = await rig.up();
const payers = Array.from({ length: Number(values.payers) }, (_, i) => privateKeyToAccount(keccak256(toHex(`load payer ${i}`))));
await rig.fund(chain.rpc, { mint: Object.fromEntries(payers.map((p) => [p.address, 1_000_000_000n])) });
const server = await startPontage(
  sellerConfig({ rpc: chain.rpc, upstream: "http://127.0.0.1:9", routes: "" }),
  { args: ["--role", "facilitator"] },
);

let next = 0;
const make = () => settleRequest(payers[next++ % payers.length]);
async function settle(body) {
  const answer = await fetch(`${server.url}/settle`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const said = await answer.json();
  return said.success ? said.transaction : Promise.reject(new Error(JSON.stringify(said)));
}
const receipt = (hash) => rig.rpcCall(chain.rpc, "eth_getTransactionReceipt", hash);
const interval = async (seconds) => {
  await rig.rpcCall(chain.rpc, "evm_setAutomine", seconds === 0);
  await rig.rpcCall(chain.rpc, "evm_setIntervalMining", seconds);
};

const figures = {};
try {
  // Balances that are no longer zero, for payers and payee: what a payment costs from the second on.
  for (const _ of payers) await settle(await make());
  const alone = await receipt(await settle(await make()));
  figures.gas_alone = Number(alone.gasUsed);

  // The first goes out alone and waits for its block; behind it exactly one batch may form.
  await interval(1);
  const one = await Promise.all(Array.from({ length: kQueued }, make));
  await sleep(1100);
  const from = Number(await rig.rpcCall(chain.rpc, "eth_blockNumber"));
  const hashes = await Promise.all(one.map(settle));
  const blocks = new Map();
  const gas = [];
  for (const hash of new Set(hashes)) {
    const r = await receipt(hash);
    const members = hashes.filter((h) => h === hash).length;
    blocks.set(Number(r.blockNumber), (blocks.get(Number(r.blockNumber)) ?? 0) + members);
    gas.push([members, Number(r.gasUsed) / members]);
  }
  figures.queued = kQueued;
  figures.transactions = new Set(hashes).size;
  figures.blocks_until_all = Math.max(...blocks.keys()) - from;
  figures.blocks_spanned = Math.max(...blocks.keys()) - Math.min(...blocks.keys()) + 1;
  const full = gas.filter(([members]) => members === kBatch).map(([, each]) => each);
  if (full.length > 0) {
    figures.gas_in_batch_of_50 = Math.round(full.reduce((a, b) => a + b) / full.length);
    figures.gas_ratio = Number((figures.gas_in_batch_of_50 / figures.gas_alone).toFixed(3));
  }

  // anvil loses transactions that a full block leaves over (they come again with our rebroadcast, 15 s later):
  // blocks are large enough here for what is measured to be ours.
  await rig.rpcCall(chain.rpc, "evm_setBlockGasLimit", "0x5f5e100");
  // As many outstanding at all times, from a stock that was signed before.
  const stock = await Promise.all(Array.from({ length: kSeconds * 500 + kOutstanding }, make));
  const started = Date.now();
  let settled = 0;
  let failed = 0;
  const per = new Map();
  const worker = async () => {
    while (Date.now() - started < kSeconds * 1000 && stock.length > 0) {
      try {
        await settle(stock.pop());
        settled += 1;
        const second = Math.floor((Date.now() - started) / 1000);
        per.set(second, (per.get(second) ?? 0) + 1);
      } catch (error) {
        failed += 1;
        figures.first_failure ??= error.message;
      }
    }
  };
  await Promise.all(Array.from({ length: kOutstanding }, worker));
  const seconds = (Date.now() - started) / 1000;
  figures.outstanding = kOutstanding;
  figures.settled = settled;
  figures.failed = failed;
  figures.settled_per_second = Math.round(settled / seconds);
  figures.each_second = [...per.values()];
  const paid = await rig.tokenBalance(chain.rpc, "payee");
  figures.books_close = paid === 1000n * BigInt(settled + kQueued + payers.length + 1);
} finally {
  await server.stop();
  await chain.stop();
}
row(`${kQueued} queued, one key, 1 s blocks`, figures.blocks_until_all, "blocks", 3, { detail: `${figures.transactions} transactions` });
row("settled by one key", figures.settled_per_second, "/s", 300, { atLeast: true, detail: `${kSeconds} s, ${figures.failed} failed, books ${figures.books_close ? "close" : "do NOT close"}` });
row("gas of a payment in a batch of 50", figures.gas_ratio, "x alone", 0.75, { detail: `${figures.gas_in_batch_of_50} against ${figures.gas_alone}` });
if (values.json) console.log(JSON.stringify(figures, null, 1));
process.exitCode = figures.failed === 0 && figures.books_close ? 0 : 1;
