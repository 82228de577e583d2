// The refusals of the official servers, forged anew: the same fault under a fresh signature, sent over
// HTTP, gets the same status and reason. The recorded payments themselves, with the clock of the record,
// are src/rail/refusals_test.cc.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { authorize, decode, encode, offersOf, payHeader, paymentV1, paymentV2 } from "../rig/src/pay.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

let chain, upstream, server, url, offers, only2, only2Offers;
before(async () => {
  chain = await rig.up();
  upstream = await startUpstream();
  const routes = `
[[route]]
match = "GET /paid"
price = "$0.001"
[[route]]
match = "GET /only2"
price = "$0.001"
versions = [2]
`;
  server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes }));
  url = `${server.url}/paid`;
  offers = await offersOf(url);
  only2 = `${server.url}/only2`;
  only2Offers = await offersOf(only2);
});
after(async () => {
  await server?.stop();
  await upstream?.stop();
  await chain?.stop();
});

// The answer to a header as {status, reason, code, pointer, expected}; nothing may have been served.
async function refused(headers, { at = url, version = 2 } = {}) {
  const answer = await fetch(at, { headers });
  const body = await answer.json();
  const offer = answer.headers.get("payment-required");
  assert.equal(upstream.count(), 0, "the upstream was not asked");
  assert.equal(await rig.tokenBalance(chain.rpc, "payee"), 0n);
  assert.ok(offer, "a refusal carries the offer again");
  return {
    status: answer.status,
    reason: version === 1 ? body.error : decode(offer).error,
    code: body.code,
    pointer: body.pointer,
    expected: body.expected,
  };
}

const make = { 1: paymentV1, 2: paymentV2 };
const changed = (payment, change) => {
  const forged = structuredClone(payment);
  Object.assign(forged.payload.authorization, change);
  return forged;
};
const now = () => Math.floor(Date.now() / 1000);
const other = (text, at) => text.slice(0, at) + (text[at] === "0" ? "1" : "0") + text.slice(at + 1);

// Each makes a payment of that version with the fault of the recorded case.
const kSignature = { 1: "invalid_exact_evm_payload_signature", 2: "invalid_exact_evm_signature" };
const kFaults = {
  "domain-contract-other": {
    make: (v) => make[v](offers, { domain: { verifyingContract: rig.PERMIT2 } }),
    reason: kSignature,
    pointer: "/payload/signature",
  },
  "domain-chain-other": {
    make: (v) => make[v](offers, { domain: { chainId: 1 } }),
    reason: kSignature,
    pointer: "/payload/signature",
  },
  "domain-name-other": { make: (v) => make[v](offers, { domain: { name: "Other" } }), reason: kSignature },
  "domain-version-other": { make: (v) => make[v](offers, { domain: { version: "1" } }), reason: kSignature },
  "signer-other": { make: (v) => make[v](offers, { signer: "mallory" }), reason: kSignature },
  "from-changed-after-signing": {
    make: async (v) => changed(await make[v](offers), { from: rig.evmAddress("mallory") }),
    reason: kSignature,
  },
  "nonce-changed-after-signing": {
    make: async (v) => changed(await make[v](offers), { nonce: `0x${"11".repeat(32)}` }),
    reason: kSignature,
  },
  "valid-before-changed-after-signing": {
    make: async (v) => changed(await make[v](offers), { validBefore: String(now() + 200) }),
    reason: kSignature,
  },
  "value-changed-after-signing": {
    make: async (v) => changed(await make[v](offers, { auth: { value: "999" } }), { value: "1000" }),
    reason: kSignature,
  },
  "signature-flipped": {
    make: async (v) => {
      const payment = await make[v](offers);
      payment.payload.signature = other(payment.payload.signature, 40);
      return payment;
    },
    reason: kSignature,
  },
  "signature-zero": {
    make: async (v) => {
      const payment = await make[v](offers);
      payment.payload.signature = `0x${"00".repeat(65)}`;
      return payment;
    },
    reason: kSignature,
  },
  "signature-high-s": {
    make: async (v) => {
      const payment = await make[v](offers);
      const { signature } = payment.payload;
      const kOrder = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
      const s = kOrder - BigInt(`0x${signature.slice(66, 130)}`);
      const v27 = signature.slice(130) === "1b" ? "1c" : "1b";
      payment.payload.signature = signature.slice(0, 66) + s.toString(16).padStart(64, "0") + v27;
      return payment;
    },
    reason: kSignature,
  },
  "signature-64-bytes": {
    make: async (v) => {
      const payment = await make[v](offers);
      payment.payload.signature = payment.payload.signature.slice(0, 130);
      return payment;
    },
    reason: kSignature,
  },
  "amount-less": {
    make: (v) => make[v](offers, { auth: { value: "999" } }),
    reason: {
      1: "invalid_exact_evm_payload_authorization_value",
      2: "invalid_exact_evm_payload_authorization_value_mismatch",
    },
    pointer: "/payload/authorization/value",
  },
  "amount-more": {
    make: (v) => make[v](offers, { auth: { value: "1001" } }),
    reason: {
      1: "invalid_exact_evm_payload_authorization_value",
      2: "invalid_exact_evm_payload_authorization_value_mismatch",
    },
  },
  "recipient-other": {
    make: (v) => make[v](offers, { auth: { to: rig.evmAddress("mallory") } }),
    reason: {
      1: "invalid_exact_evm_payload_recipient_mismatch",
      2: "invalid_exact_evm_recipient_mismatch",
    },
    pointer: "/payload/authorization/to",
  },
  expired: {
    make: (v) => make[v](offers, { auth: { validBefore: String(now() - 10) } }),
    reason: "invalid_exact_evm_payload_authorization_valid_before",
    pointer: "/payload/authorization/validBefore",
  },
  "runs-out-in-5-s": {
    make: (v) => make[v](offers, { auth: { validBefore: String(now() + 5) } }),
    reason: "invalid_exact_evm_payload_authorization_valid_before",
  },
  "valid-for-a-year": {
    make: (v) => make[v](offers, { auth: { validBefore: String(now() + 365 * 86400) } }),
    reason: "invalid_exact_evm_payload_authorization_valid_before",
  },
  "not-yet-valid": {
    make: (v) => make[v](offers, { auth: { validAfter: String(now() + 120) } }),
    reason: "invalid_exact_evm_payload_authorization_valid_after",
    pointer: "/payload/authorization/validAfter",
  },
  "insufficient-funds": {
    make: (v) => make[v](offers, { who: "poor" }),
    reason: { 1: "insufficient_funds", 2: "invalid_exact_evm_insufficient_balance" },
    pointer: "/payload/authorization/from",
  },
  "value-2-pow-256": {
    make: async (v) => changed(await make[v](offers), { value: (1n << 256n).toString() }),
    reason: kSignature,
    pointer: "/payload/authorization/value",
  },
  "value-not-a-number": {
    make: async (v) => changed(await make[v](offers), { value: "abc" }),
    reason: "invalid_payload",
    pointer: "/payload/authorization/value",
  },
  "payload-empty": {
    make: async (v) => ({ ...(await make[v](offers)), payload: {} }),
    reason: "invalid_payload",
    pointer: "/payload/authorization",
  },
  "version-9": {
    make: async (v) => ({ ...(await make[v](offers)), x402Version: 9 }),
    reason: "invalid_x402_version",
    pointer: "/x402Version",
  },
};

for (const version of [2, 1]) {
  describe(`version ${version} over HTTP`, () => {
    for (const [name, fault] of Object.entries(kFaults)) {
      test(name, async () => {
        const said = await refused(payHeader(await fault.make(version), version), { version });
        assert.equal(said.status, 402);
        const { reason } = fault;
        assert.equal(said.reason, typeof reason === "string" ? reason : reason[version]);
        if (fault.pointer) assert.equal(said.pointer, fault.pointer);
        if (fault.pointer) assert.ok(said.expected, "it says what was expected");
        assert.notEqual(said.code, "payment_required", "rejected is not unpaid");
      });
    }
  });
}

describe("what was accepted is not what is on offer", () => {
  const kOther = {
    scheme: "upto",
    network: rig.OTHER_EVM.network,
    amount: "999",
    asset: rig.PERMIT2,
    payTo: rig.evmAddress("mallory"),
    maxTimeoutSeconds: 299,
    extra: { name: "Other", version: "2" },
  };
  for (const [member, value] of Object.entries(kOther)) {
    test(`accepted.${member}`, async () => {
      const accepted = { ...offers.v2.accepts[0], [member]: value };
      const payment = { ...(await paymentV2(offers)), accepted };
      const said = await refused(payHeader(payment));
      assert.equal(said.status, 402);
      assert.equal(said.reason, "No matching payment requirements");
      assert.equal(said.pointer, member === "extra" ? "/accepted/extra/name" : `/accepted/${member}`);
    });
  }

  test("version 1: another network, an unknown scheme", async () => {
    for (const change of [{ network: rig.OTHER_EVM.v1 }, { scheme: "nope" }]) {
      const payment = { ...(await paymentV1(offers)), ...change };
      const said = await refused(payHeader(payment), { version: 1 });
      assert.equal(said.status, 402);
      assert.equal(said.reason, "Unable to find matching payment requirements");
    }
  });
});

describe("headers", () => {
  const raw = (bytes) => Buffer.from(bytes).toString("base64");
  const kHeaders = {
    "not-base64": "!!!not base64!!!",
    "base64-not-json": raw("this is not json"),
    "json-null": raw("null"),
    "json-string": raw('"x"'),
    "json-list": raw("[]"),
    "json-number": raw("2"),
    "invalid-utf8": Buffer.concat([Buffer.from('{"'), Buffer.from([0xff, 0xfe]), Buffer.from('":1}')]).toString("base64"),
    "empty-object": raw("{}"),
    "two-values": raw('{"x402Version":2,"x402Version":2}'),
    "one-character": "A",
  };
  for (const [name, value] of Object.entries(kHeaders)) {
    test(`${name} by either header`, async () => {
      for (const version of [2, 1]) {
        const said = await refused(payHeader(value, version), { version });
        assert.equal(said.status, 402);
        assert.equal(said.reason, "invalid_payload");
      }
    });
  }

  test("a version 1 payment in PAYMENT-SIGNATURE, and the other way round", async () => {
    const crossed = await refused(payHeader(await paymentV1(offers), 2));
    assert.equal(crossed.reason, "invalid_x402_version");
    const back = await refused(payHeader(await paymentV2(offers), 1), { version: 1 });
    assert.equal(back.reason, "invalid_x402_version");
  });

  test("a version 1 payment at a version 2 route", async () => {
    const payload = await authorize(only2Offers.v2.accepts[0]);
    const payment = { x402Version: 1, scheme: "exact", network: rig.EVM_NETWORK_V1, payload };
    const said = await refused(payHeader(encode(payment), 1), { at: only2 });
    assert.equal(said.status, 402);
    assert.equal(said.code, "payment_version");
  });
});

test("schemes of later versions are refused as unsupported, and said so", async (t) => {
  const permit2 = { signature: `0x${"11".repeat(65)}`, permit2Authorization: { from: rig.evmAddress("buyer") } };
  const payment = { ...(await paymentV2(offers)), payload: permit2 };
  const said = await refused(payHeader(payment));
  assert.equal(said.status, 402);
  assert.equal(said.reason, "unsupported_payload_type");
  const svm = { ...(await paymentV2(offers)), payload: { transaction: "AAAA" } };
  assert.equal((await refused(payHeader(svm))).reason, "invalid_payload");
  t.diagnostic("unsupported in this version: exact on Solana, Permit2, upto");
});
