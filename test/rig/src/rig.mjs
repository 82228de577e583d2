// A real EVM chain (anvil) on loopback with what x402 needs at its canonical address: a test dollar
// at USDC's own, Permit2, the Permit2 proxies, Multicall3 and a contract wallet.
//
//   const chain = await up();               // anvil, furnished and funded; port chosen by the system
//   await tokenBalance(chain.rpc, "payee");
//   await chain.stop();
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import {
  createPublicClient,
  createTestClient,
  createWalletClient,
  defineChain,
  encodeDeployData,
  http,
  keccak256,
  maxUint256,
  parseEther,
  publicActions,
  toHex,
} from "viem";
import { artifacts } from "./compile.mjs";
import * as config from "./config.mjs";

export * from "./config.mjs";
export { artifacts };

const require = createRequire(import.meta.url);

// Waits for `what()` to be truthy, and returns it.
export async function until(what, { withinMs = 10_000, everyMs = 20, label = "condition" } = {}) {
  const end = Date.now() + withinMs;
  for (;;) {
    const value = await what();
    if (value) return value;
    if (Date.now() > end) throw new Error(`${label}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

// One JSON-RPC call; throws the node's own message.
export async function rpcCall(rpc, method, ...params) {
  const answer = await fetch(rpc, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const { error, result } = await answer.json();
  if (error) throw new Error(error.message);
  return result;
}

// Public, wallet and anvil-control clients of viem for the chain at `rpc`.
export function evmClients(rpc) {
  const chain = defineChain({
    id: config.CHAIN_ID,
    name: "rig",
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [rpc] } },
  });
  const transport = http(rpc, { retryCount: 0 });
  const shared = { chain, transport, pollingInterval: 50 };
  return {
    chain,
    pub: createPublicClient(shared),
    test: createTestClient({ ...shared, mode: "anvil" }),
    wallet: (account) => createWalletClient({ ...shared, account }).extend(publicActions),
  };
}

// The binary sits in anvil's optional package for this platform.
function anvilBinary() {
  const arch = { x64: "amd64", arm64: "arm64" }[process.arch];
  const from = [path.dirname(require.resolve("@foundry-rs/anvil/package.json"))];
  const name = `@foundry-rs/anvil-linux-${arch}/package.json`;
  return path.join(path.dirname(require.resolve(name, { paths: from })), "bin/anvil");
}

// Starts anvil on loopback. `blockTime` in seconds; 0 mines each transaction at once. `states` is of how many
// blocks it keeps the state: without it all, and after some thousand blocks it hangs for minutes while it moves them
// to disk. With blocks of a second or two it keeps 1,500 whatever it was told, so `states` and `blockTime` do not go
// together (`up` mines by itself then). `stop` ends it and resolves when it is gone; it also ends with this process.
export async function startAnvil({ port = 0, blockTime = 0, states } = {}) {
  const args = ["--host", "127.0.0.1", "--port", `${port}`, "--chain-id", `${config.CHAIN_ID}`];
  args.push("--accounts", "1", "--hardfork", "prague");
  if (blockTime) args.push("--block-time", `${blockTime}`);
  // A state holds every payment that was ever made: some megabytes for each block of an hour.
  if (states) args.push("--prune-history", `${states}`, "--transaction-block-keeper", "512");
  const anvil = spawn(anvilBinary(), args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { PATH: process.env.PATH, HOME: os.tmpdir() },
  });
  const kill = () => anvil.kill("SIGTERM");
  process.once("exit", kill);
  const gone = new Promise((resolve) => anvil.once("exit", resolve));
  const bound = await new Promise((resolve, reject) => {
    let said = "";
    anvil.once("error", reject);
    anvil.once("exit", (code) => reject(new Error(`anvil ended with ${code}\n${said}`)));
    anvil.stdout.on("data", (data) => {
      said += data;
      const listening = said.match(/Listening on 127\.0\.0\.1:(\d+)/);
      if (listening) resolve(Number(listening[1]));
    });
  });
  anvil.stdout.removeAllListeners("data");
  anvil.stdout.resume();
  const stop = async () => {
    process.removeListener("exit", kill);
    kill();
    await gone;
  };
  return { pid: anvil.pid, port: bound, rpc: `http://127.0.0.1:${bound}`, stop };
}

// Puts every contract at its canonical address. What has constructor-set immutables is deployed once
// and its code copied. Returns {usdc, other}: `other` is a second token that nobody lists.
export async function furnish(rpc) {
  const built = artifacts();
  const { pub, test, wallet } = evmClients(rpc);
  const deployer = config.evmAccount("deployer");
  await test.setBalance({ address: deployer.address, value: parseEther("1000") });
  const from = wallet(deployer);
  const deploy = async (data) => {
    const hash = await from.sendTransaction({ data });
    const receipt = await pub.waitForTransactionReceipt({ hash });
    if (receipt.status !== "success") throw new Error("a rig contract was not deployed");
    return receipt.contractAddress;
  };
  const place = async (address, data) => {
    const bytecode = await pub.getCode({ address: await deploy(data) });
    await test.setCode({ address, bytecode });
  };
  const dollar = [config.USDC.name, config.USDC.version];
  await place(config.USDC.address, encodeDeployData({ ...built.RigUSD, args: dollar }));
  await test.setCode({ address: config.PERMIT2, bytecode: built.permit2 });
  await test.setCode({ address: config.EXACT_PROXY, bytecode: built.RigExactProxy.runtime });
  await test.setCode({ address: config.UPTO_PROXY, bytecode: built.RigUptoProxy.runtime });
  // viem keeps Multicall3's creation code among its constants but does not export the path.
  const viemRoot = path.dirname(require.resolve("viem/package.json"));
  const { multicall3Bytecode } = await import(path.join(viemRoot, "_esm/constants/contracts.js"));
  await place(config.MULTICALL3, multicall3Bytecode);
  const owner = [config.evmAddress("buyer")];
  await place(config.WALLET_1271, encodeDeployData({ ...built.RigWallet, args: owner }));
  const other = await deploy(encodeDeployData({ ...built.RigUSD, args: ["Other Dollar", "1"] }));
  return { usdc: config.USDC.address, other };
}

// Mints `mint` (atomic units) of `token` and sets balances `eth` (ether), each by name or address.
export async function fund(rpc, { mint = {}, eth = {} }, token = config.USDC.address) {
  const { pub, test, wallet } = evmClients(rpc);
  for (const [who, ether] of Object.entries(eth)) {
    await test.setBalance({ address: config.evmAddress(who), value: parseEther(ether) });
  }
  const from = wallet(config.evmAccount("deployer"));
  const { abi } = artifacts().RigUSD;
  const call = { address: token, abi, functionName: "mint" };
  for (const [who, amount] of Object.entries(mint)) {
    const args = [config.evmAddress(who), BigInt(amount)];
    await pub.waitForTransactionReceipt({ hash: await from.writeContract({ ...call, args }) });
  }
}

// What `who` (a name of the rig or an address) has of `token`, in atomic units, as a BigInt.
export function tokenBalance(rpc, who, token = config.USDC.address) {
  const { abi } = artifacts().RigUSD;
  const call = { address: token, abi, functionName: "balanceOf", args: [config.evmAddress(who)] };
  return evmClients(rpc).pub.readContract(call);
}

// Payments that came together may share a transaction: throws unless each transaction named in `hashes` has
// as many Transfer logs of `token` as there are payments that name it. Returns the different hashes.
export async function eachHasItsTransfer(rpc, hashes, token = config.USDC.address) {
  const topic = keccak256(toHex("Transfer(address,address,uint256)"));
  const different = [...new Set(hashes)];
  for (const hash of different) {
    const { logs } = await rpcCall(rpc, "eth_getTransactionReceipt", hash);
    const moved = logs.filter((log) => log.address === token.toLowerCase() && log.topics[0] === topic).length;
    const named = hashes.filter((one) => one === hash).length;
    if (moved !== named) throw new Error(`${hash}: ${named} payments name it, ${moved} are in it`);
  }
  return different;
}

// A chain ready to be paid on: furnished, everybody funded, Permit2 approved by the buyer. It is set
// up mining instantly; `blockTime` (seconds) counts from then on.
export async function up({ port = 0, blockTime = 0, states } = {}) {
  const anvil = await startAnvil({ port, states });
  try {
    const placed = await furnish(anvil.rpc);
    await fund(anvil.rpc, {
      mint: {
        buyer: 1_000_000_000n,
        poor: 10n,
        mallory: 1_000_000n,
        fresh: 1_000_000n,
        [config.WALLET_1271]: 1_000_000n,
      },
      eth: { facilitator: "1000", buyer: "10", poor: "1" },
    });
    const { pub, wallet } = evmClients(anvil.rpc);
    const hash = await wallet(config.evmAccount("buyer")).writeContract({
      address: config.USDC.address,
      abi: artifacts().RigUSD.abi,
      functionName: "approve",
      args: [config.PERMIT2, maxUint256],
    });
    await pub.waitForTransactionReceipt({ hash });
    if (blockTime) await rpcCall(anvil.rpc, "evm_setAutomine", false);
    if (blockTime && states) {
      let mining = false;
      const tick = setInterval(async () => {
        if (mining) return;
        mining = true;
        await rpcCall(anvil.rpc, "evm_mine").catch(() => {}); // not there for a moment: with the next one
        mining = false;
      }, blockTime * 1000);
      const { stop } = anvil;
      anvil.stop = () => (clearInterval(tick), stop());
    } else if (blockTime) {
      await rpcCall(anvil.rpc, "evm_setIntervalMining", blockTime);
    }
    return { ...anvil, ...placed };
  } catch (error) {
    await anvil.stop();
    throw error;
  }
}
