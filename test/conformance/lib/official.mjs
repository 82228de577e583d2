// The official x402 peers, wired as their documentation says and otherwise untouched: facilitator and
// Express servers of version 2 (@x402/* 2.27) and version 1 (x402-* 1.2), and fetch clients that pay.
// Everything listens on loopback, on a port the system picks, and is ended by its stop().
//
//   const facilitator = await startOfficialFacilitator({ rpc, key });
//   const server = await startOfficialServer({ facilitator: facilitator.url, payTo });
//   const pay = payingFetch({ key: buyerKey });
//   const answer = await pay(`${server.url}/quote`);
import { x402Facilitator } from "@x402/core/facilitator";
import { HTTPFacilitatorClient } from "@x402/core/server";
import { ExactEvmScheme as ExactEvmClient, toFacilitatorEvmSigner } from "@x402/evm";
import { registerExactEvmScheme } from "@x402/evm/exact/facilitator";
import { ExactEvmScheme as ExactEvmServer } from "@x402/evm/exact/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import express from "express";
import { createWalletClient, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { base, baseSepolia } from "viem/chains";
import { paymentMiddleware as paymentMiddlewareV1 } from "x402-express";
import { wrapFetchWithPayment as wrapFetchV1 } from "x402-fetch";

const kChains = { 84532: baseSepolia, 8453: base };
const kNamesV1 = { 84532: "base-sepolia", 8453: "base" };

// Serves `app`; {url, port, stop}. stop() also ends connections that are kept alive.
export async function listen(app, port = 0) {
  const server = await new Promise((resolve, reject) => {
    const starting = app.listen(port, "127.0.0.1", () => resolve(starting));
    starting.once("error", reject);
  });
  const stop = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  const bound = server.address().port;
  return { url: `http://127.0.0.1:${bound}`, port: bound, stop };
}

// A viem client that signs with `key` and reads the chain at `rpc`.
export function walletOn(rpc, key, { chainId = 84532, pollingInterval = 50 } = {}) {
  return createWalletClient({
    account: privateKeyToAccount(key),
    chain: kChains[chainId],
    transport: http(rpc, { retryCount: 0 }),
    pollingInterval,
  }).extend(publicActions);
}

// The official facilitator over HTTP: /verify, /settle, /supported for version 2 and 1. `key` pays
// the gas. `seen` counts what it was asked.
export async function startOfficialFacilitator({ rpc, key, chainId = 84532, port = 0 }) {
  const wallet = walletOn(rpc, key, { chainId });
  const signer = toFacilitatorEvmSigner({ ...wallet, address: wallet.account.address });
  const facilitator = registerExactEvmScheme(new x402Facilitator(), {
    signer,
    networks: `eip155:${chainId}`,
  });
  const seen = { verify: 0, settle: 0 };
  const app = express().use(express.json({ limit: "1mb" }));
  const answer = (name) => async (request, response) => {
    seen[name] += 1;
    try {
      const { paymentPayload, paymentRequirements } = request.body;
      response.json(await facilitator[name](paymentPayload, paymentRequirements));
    } catch (error) {
      response.status(500).json({ error: `${error}` });
    }
  };
  app.post("/verify", answer("verify"));
  app.post("/settle", answer("settle"));
  app.get("/supported", (request, response) => response.json(facilitator.getSupported()));
  return { ...(await listen(app, port)), address: wallet.account.address, facilitator, seen };
}

// GET and POST /quote for `price`, GET /free for nothing. `served` counts how often the paid handler
// ran.
function quoteApp(guard) {
  const served = { quote: 0 };
  const app = express().use(express.json());
  app.use(guard);
  app.all("/quote", (request, response) => {
    served.quote += 1;
    response.json({ quote: 42, method: request.method, echo: request.body ?? null });
  });
  app.get("/free", (request, response) => response.json({ free: true }));
  return { app, served };
}

// The official Express server, version 2.
export async function startOfficialServer({
  facilitator,
  payTo,
  price = "$0.001",
  chainId = 84532,
  port = 0,
}) {
  const resources = new x402ResourceServer(new HTTPFacilitatorClient({ url: facilitator }));
  resources.register(`eip155:${chainId}`, new ExactEvmServer());
  const accepts = { scheme: "exact", price, network: `eip155:${chainId}`, payTo };
  const route = { accepts, description: "a quote", mimeType: "application/json" };
  const guard = paymentMiddleware({ "GET /quote": route, "POST /quote": route }, resources);
  const { app, served } = quoteApp(guard);
  return { ...(await listen(app, port)), served };
}

// The official Express server, version 1.
export async function startOfficialServerV1({
  facilitator,
  payTo,
  price = "$0.001",
  chainId = 84532,
  port = 0,
}) {
  const route = { price, network: kNamesV1[chainId] };
  const routes = { "GET /quote": route, "POST /quote": route };
  const { app, served } = quoteApp(paymentMiddlewareV1(payTo, routes, { url: facilitator }));
  return { ...(await listen(app, port)), served };
}

// The official client, version 2: a fetch that pays. It needs no chain.
export function payingFetch({ key, chainId = 84532, fetch = globalThis.fetch }) {
  const client = new ExactEvmClient(privateKeyToAccount(key));
  return wrapFetchWithPaymentFromConfig(fetch, {
    schemes: [{ network: `eip155:${chainId}`, client }],
  });
}

// The official client, version 1.
export function payingFetchV1({ key, rpc, chainId = 84532, fetch = globalThis.fetch }) {
  return wrapFetchV1(fetch, walletOn(rpc, key, { chainId }));
}

// The receipt in either version's header; null when there is none.
export function receiptOf(response) {
  const header =
    response.headers.get("payment-response") ?? response.headers.get("x-payment-response");
  return header ? decodePaymentResponseHeader(header) : null;
}
