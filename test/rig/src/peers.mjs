// The official x402 peers, unmodified, as its users set them up: clients of both versions, and a server
// and facilitator of version 2 to compare ours with.
import { x402Facilitator } from "@x402/core/facilitator";
import { HTTPFacilitatorClient } from "@x402/core/server";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { registerExactEvmScheme as registerForClient } from "@x402/evm/exact/client";
import { registerExactEvmScheme as registerForFacilitator } from "@x402/evm/exact/facilitator";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import { wrapFetchWithPayment as wrapV2, x402Client } from "@x402/fetch";
import express from "express";
import { createWalletClient, http } from "viem";
import { base, baseSepolia } from "viem/chains";
import { wrapFetchWithPayment as wrapV1 } from "x402-fetch";
import * as config from "./config.mjs";
import { evmClients } from "./rig.mjs";

// A `fetch` that pays as `who` by @x402/fetch; it speaks v2 and, to old servers, v1.
export function fetchV2(who, underlying = fetch) {
  const client = registerForClient(new x402Client(), { signer: config.evmAccount(who) });
  return wrapV2(underlying, client);
}

// A `fetch` that pays as `who` by x402-fetch, which speaks v1 alone.
export function fetchV1(who, underlying = fetch) {
  const chain = { [base.id]: base, [baseSepolia.id]: baseSepolia }[config.CHAIN_ID];
  // It signs and sends nothing: the transport is never used.
  const transport = http("http://127.0.0.1:1");
  return wrapV1(
    underlying,
    createWalletClient({ account: config.evmAccount(who), chain, transport }),
  );
}

// The receipt of an answer: the JSON of PAYMENT-RESPONSE (v2) or X-PAYMENT-RESPONSE (v1), or null.
export function receiptOf(response) {
  const header =
    response.headers.get("payment-response") ?? response.headers.get("x-payment-response");
  return header && JSON.parse(Buffer.from(header, "base64").toString("utf8"));
}

async function listen(app) {
  const server = app.listen(0, "127.0.0.1");
  await new Promise((resolve, reject) => server.once("listening", resolve).once("error", reject));
  const { port } = server.address();
  const stop = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  return { port, url: `http://127.0.0.1:${port}`, stop };
}

// The official facilitator over HTTP, settling exact EVM payments on the chain at `rpc`.
export async function startOfficialFacilitator(rpc) {
  const account = config.evmAccount("facilitator");
  const client = evmClients(rpc).wallet(account);
  const signer = toFacilitatorEvmSigner({
    address: account.address,
    getCode: (args) => client.getCode(args),
    readContract: (args) => client.readContract({ ...args, args: args.args ?? [] }),
    verifyTypedData: (args) => client.verifyTypedData(args),
    writeContract: (args) => client.writeContract({ ...args, args: args.args ?? [] }),
    sendTransaction: (args) => client.sendTransaction(args),
    waitForTransactionReceipt: (args) => client.waitForTransactionReceipt(args),
  });
  const facilitator = new x402Facilitator();
  registerForFacilitator(facilitator, { signer, networks: config.EVM_NETWORK });

  const app = express();
  app.use(express.json());
  const answer = (work) => async (req, res) => {
    try {
      res.json(await work(req.body));
    } catch (error) {
      res.status(500).json({ error: String(error?.message ?? error) });
    }
  };
  app.post(
    "/verify",
    answer((b) => facilitator.verify(b.paymentPayload, b.paymentRequirements)),
  );
  app.post(
    "/settle",
    answer((b) => facilitator.settle(b.paymentPayload, b.paymentRequirements)),
  );
  app.get(
    "/supported",
    answer(() => facilitator.getSupported()),
  );
  return listen(app);
}

// The official Express server selling GET /paid for $0.001 to `payee`, settling at `facilitatorUrl`.
// `served()` counts how often the handler ran.
export async function startOfficialServer(facilitatorUrl, { price = "$0.001" } = {}) {
  const facilitator = new HTTPFacilitatorClient({ url: facilitatorUrl });
  const resources = new x402ResourceServer(facilitator);
  resources.register(config.EVM_NETWORK, new ExactEvmScheme());
  const accepts = {
    scheme: "exact",
    price,
    network: config.EVM_NETWORK,
    payTo: config.evmAddress("payee"),
  };
  let runs = 0;
  const app = express();
  app.use(paymentMiddleware({ "GET /paid": { accepts, description: "a test" } }, resources));
  app.get("/paid", (req, res) => {
    runs += 1;
    res.json({ paid: true });
  });
  return { ...(await listen(app)), served: () => runs };
}
