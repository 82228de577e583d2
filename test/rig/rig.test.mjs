// The rig is trusted by every other test, so it proves its own claims first.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as peers from "./src/peers.mjs";
import * as rig from "./src/rig.mjs";

let chain;
before(async () => {
  chain = await rig.up();
});
after(() => chain?.stop());

async function authorize(from, to, value, nonce) {
  const account = rig.evmAccount(from);
  const message = {
    from: account.address,
    to: rig.evmAddress(to),
    value,
    validAfter: 0n,
    validBefore: 4_000_000_000n,
    nonce,
  };
  const names = ["address from", "address to", "uint256 value", "uint256 validAfter"];
  names.push("uint256 validBefore", "bytes32 nonce");
  const fields = names.map((n) => ({ type: n.split(" ")[0], name: n.split(" ")[1] }));
  const signature = await account.signTypedData({
    domain: {
      name: rig.USDC.name,
      version: rig.USDC.version,
      chainId: rig.CHAIN_ID,
      verifyingContract: rig.USDC.address,
    },
    types: { TransferWithAuthorization: fields },
    primaryType: "TransferWithAuthorization",
    message,
  });
  return [...Object.values(message), signature];
}

const transfer = {
  abi: [
    {
      type: "function",
      name: "transferWithAuthorization",
      stateMutability: "nonpayable",
      inputs: ["address", "address", "uint256", "uint256", "uint256", "bytes32", "bytes"].map(
        (type, i) => ({ type, name: `a${i}` }),
      ),
      outputs: [],
    },
  ],
  functionName: "transferWithAuthorization",
};

test("a payment signed for USDC moves the test dollar once, and says what USDC says twice", async () => {
  const { pub, wallet } = rig.evmClients(chain.rpc);
  const by = wallet(rig.evmAccount("facilitator"));
  const args = await authorize("buyer", "payee", 1000n, `0x${"07".repeat(32)}`);
  const call = { ...transfer, address: rig.USDC.address, args };
  const receipt = await pub.waitForTransactionReceipt({ hash: await by.writeContract(call) });
  assert.equal(receipt.status, "success");
  assert.equal(await rig.tokenBalance(chain.rpc, "payee"), 1000n);
  await assert.rejects(by.writeContract(call), /authorization is used or canceled/);
  assert.equal(await rig.tokenBalance(chain.rpc, "payee"), 1000n);
});

test("the token refuses an overdraw and a forged signer in USDC's words", async () => {
  const { wallet } = rig.evmClients(chain.rpc);
  const by = wallet(rig.evmAccount("facilitator"));
  const dear = await authorize("poor", "payee", 1000n, `0x${"08".repeat(32)}`);
  const token = { ...transfer, address: rig.USDC.address };
  await assert.rejects(by.writeContract({ ...token, args: dear }), /exceeds balance/);
  const forged = await authorize("mallory", "payee", 1000n, `0x${"09".repeat(32)}`);
  forged[0] = rig.evmAddress("buyer");
  await assert.rejects(by.writeContract({ ...token, args: forged }), /invalid signature/);
});

test("timed blocks hold a transaction back until the block", async () => {
  const slow = await rig.up({ blockTime: 1 });
  try {
    const { pub, wallet } = rig.evmClients(slow.rpc);
    const by = wallet(rig.evmAccount("facilitator"));
    const args = await authorize("buyer", "payee", 5n, `0x${"0a".repeat(32)}`);
    const hash = await by.writeContract({ ...transfer, address: rig.USDC.address, args });
    assert.equal((await pub.getTransaction({ hash })).blockNumber, null);
    const receipt = await pub.waitForTransactionReceipt({ hash });
    assert.equal(receipt.status, "success");
  } finally {
    await slow.stop();
  }
});

test("the official client pays the official server on this chain", async () => {
  const facilitator = await peers.startOfficialFacilitator(chain.rpc);
  const server = await peers.startOfficialServer(facilitator.url);
  try {
    const before = await rig.tokenBalance(chain.rpc, "payee");
    assert.equal((await fetch(`${server.url}/paid`)).status, 402);
    const response = await peers.fetchV2("buyer")(`${server.url}/paid`);
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), { paid: true });
    assert.equal(peers.receiptOf(response).success, true);
    assert.equal((await rig.tokenBalance(chain.rpc, "payee")) - before, 1000n);
    assert.equal(server.served(), 1);
  } finally {
    await server.stop();
    await facilitator.stop();
  }
});
