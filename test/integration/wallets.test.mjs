// Payers beyond a plain key, on a real chain: contract wallets (ERC-1271) and accounts that delegate to code
// (EIP-7702) are judged by their contract and by nothing else; wallets that are yet to be deployed
// (ERC-6492) are refused with their reason.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { settleRequest } from "../rig/src/pay.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";

const kMagic6492 = "6492".repeat(16);

describe("payers with code", () => {
  let chain, server;
  before(async () => {
    chain = await rig.up();
    server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: "http://127.0.0.1:9", routes: "" }), {
      args: ["--role", "facilitator"],
    });
  });
  after(async () => {
    await server?.stop();
    await chain?.stop();
  });

  const post = async (path, body) => {
    const answer = await fetch(`${server.url}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return answer.json();
  };
  // A payment of `from`, signed by the key of `signer`.
  const paymentOf = (from, signer) => settleRequest(undefined, { signer, auth: { from: rig.evmAddress(from) } });
  const settles = async (body) => {
    const had = await rig.tokenBalance(chain.rpc, "payee");
    assert.deepEqual(await post("/verify", body), { isValid: true, payer: body.paymentPayload.payload.authorization.from });
    const said = await post("/settle", body);
    assert.equal(said.success, true, JSON.stringify(said));
    assert.equal((await rig.tokenBalance(chain.rpc, "payee")) - had, 1000n);
    await rig.eachHasItsTransfer(chain.rpc, [said.transaction]);
  };
  const refused = async (body, reason) => {
    const had = await rig.tokenBalance(chain.rpc, "payee");
    const verified = await post("/verify", body);
    assert.equal(verified.isValid, false);
    assert.equal(verified.invalidReason, reason);
    const said = await post("/settle", body);
    assert.equal(said.success, false);
    assert.equal(said.errorReason, reason);
    assert.equal(await rig.tokenBalance(chain.rpc, "payee"), had);
  };

  test("a contract wallet pays by its owner's signature", async () => {
    await settles(await paymentOf(rig.WALLET_1271, "buyer"));
  });

  test("a contract wallet pays by a signature that no key has", async () => {
    const body = await paymentOf(rig.WALLET_1271, "buyer");
    const { payload } = body.paymentPayload;
    payload.signature = `0x01${payload.signature.slice(2)}`;
    await settles(body);
  });

  test("a contract wallet does not pay by somebody else's signature", async () => {
    await refused(await paymentOf(rig.WALLET_1271, "mallory"), "invalid_exact_evm_signature");
  });

  test("an account that delegates to code pays by what its code says, not by its key", async () => {
    const delegate = `0xef0100${rig.WALLET_1271.slice(2)}`;
    await rig.rpcCall(chain.rpc, "anvil_setCode", rig.evmAddress("fresh"), delegate);
    await refused(await paymentOf("fresh", "fresh"), "invalid_exact_evm_signature");
    await settles(await paymentOf("fresh", "buyer"));
  });

  test("a wallet that is yet to be deployed is refused, and no factory is called", async () => {
    const body = await paymentOf("mallory", "mallory");
    const { payload } = body.paymentPayload;
    payload.signature = `${payload.signature}${kMagic6492}`;
    await refused(body, "eip6492_factory_not_allowed");
  });

  test("a wallet's payment shares its transaction with nobody", async () => {
    const bodies = await Promise.all(
      Array.from({ length: 12 }, (_, i) => (i % 3 ? settleRequest(rig.evmAccount("buyer")) : paymentOf(rig.WALLET_1271, "buyer"))),
    );
    const said = await Promise.all(bodies.map((body) => post("/settle", body)));
    assert.ok(said.every((one) => one.success), JSON.stringify(said));
    for (const [i, one] of said.entries()) {
      if (i % 3 === 0) assert.equal(said.filter((other) => other.transaction === one.transaction).length, 1);
    }
  });
});
