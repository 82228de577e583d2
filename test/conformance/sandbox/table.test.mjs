// The sandbox chain answers as anvil does. Both get the same transactions by the same keys and are
// asked the same questions; what the two must differ in (block hashes, gas, fees, times) is reduced
// to its shape, everything else is compared as it stands: results, error codes, texts, revert data.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { encodeFunctionData, keccak256, maxUint256, pad, parseAbi, parseGwei, zeroAddress } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import * as rig from "../../rig/src/rig.mjs";
import { startSandbox } from "../lib/sandbox.mjs";

const abi = parseAbi([
  "function name() view returns (string)",
  "function version() view returns (string)",
  "function symbol() view returns (string)",
  "function decimals() view returns (uint8)",
  "function DOMAIN_SEPARATOR() view returns (bytes32)",
  "function balanceOf(address) view returns (uint256)",
  "function allowance(address,address) view returns (uint256)",
  "function nonces(address) view returns (uint256)",
  "function paused() view returns (bool)",
  "function authorizationState(address,bytes32) view returns (bool)",
  "function transfer(address,uint256) returns (bool)",
  "function transferFrom(address,address,uint256) returns (bool)",
  "function approve(address,uint256) returns (bool)",
  "function setPaused(bool)",
  "function setBlacklisted(address,bool)",
  "function mint(address,uint256)",
  "function permit(address,address,uint256,uint256,uint8,bytes32,bytes32)",
  "function noSuchThing()",
]);
// Overloads, named apart.
const withAuthorization = (name, ...signature) => ({
  type: "function",
  name,
  stateMutability: "nonpayable",
  inputs: ["address", "address", "uint256", "uint256", "uint256", "bytes32", ...signature].map(
    (type, i) => ({ type, name: `a${i}` }),
  ),
  outputs: [],
});
const multicall = parseAbi([
  "struct Call { address target; bytes callData; }",
  "struct Call3 { address target; bool allowFailure; bytes callData; }",
  "function aggregate(Call[]) returns (uint256, bytes[])",
  "function tryAggregate(bool, Call[]) returns ((bool success, bytes returnData)[])",
  "function aggregate3(Call3[]) returns ((bool success, bytes returnData)[])",
  "function getEthBalance(address) view returns (uint256)",
  "function getChainId() view returns (uint256)",
]);
const data = (functionName, ...args) => encodeFunctionData({ abi, functionName, args });
const many = (functionName, ...args) => encodeFunctionData({ abi: multicall, functionName, args });

const USDC = rig.USDC.address;
const MULTICALL = rig.MULTICALL3;
const kNowhere = "0x00000000000000000000000000000000deadbeef";
const word = (byte) => `0x${byte.repeat(32)}`;

let nodes; // [{name, rpc, start}, …]: anvil and the sandbox.
let who; // The sandbox's identities, as viem accounts.
const stops = [];

before(async () => {
  const sandbox = await startSandbox();
  stops.push(sandbox.stop);
  const anvil = await rig.up();
  stops.push(anvil.stop);
  const { buyer, seller, facilitator, poor } = sandbox.identities;
  who = Object.fromEntries(
    Object.values(sandbox.identities).map((i) => [i.name, privateKeyToAccount(i.key)]),
  );
  await rig.fund(anvil.rpc, {
    mint: { [buyer.address]: 1_000_000_000n, [poor.address]: 10_000n },
    eth: { [buyer.address]: "1", [facilitator.address]: "100", [poor.address]: "0" },
  });
  assert.ok(seller.address);
  nodes = [
    { name: "anvil", rpc: anvil.rpc },
    { name: "sandbox", rpc: sandbox.rpc },
  ];
  for (const node of nodes) {
    node.start = Number((await ask(node, "eth_blockNumber")).result);
  }
});
after(async () => {
  for (const stop of stops.reverse()) await stop();
});

async function post(node, body) {
  const answer = await fetch(node.rpc, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, body: text ? JSON.parse(text) : null };
}
const ask = async (node, method, ...params) =>
  (await post(node, { jsonrpc: "2.0", id: 7, method, params })).body;

// Members that two honest chains differ in, reduced to their shape.
const kShapes = {
  hash32: /^0x[0-9a-f]{64}$/,
  quantity: /^0x(0|[1-9a-f][0-9a-f]*)$/,
};
const kShapeOf = {
  blockHash: "hash32",
  parentHash: "hash32",
  stateRoot: "hash32",
  transactionsRoot: "hash32",
  receiptsRoot: "hash32",
  mixHash: "hash32",
  timestamp: "quantity",
  blockTimestamp: "quantity",
  baseFeePerGas: "quantity",
  gasUsed: "quantity",
  cumulativeGasUsed: "quantity",
  effectiveGasPrice: "quantity",
  size: "quantity",
};
// anvil shows these in receipts of every type; no client of ours reads them.
const kLeftOut = ["blobGasPrice"];

function shape(value, kind, path) {
  if (value === null) return null;
  assert.match(value, kShapes[kind], path);
  return kind;
}

function reduce(node, value, { block = false, dynamicFees = false } = {}, path = "") {
  if (Array.isArray(value)) {
    return value.map((v, i) => reduce(node, v, { block, dynamicFees }, `${path}/${i}`));
  }
  if (value === null || typeof value !== "object") return value;
  const isBlock = "parentHash" in value;
  const isReceipt = "cumulativeGasUsed" in value;
  const out = {};
  for (const [key, v] of Object.entries(value)) {
    const at = `${node.name} ${path}/${key}`;
    if (kLeftOut.includes(key)) continue;
    if (isReceipt && key === "blockTimestamp") continue; // anvil: a bare number, receipts only.
    if (key === "number" || key === "blockNumber") {
      out[key] = v === null ? null : Number(v) - node.start;
    } else if (isBlock && key === "hash") {
      out[key] = shape(v, "hash32", at);
    } else if (key === "gasPrice" && value.type === "0x2") {
      out[key] = shape(v, "quantity", at); // Depends on the base fee.
    } else if (key === "baseFeePerGas" && Array.isArray(v)) {
      out[key] = v.map((fee) => shape(fee, "quantity", at));
    } else if (key === "gasUsedRatio") {
      out[key] = v.map((ratio) => typeof ratio);
    } else if (key in kShapeOf) {
      out[key] = shape(v, kShapeOf[key], at);
    } else {
      out[key] = reduce(node, v, {}, `${path}/${key}`);
    }
  }
  return out;
}

// Asks both and compares. `as`: "is" the whole answer; "code" only which error; a shape's name the
// form of the result.
async function same(method, params = [], as = "is") {
  const [want, got] = await Promise.all(nodes.map((node) => ask(node, method, ...params)));
  const label = `${method} ${JSON.stringify(params).slice(0, 300)}`;
  if (as === "code") {
    assert.ok(want.error, `anvil gives no error: ${label}`);
    assert.equal(got.error?.code, want.error.code, label);
  } else if (as in kShapes) {
    assert.match(want.result, kShapes[as], `anvil: ${label}`);
    assert.match(got.result, kShapes[as], label);
  } else {
    assert.deepEqual(reduce(nodes[1], got), reduce(nodes[0], want), label);
  }
  return want;
}

// ------------------------------------------------------------------------------ signed things

const kDomain = { name: rig.USDC.name, version: "2", chainId: rig.CHAIN_ID, verifyingContract: USDC };
const kFields = ["address from", "address to", "uint256 value", "uint256 validAfter"]
  .concat(["uint256 validBefore", "bytes32 nonce"])
  .map((text) => ({ type: text.split(" ")[0], name: text.split(" ")[1] }));

async function authorization(change = {}, { by = who.buyer, type = "TransferWithAuthorization" } = {}) {
  const message = {
    from: who.buyer.address,
    to: who.seller.address,
    value: 1_000n,
    validAfter: 0n,
    validBefore: 4_000_000_000n,
    nonce: word("a1"),
    ...change,
  };
  const types = { [type]: kFields };
  const signature = await by.signTypedData({ domain: kDomain, types, primaryType: type, message });
  return { message, signature };
}

const split = (signature) => ({
  r: signature.slice(0, 66),
  s: `0x${signature.slice(66, 130)}`,
  v: parseInt(signature.slice(130, 132), 16),
});
const kOrder = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
function highS(signature) {
  const { r, s, v } = split(signature);
  return `${r}${(kOrder - BigInt(s)).toString(16).padStart(64, "0")}${v === 27 ? "1c" : "1b"}`;
}

const byVrs = ({ message, signature }, name = "transferWithAuthorization") => {
  const { r, s, v } = split(signature);
  const item = withAuthorization(name, "uint8", "bytes32", "bytes32");
  return encodeFunctionData({ abi: [item], args: [...Object.values(message), v, r, s] });
};
const byBytes = ({ message, signature }, name = "transferWithAuthorization") => {
  const item = withAuthorization(name, "bytes");
  return encodeFunctionData({ abi: [item], args: [...Object.values(message), signature] });
};

const kTransaction = {
  chainId: rig.CHAIN_ID,
  type: "eip1559",
  gas: 200_000n,
  maxFeePerGas: parseGwei("10"),
  maxPriorityFeePerGas: parseGwei("1"),
};
const nonces = { buyer: 0, facilitator: 0 };
// Sends the same bytes to both, and compares what they say to it.
async function send(name, change, { next = true } = {}) {
  const raw = await who[name].signTransaction({ ...kTransaction, nonce: nonces[name], ...change });
  const said = await same("eth_sendRawTransaction", [raw]);
  const hash = keccak256(raw);
  if (next && said.result) {
    nonces[name] += 1;
    await mined(hash);
  }
  return { raw, hash };
}

// anvil takes a transaction before it mines it, even where it mines at once.
async function mined(hash) {
  for (const node of nodes) {
    if (!(await ask(node, "anvil_getAutomine")).result) continue;
    await rig.until(async () => (await ask(node, "eth_getTransactionReceipt", hash)).result, {
      everyMs: 5,
      label: `${node.name} mines ${hash}`,
    });
  }
}

// --------------------------------------------------------------------------------- the table

describe("what a node says of itself", () => {
  const rows = [
    ["eth_chainId", []],
    ["net_version", []],
    ["net_listening", []],
    ["eth_syncing", []],
    ["eth_gasPrice", [], "quantity"],
    ["eth_maxPriorityFeePerGas", []],
    ["eth_blobBaseFee", []],
    ["eth_blockNumber", [], "quantity"],
    ["eth_feeHistory", ["0x1", "latest", [10, 50]]],
    ["no_suchMethod", []],
    ["eth_subscribe", ["newHeads"]],
  ];
  for (const [method, params, as] of rows) {
    test(`${method} ${JSON.stringify(params)}`, async () => {
      if (method !== "eth_feeHistory") return same(method, params, as);
      const answers = await Promise.all(nodes.map((node) => ask(node, method, ...params)));
      const [want, got] = answers.map(({ result }, i) => {
        const out = reduce(nodes[i], result);
        out.oldestBlock = Number(result.oldestBlock) - nodes[i].start;
        return out;
      });
      assert.deepEqual(got, want);
    });
  }
});

describe("reads of the state", () => {
  test("ether, nonces, code and storage", async () => {
    for (const name of ["buyer", "seller", "facilitator", "poor"]) {
      const { address } = who[name];
      await same("eth_getBalance", [address, "latest"]);
      await same("eth_getTransactionCount", [address, "latest"]);
      await same("eth_getTransactionCount", [address, "pending"]);
      await same("eth_getCode", [address, "latest"]);
    }
    await same("eth_getStorageAt", [who.seller.address, "0x0", "latest"]);
    for (const node of nodes) {
      for (const at of [USDC, MULTICALL]) {
        assert.match((await ask(node, "eth_getCode", at, "latest")).result, /^0x[0-9a-f]{2,}$/);
      }
    }
  });
  test("addresses and blocks that are none", async () => {
    await same("eth_getBalance", ["0x12", "latest"], "code");
    await same("eth_getBalance", [], "code");
    await same("eth_getBlockByNumber", ["zzz", false]);
    await same("eth_getBlockByNumber", ["0xffffff", false]);
    await same("eth_getBlockByNumber", [], "code");
    await same("eth_getBlockByHash", [word("11"), false]);
    await same("eth_getTransactionByHash", [word("11")]);
    await same("eth_getTransactionReceipt", [word("11")]);
    await same("eth_getLogs", [{ blockHash: word("11") }]);
    await same("eth_getLogs", [{ fromBlock: "0x5", toBlock: "0x1" }]);
    const call = { to: USDC, data: data("balanceOf", who.buyer.address) };
    await same("eth_call", [call, { blockHash: word("11") }]);
    await same("eth_call", [call, "0xffffff"], "code");
  });
});

describe("calls of the token", () => {
  test("views", async () => {
    const calls = [
      data("name"),
      data("version"),
      data("symbol"),
      data("decimals"),
      data("DOMAIN_SEPARATOR"),
      data("paused"),
      data("balanceOf", who.buyer.address),
      data("balanceOf", who.poor.address),
      data("balanceOf", who.seller.address),
      data("allowance", who.buyer.address, who.seller.address),
      data("nonces", who.buyer.address),
      data("authorizationState", who.buyer.address, word("a1")),
    ];
    for (const call of calls) {
      await same("eth_call", [{ to: USDC, data: call }, "latest"]);
      await same("eth_call", [{ to: USDC, input: call }]);
    }
  });
  test("calldata that no function takes", async () => {
    const calls = ["0x", "0x12", data("noSuchThing"), data("balanceOf", who.buyer.address).slice(0, 40)];
    calls.push(`${data("balanceOf", zeroAddress).slice(0, 10)}${"f".repeat(64)}`); // Not an address.
    for (const call of calls) await same("eth_call", [{ to: USDC, data: call }, "latest"]);
    await same("eth_call", [{ to: USDC, data: "zz" }, "latest"], "code");
    await same("eth_call", [], "code");
    await same("eth_call", [{}, "latest"]);
  });
  test("transfers, allowances and value that is not taken", async () => {
    const from = who.buyer.address;
    const rows = [
      { from, data: data("transfer", who.seller.address, 10n) },
      { from, data: data("transfer", who.seller.address, 10n), value: "0x1" },
      { from, data: data("transfer", who.seller.address, maxUint256) },
      { from: who.seller.address, data: data("transfer", from, 1n) },
      { from: who.seller.address, data: data("transfer", from, 0n) },
      { from: who.seller.address, data: data("transferFrom", from, who.seller.address, 1n) },
      { from, data: data("approve", who.seller.address, 5n) },
      { from: who.seller.address, data: data("transfer", from, 0n), gas: "0x1" },
    ];
    for (const row of rows) await same("eth_call", [{ to: USDC, ...row }, "latest"]);
  });
  test("a call to nobody, and ether that is not there", async () => {
    await same("eth_call", [{ to: kNowhere, data: data("name") }, "latest"]);
    await same("eth_call", [{ to: who.seller.address, data: data("name") }, "latest"]);
    const call = { from: who.seller.address, to: kNowhere, value: "0xffffffffffffffffffffff" };
    await same("eth_call", [call, "latest"]);
  });
  test("gas: a number where it runs, the revert where it does not", async () => {
    const from = who.buyer.address;
    const good = { from, to: USDC, data: data("transfer", who.seller.address, 10n) };
    await same("eth_estimateGas", [good], "quantity");
    await same("eth_estimateGas", [{ ...good, from: who.seller.address }]);
    await same("eth_estimateGas", [{ from, to: kNowhere, value: "0x1" }]);
    await same("eth_fillTransaction", [{ ...good, from: who.seller.address }]);
  });
});

describe("transferWithAuthorization, as a facilitator simulates it", () => {
  // Each is a call that the genuine token answers in its own way.
  const cases = {
    "by v, r and s": async () => byVrs(await authorization()),
    "by bytes": async () => byBytes(await authorization()),
    "of nothing": async () => byVrs(await authorization({ value: 0n })),
    "more than there is": async () => byVrs(await authorization({ value: 10n ** 15n })),
    "to the zero address": async () => byVrs(await authorization({ to: zeroAddress })),
    "not yet valid": async () =>
      byVrs(await authorization({ validAfter: 3_900_000_000n })),
    expired: async () => byVrs(await authorization({ validBefore: 1_600_000_000n })),
    "with another value than signed": async () => {
      const signed = await authorization();
      return byVrs({ ...signed, message: { ...signed.message, value: 1_001n } });
    },
    "signed by somebody else": async () => byVrs(await authorization({}, { by: who.poor })),
    "signed for another domain": async () => {
      const { message } = await authorization();
      const domain = { ...kDomain, version: "1" };
      const primaryType = "TransferWithAuthorization";
      const types = { [primaryType]: kFields };
      const signature = await who.buyer.signTypedData({ domain, types, primaryType, message });
      return byVrs({ message, signature });
    },
    "v as 0 or 1": async () => {
      const signed = await authorization();
      const v = (split(signed.signature).v - 27).toString(16).padStart(2, "0");
      return byVrs({ ...signed, signature: signed.signature.slice(0, 130) + v });
    },
    "a high s": async () => {
      const signed = await authorization();
      return byVrs({ ...signed, signature: highS(signed.signature) });
    },
    "64 bytes": async () => {
      const signed = await authorization();
      return byBytes({ ...signed, signature: signed.signature.slice(0, 130) });
    },
    "66 bytes": async () => {
      const signed = await authorization();
      return byBytes({ ...signed, signature: `${signed.signature}00` });
    },
    "no signature": async () => byBytes({ ...(await authorization()), signature: "0x" }),
    "a signature of zeros": async () =>
      byVrs({ ...(await authorization()), signature: `0x${"00".repeat(64)}1b` }),
    "received by another than the payee": async () =>
      byVrs(
        await authorization({}, { type: "ReceiveWithAuthorization" }),
        "receiveWithAuthorization",
      ),
    "a transfer's signature for a receipt": async () =>
      byVrs(await authorization({ to: who.facilitator.address }), "receiveWithAuthorization"),
    "received by the payee": async () =>
      byVrs(
        await authorization(
          { to: who.facilitator.address },
          { type: "ReceiveWithAuthorization" },
        ),
        "receiveWithAuthorization",
      ),
  };
  for (const [name, make] of Object.entries(cases)) {
    test(name, async () => {
      const call = { from: who.facilitator.address, to: USDC, data: await make() };
      await same("eth_call", [call, "latest"]);
    });
  }
});

describe("Multicall3", () => {
  test("what the facilitator asks after a failed simulation, and its relatives", async () => {
    const reads = [
      data("balanceOf", who.buyer.address),
      data("name"),
      data("version"),
      data("authorizationState", who.buyer.address, word("a1")),
    ].map((callData) => ({ target: USDC, callData }));
    const bad = { target: USDC, callData: data("noSuchThing") };
    const broke = { target: USDC, callData: data("transfer", who.seller.address, 1n) };
    const nobody = { target: kNowhere, callData: "0x12345678" };
    const rows = [
      many("tryAggregate", false, [...reads, bad, broke, nobody]),
      many("tryAggregate", true, reads),
      many("tryAggregate", true, [...reads, bad]),
      many("tryAggregate", false, []),
      many("aggregate3", [...reads, bad].map((c) => ({ ...c, allowFailure: true }))),
      many("aggregate3", [...reads, bad].map((c) => ({ ...c, allowFailure: false }))),
      many("aggregate", [...reads, bad]),
      many("getEthBalance", who.facilitator.address),
      many("getChainId"),
      many("aggregate3", [
        { target: MULTICALL, allowFailure: true, callData: many("tryAggregate", false, reads) },
      ]),
      "0x11111111",
    ];
    for (const call of rows) await same("eth_call", [{ to: MULTICALL, data: call }, "latest"]);
    // aggregate also says the block it ran in.
    const call = { to: MULTICALL, data: many("aggregate", reads) };
    const answers = await Promise.all(nodes.map((node) => ask(node, "eth_call", call, "latest")));
    assert.equal(answers[1].result.slice(66), answers[0].result.slice(66));
  });
});

describe("transactions", () => {
  test("a payment by authorization: transaction, receipt, logs, block", async () => {
    const payment = byVrs(await authorization({ nonce: word("b1") }));
    const { hash } = await send("facilitator", { to: USDC, data: payment });
    const receipt = (await same("eth_getTransactionReceipt", [hash])).result;
    assert.equal(receipt.status, "0x1");
    assert.equal(receipt.logs.length, 2); // AuthorizationUsed, Transfer.
    await same("eth_getTransactionByHash", [hash]);
    await same("eth_getBlockByNumber", ["latest", false]);
    await same("eth_getBlockByNumber", ["latest", true]);
    await same("eth_getBlockReceipts", ["latest"]);
    await same("eth_getTransactionCount", [who.facilitator.address, "latest"]);
    const used = data("authorizationState", who.buyer.address, word("b1"));
    await same("eth_call", [{ to: USDC, data: used }, "latest"]);
    const call = { from: who.facilitator.address, to: USDC, data: payment };
    const again = await same("eth_call", [call, "latest"]);
    assert.match(again.error.message, /authorization is used or canceled/);
    await same("eth_estimateGas", [call]);
    await same("eth_fillTransaction", [call]);
  });
  test("one that reverts is mined as status 0 and says nothing", async () => {
    const payment = byVrs(await authorization({ nonce: word("b1") }));
    const { hash } = await send("facilitator", { to: USDC, data: payment });
    const receipt = (await same("eth_getTransactionReceipt", [hash])).result;
    assert.equal(receipt.status, "0x0");
    await same("eth_getTransactionByHash", [hash]);
  });
  test("transfers, an approval and its use, ether, of both types", async () => {
    const seller = who.seller.address;
    const facilitator = who.facilitator.address;
    const rows = [
      ["buyer", { to: USDC, data: data("transfer", seller, 5n) }],
      ["buyer", { to: USDC, data: data("approve", facilitator, 100n) }],
      ["facilitator", { to: USDC, data: data("transferFrom", who.buyer.address, seller, 60n) }],
      ["facilitator", { to: USDC, data: data("transferFrom", who.buyer.address, seller, 41n) }],
      ["facilitator", { to: kNowhere, value: 12_345n }],
    ];
    for (const [name, change] of rows) {
      const { hash } = await send(name, change);
      await same("eth_getTransactionReceipt", [hash]);
      await same("eth_getTransactionByHash", [hash]);
    }
    const legacy = {
      type: "legacy",
      maxFeePerGas: undefined,
      maxPriorityFeePerGas: undefined,
      gasPrice: parseGwei("10"),
    };
    const { hash } = await send("buyer", { ...legacy, to: USDC, data: data("transfer", seller, 7n) });
    await same("eth_getTransactionReceipt", [hash]);
    await same("eth_getTransactionByHash", [hash]);
    await same("eth_getBalance", [kNowhere, "latest"]);
    const allowance = data("allowance", who.buyer.address, facilitator);
    await same("eth_call", [{ to: USDC, data: allowance }, "latest"]);
    await same("eth_call", [{ to: USDC, data: data("balanceOf", seller) }, "latest"]);
  });
  test("a permit", async () => {
    const message = {
      owner: who.buyer.address,
      spender: who.seller.address,
      value: 10_000n,
      nonce: 0n,
      deadline: maxUint256,
    };
    const types = {
      Permit: ["address owner", "address spender", "uint256 value", "uint256 nonce"]
        .concat("uint256 deadline")
        .map((text) => ({ type: text.split(" ")[0], name: text.split(" ")[1] })),
    };
    const primaryType = "Permit";
    const signed = await who.buyer.signTypedData({ domain: kDomain, types, primaryType, message });
    const { r, s, v } = split(signed);
    const { owner, spender, value, deadline } = message;
    const permit = data("permit", owner, spender, value, deadline, v, r, s);
    const late = data("permit", owner, spender, value, 1_600_000_000n, v, r, s);
    const dearer = data("permit", owner, spender, value + 1n, deadline, v, r, s);
    for (const call of [permit, late, dearer]) {
      await same("eth_call", [{ to: USDC, data: call }, "latest"]);
    }
    const { hash } = await send("facilitator", { to: USDC, data: permit });
    await same("eth_getTransactionReceipt", [hash]);
    await same("eth_call", [{ to: USDC, data: permit }, "latest"]);
    await same("eth_call", [{ to: USDC, data: data("nonces", owner) }, "latest"]);
  });
  test("a token that is paused, and a payer who is denied", async () => {
    const payment = byVrs(await authorization({ nonce: word("c1") }));
    const call = { from: who.facilitator.address, to: USDC, data: payment };
    await send("facilitator", { to: USDC, data: data("setPaused", true) });
    await same("eth_call", [call, "latest"]);
    await send("facilitator", { to: USDC, data: data("setPaused", false) });
    await send("facilitator", { to: USDC, data: data("setBlacklisted", who.buyer.address, true) });
    await same("eth_call", [call, "latest"]);
    await send("facilitator", { to: USDC, data: data("setBlacklisted", who.buyer.address, false) });
    await same("eth_call", [call, "latest"]);
  });
  test("what the pool does not take", async () => {
    const change = { to: USDC, data: data("transfer", who.seller.address, 1n) };
    const keep = { next: false };
    const { raw } = await send("buyer", change);
    await same("eth_sendRawTransaction", [raw]); // Mined: nonce too low.
    await send("buyer", { ...change, nonce: 0 }, keep);
    await send("buyer", { ...change, chainId: 1 }, keep);
    await send("buyer", { ...change, gas: 20_000n }, keep);
    await send("buyer", { ...change, gas: 100_000_000n }, keep);
    await send("buyer", { ...change, maxFeePerGas: 1n, maxPriorityFeePerGas: 1n }, keep);
    await send("buyer", { to: kNowhere, value: 10n ** 22n }, keep);
    await same("eth_sendRawTransaction", ["0x02"]);
    await same("eth_sendRawTransaction", ["0xzz"], "code");
    await same("eth_sendRawTransaction", [], "code");
  });
  test("logs by address, topic and range", async () => {
    const transfer = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
    const used = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5";
    const seller = pad(who.seller.address).toLowerCase();
    const filters = [
      { address: USDC, topics: [used] },
      { address: [USDC, MULTICALL], topics: [[transfer, used], pad(who.buyer.address)] },
      { topics: [transfer, null, seller] },
      { address: MULTICALL },
      { address: USDC, topics: [used, null, null, word("00")] },
    ];
    for (const filter of filters) {
      const answers = await Promise.all(
        nodes.map(async (node) => {
          const from = `0x${(node.start + 1).toString(16)}`;
          const wanted = { fromBlock: from, toBlock: "latest", ...filter };
          return reduce(node, (await ask(node, "eth_getLogs", wanted)).result);
        }),
      );
      assert.deepEqual(answers[1], answers[0], JSON.stringify(filter));
    }
  });
});

describe("blocks on demand", () => {
  test("what waits is pending, in its order, and is mined when told", async () => {
    await same("evm_setAutomine", [false]);
    await same("anvil_getAutomine", []);
    const pay = (value) => ({ to: USDC, data: data("transfer", who.seller.address, value) });
    const first = nonces.buyer;
    const behind = await send("buyer", { ...pay(3n), nonce: first + 1 }, { next: false });
    await same("eth_getTransactionCount", [who.buyer.address, "pending"]);
    const front = await send("buyer", pay(2n), { next: false });
    await same("eth_sendRawTransaction", [front.raw]); // Already there.
    await same("eth_getTransactionCount", [who.buyer.address, "pending"]);
    await same("eth_getTransactionCount", [who.buyer.address, "latest"]);
    await same("eth_getTransactionByHash", [front.hash]);
    await same("eth_getTransactionReceipt", [front.hash]);
    await send("buyer", pay(4n), { next: false }); // As dear as the first: stays out.
    const dearer = { maxFeePerGas: parseGwei("20"), maxPriorityFeePerGas: parseGwei("2") };
    const instead = await send("buyer", { ...pay(4n), ...dearer }, { next: false });
    await same("evm_mine", []);
    await same("eth_getTransactionReceipt", [instead.hash]);
    await same("eth_getTransactionReceipt", [behind.hash]);
    await same("eth_getTransactionReceipt", [front.hash]);
    await same("eth_getBlockByNumber", ["latest", false]);
    nonces.buyer = first + 2;
    await same("evm_setAutomine", [true]);
  });
  test("mining, time and ether by hand", async () => {
    await same("anvil_mine", ["0x3"]);
    await same("anvil_mine", [2, 3]);
    await same("anvil_setBalance", [who.poor.address, "0x64"]);
    await same("eth_getBalance", [who.poor.address, "latest"]);
    await same("anvil_setNextBlockTimestamp", [1]);
    const far = 3_000_000_000;
    await same("evm_setNextBlockTimestamp", [far]);
    await same("evm_mine", []);
    for (const node of nodes) {
      const { result } = await ask(node, "eth_getBlockByNumber", "latest", false);
      assert.equal(Number(result.timestamp), far, node.name);
    }
    const late = byVrs(await authorization({ validBefore: 2_900_000_000n, nonce: word("d1") }));
    await same("eth_call", [{ to: USDC, data: late }, "latest"]);
  });
  test("a snapshot brings money, blocks and nonces back", async () => {
    const snapshots = [];
    for (const node of nodes) snapshots.push((await ask(node, "evm_snapshot")).result);
    const { hash } = await send(
      "buyer",
      { to: USDC, data: data("transfer", who.seller.address, 9n) },
      { next: false },
    );
    for (const [i, node] of nodes.entries()) {
      assert.equal((await ask(node, "evm_revert", snapshots[i])).result, true, node.name);
    }
    await same("eth_getTransactionReceipt", [hash]);
    await same("eth_getTransactionCount", [who.buyer.address, "latest"]);
    await same("eth_call", [{ to: USDC, data: data("balanceOf", who.seller.address) }, "latest"]);
  });
});

describe("the envelope", () => {
  test("batches and notifications", async () => {
    const chainId = { jsonrpc: "2.0", method: "eth_chainId", params: [] };
    const bodies = [
      [
        { ...chainId, id: 1 },
        { ...chainId, id: "x", method: "no_suchMethod" },
      ],
      { ...chainId, id: null },
      { jsonrpc: "2.0", id: 1, method: "eth_chainId", params: {} },
      { jsonrpc: "1.0", id: 1, method: "eth_chainId" },
      [],
      {},
      null,
    ];
    for (const body of bodies) {
      const [want, got] = await Promise.all(nodes.map((node) => post(node, body)));
      const code = (answer) => answer.body?.error && { ...answer.body.error, message: "" };
      assert.equal(got.status, want.status, JSON.stringify(body));
      if (code(want)) assert.deepEqual(code(got), code(want), JSON.stringify(body));
      else assert.deepEqual(got, want, JSON.stringify(body));
    }
    const [want, got] = await Promise.all(nodes.map((node) => post(node, chainId)));
    assert.deepEqual(got, want); // Nothing to say: 204.
  });
  test("browsers may ask", async () => {
    for (const node of nodes) {
      const headers = {
        origin: "https://example.com",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
      };
      const answer = await fetch(node.rpc, { method: "OPTIONS", headers });
      assert.ok(answer.ok, node.name);
      assert.equal(answer.headers.get("access-control-allow-origin"), "*", node.name);
      assert.match(answer.headers.get("access-control-allow-headers"), /content-type/, node.name);
      assert.match(answer.headers.get("access-control-allow-methods"), /POST/, node.name);
    }
  });
});
