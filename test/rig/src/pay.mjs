// Payments made by hand, so that a test can make wrong ones: offers read, authorizations signed, headers
// built, each step open to be altered. The official clients are in peers.mjs.
import { randomBytes } from "node:crypto";
import * as config from "./config.mjs";
import { run } from "./pontage.mjs";
import { tokenBalance } from "./rig.mjs";

export const encode = (value) => Buffer.from(JSON.stringify(value), "utf8").toString("base64");
export const decode = (text) => JSON.parse(Buffer.from(text, "base64").toString("utf8"));

// What an unpaid request hears: {status, v2, v1}, each offer as its version has it, undefined if absent.
export async function offersOf(url, init) {
  const answer = await fetch(url, init);
  const header = answer.headers.get("payment-required");
  const text = await answer.text();
  const body = answer.headers.get("content-type")?.startsWith("application/json") ? JSON.parse(text) : {};
  return {
    status: answer.status,
    v2: header ? decode(header) : undefined,
    v1: body.accepts ? body : undefined,
  };
}

const kTypes = {
  TransferWithAuthorization: [
    ["from", "address"],
    ["to", "address"],
    ["value", "uint256"],
    ["validAfter", "uint256"],
    ["validBefore", "uint256"],
    ["nonce", "bytes32"],
  ].map(([name, type]) => ({ name, type })),
};

// {signature, authorization} for one requirement of an offer. `auth` and `domain` replace members before
// signing; `signer` signs instead of the payer `who`; `account` (of viem) is a payer of the caller's own.
export async function authorize(requirement, { who = "buyer", signer = who, account, auth = {}, domain = {} } = {}) {
  const now = Math.floor(Date.now() / 1000);
  const authorization = {
    from: account?.address ?? config.evmAddress(who),
    to: requirement.payTo,
    value: requirement.amount ?? requirement.maxAmountRequired,
    validAfter: "0",
    validBefore: String(now + requirement.maxTimeoutSeconds),
    nonce: `0x${randomBytes(32).toString("hex")}`,
    ...auth,
  };
  const signature = await (account ?? config.evmAccount(signer)).signTypedData({
    domain: {
      name: requirement.extra.name,
      version: requirement.extra.version,
      chainId: config.CHAIN_ID,
      verifyingContract: requirement.asset,
      ...domain,
    },
    types: kTypes,
    primaryType: "TransferWithAuthorization",
    message: authorization,
  });
  return { signature, authorization };
}

// A body of the facilitator's /settle (and /verify) in which `account` pays the seller of the rig `amount`.
export async function settleRequest(account, { amount = "1000", seconds = 300, ...how } = {}) {
  const requirement = {
    scheme: "exact",
    network: config.EVM_NETWORK,
    amount,
    asset: config.USDC.address,
    payTo: config.evmAddress("payee"),
    maxTimeoutSeconds: seconds,
    extra: { name: config.USDC.name, version: config.USDC.version },
  };
  const payload = await authorize(requirement, { account, ...how });
  const payment = { x402Version: 2, accepted: requirement, payload };
  return { x402Version: 2, paymentPayload: payment, paymentRequirements: requirement };
}

// The payment objects of both versions out of what offersOf heard; `how` goes to authorize.
export async function paymentV2(offers, how) {
  const [accepted] = offers.v2.accepts;
  const payload = await authorize(accepted, how);
  return { x402Version: 2, resource: offers.v2.resource, accepted, payload };
}
export async function paymentV1(offers, how) {
  const [requirement] = offers.v1.accepts;
  const { scheme, network } = requirement;
  return { x402Version: 1, scheme, network, payload: await authorize(requirement, how) };
}

// The header that carries a payment (an object) or any text in its place.
export function payHeader(payment, version = payment.x402Version) {
  const value = typeof payment === "string" ? payment : encode(payment);
  return { [version === 1 ? "X-PAYMENT" : "PAYMENT-SIGNATURE"]: value };
}

// Asks for the offers of `url` and pays by hand, once. `how` may name a `version`.
export async function payOnce(url, init = {}, { version = 2, ...how } = {}) {
  const offers = await offersOf(url, init);
  const payment = await (version === 1 ? paymentV1 : paymentV2)(offers, how);
  return fetch(url, { ...init, headers: { ...init.headers, ...payHeader(payment) } });
}

// The header of a fresh payment for `url`.
export const sign = async (url, make = paymentV2, init = undefined) => payHeader(await make(await offersOf(url, init)));

// One request read to its end: {status, code, type, headers, receipt, text}; `code` of a problem, and
// the receipt decoded, undefined where there is none.
export async function ask(url, headers = {}, init = {}) {
  const answer = await fetch(url, { ...init, headers });
  const text = await answer.text();
  const type = answer.headers.get("content-type") ?? "";
  const receipt = answer.headers.get("payment-response") ?? answer.headers.get("x-payment-response");
  return {
    status: answer.status,
    code: type.includes("json") ? JSON.parse(text).code : undefined,
    type,
    headers: answer.headers,
    receipt: receipt ? decode(receipt) : undefined,
    text,
  };
}

// What the payee gained and how often the upstream ran while `work` did: {value, gained, runs}.
export async function during({ chain, upstream }, work) {
  const had = await tokenBalance(chain.rpc, "payee");
  const ran = upstream.requests.length;
  const value = await work();
  return {
    value,
    gained: (await tokenBalance(chain.rpc, "payee")) - had,
    runs: upstream.requests.length - ran,
  };
}

// The rows of the books, newest first, by `pontage payments`.
export async function books(server, ...args) {
  const done = await run(["payments", "--json", "--config", server.file, ...args], {
    cwd: server.dir,
    env: { PONTAGE_EVM_KEY: config.evmKey("facilitator") },
  });
  if (done.code !== 0) throw new Error(`pontage payments: ${done.code}\n${done.stderr}`);
  return JSON.parse(done.stdout).payments;
}
