// Brings the chain up for use by hand: prints one JSON line {evmRpc, pids, usdc, other} and runs until
// SIGTERM or SIGINT.
//   node test/rig/src/up.mjs [--port N] [--block-time SECONDS]
import { parseArgs } from "node:util";
import { up } from "./rig.mjs";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    "block-time": { type: "string", default: "0" },
  },
});
const chain = await up({ port: Number(values.port), blockTime: Number(values["block-time"]) });
const end = async () => {
  await chain.stop();
  process.exit(0);
};
process.on("SIGTERM", end).on("SIGINT", end);
const { rpc, pid, usdc, other } = chain;
console.log(JSON.stringify({ evmRpc: rpc, pids: { anvil: pid }, usdc, other }));
setInterval(() => {}, 1 << 30); // Holds the process until a signal.
