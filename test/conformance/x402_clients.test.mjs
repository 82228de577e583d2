// Unmodified official x402 clients of both versions pay routes on a real chain: content comes, the money
// moves exactly once for each call, receipts and books say so.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, beforeEach, describe, test } from "node:test";
import { parsePaymentRequired } from "@x402/core/schemas";
import { PaymentRequirementsSchema } from "x402/types";
import { books, decode, during as duringSale, offersOf } from "../rig/src/pay.mjs";
import { fetchV1, fetchV2, receiptOf } from "../rig/src/peers.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kPublic = "https://api.example.com";
const kRoutes = `
[[route]]
match = "GET /v1/quotes/*"
price = "$0.001"
description = "A quote"
mime_type = "application/json"
[[route]]
match = "POST /v1/orders"
price = "$0.01"
[[route]]
match = "GET /only2"
price = "$0.002"
versions = [2]
[[route]]
match = "GET /only1"
price = "$0.002"
versions = [1]
[[route]]
match = "/before/*"
price = "$0.003"
settle = "before"
[[route]]
match = "GET /events"
price = "$0.004"
[[route]]
match = "GET /events-before"
price = "$0.004"
settle = "before"
[[route]]
match = "GET /large"
price = "$0.005"
[[route]]
match = "/fails/*"
price = "$0.001"
[[route]]
match = "/free/*"
price = "free"
`;

const large = Buffer.alloc(3 << 20, "pontage ");
function answer(req, res, body) {
  const path = req.url.split("?")[0];
  if (path.startsWith("/events")) {
    res.writeHead(200, { "content-type": "text/event-stream" });
    for (let n = 1; n <= 3; n += 1) res.write(`id: ${n}\ndata: event ${n}\n\n`);
    return res.end();
  }
  if (path === "/large") return res.writeHead(200, { "content-type": "text/plain" }).end(large);
  if (path.startsWith("/fails/")) return res.writeHead(Number(path.slice(7))).end("it went wrong");
  res.writeHead(200, { "content-type": "application/json", "cache-control": "public, max-age=60" });
  return res.end(JSON.stringify({ method: req.method, url: req.url, body: body.toString() }));
}

let chain, upstream, server;
before(async () => {
  chain = await rig.up();
  upstream = await startUpstream(answer);
  server = await startPontage(
    sellerConfig({
      rpc: chain.rpc,
      upstream: upstream.url,
      server: `public_url = "${kPublic}"`,
      routes: kRoutes,
    }),
  );
});
after(async () => {
  await server?.stop();
  await upstream?.stop();
  await chain?.stop();
});

const during = (work) => duringSale({ chain, upstream }, work);

const clients = { v2: fetchV2, v1: fetchV1 };
const networkOf = { v2: rig.EVM_NETWORK, v1: rig.EVM_NETWORK_V1 };

async function checkPaid(response, version) {
  assert.equal(response.status, 200);
  const names = { v2: "payment-response", v1: "x-payment-response" };
  assert.ok(response.headers.get(names[version]), `${names[version]} is there`);
  const other = names[version === "v2" ? "v1" : "v2"];
  assert.equal(response.headers.get(other), null, `no ${other}`);
  assert.match(response.headers.get("cache-control"), /^private/);
  assert.doesNotMatch(response.headers.get("cache-control"), /public/);
  assert.equal(response.headers.get("payment-required"), null);
  const receipt = receiptOf(response);
  assert.equal(receipt.success, true);
  assert.equal(receipt.payer, rig.evmAddress("buyer"));
  assert.equal(receipt.network, networkOf[version]);
  assert.match(receipt.transaction, /^0x[0-9a-f]{64}$/);
  const mined = await rig.evmClients(chain.rpc).pub.getTransactionReceipt({ hash: receipt.transaction });
  assert.equal(mined.status, "success");
  return receipt;
}

for (const version of ["v2", "v1"]) {
  describe(`the official ${version} client`, () => {
    let pay;
    beforeEach(() => (pay = clients[version]("buyer")));

    test("pays a GET", async () => {
      const { value, gained, runs } = await during(() => pay(`${server.url}/v1/quotes/BTC`));
      await checkPaid(value, version);
      assert.equal((await value.json()).url, "/v1/quotes/BTC");
      assert.equal(gained, 1000n);
      assert.equal(runs, 1);
    });

    test("pays a GET with a query string, which arrives as it was sent", async () => {
      const query = "?a=1&b=%2F%20x&c=%C3%A9&a=2&d";
      const { value, gained } = await during(() => pay(`${server.url}/v1/quotes/ETH${query}`));
      await checkPaid(value, version);
      assert.equal((await value.json()).url, `/v1/quotes/ETH${query}`);
      assert.equal(gained, 1000n);
    });

    test("pays a POST, and its body arrives", async () => {
      const body = JSON.stringify({ side: "buy", of: "é".repeat(1000) });
      const headers = { "content-type": "application/json" };
      const init = { method: "POST", body, headers };
      const { value, gained, runs } = await during(() => pay(`${server.url}/v1/orders`, init));
      await checkPaid(value, version);
      const seen = await value.json();
      assert.equal(seen.body, body);
      assert.equal(seen.method, "POST");
      assert.equal(gained, 10_000n);
      assert.equal(runs, 1);
    });

    test("pays a route that settles before the upstream is asked", async () => {
      const { value, gained, runs } = await during(() => pay(`${server.url}/before/x`));
      await checkPaid(value, version);
      assert.equal(gained, 3000n);
      assert.equal(runs, 1);
    });

    for (const path of ["/events", "/events-before"]) {
      test(`pays for the event stream ${path}`, async () => {
        const { value, gained, runs } = await during(() => pay(`${server.url}${path}`));
        await checkPaid(value, version);
        assert.equal(value.headers.get("content-type"), "text/event-stream");
        assert.equal((await value.text()).match(/data: event/g).length, 3);
        assert.equal(gained, 4000n);
        assert.equal(runs, 1);
      });
    }

    test("pays for an answer that is too long to be held back", async () => {
      const { value, gained } = await during(() => pay(`${server.url}/large`));
      await checkPaid(value, version);
      assert.ok(Buffer.from(await value.arrayBuffer()).equals(large));
      assert.equal(gained, 5000n);
    });

    test("is not charged for the upstream's error, which it reads", async () => {
      for (const status of [400, 404, 500, 503]) {
        const { value, gained, runs } = await during(() => pay(`${server.url}/fails/${status}`));
        assert.equal(value.status, status);
        assert.equal(await value.text(), "it went wrong");
        assert.equal(receiptOf(value), null);
        assert.equal(gained, 0n);
        assert.equal(runs, 1);
      }
    });

    test("is served free routes without a payment", async () => {
      const { value, gained } = await during(() => pay(`${server.url}/free/x`));
      assert.equal(value.status, 200);
      assert.equal(receiptOf(value), null);
      assert.equal(gained, 0n);
    });

    test("pays ten calls in a row, each once", async () => {
      const { gained, runs, value } = await during(async () => {
        const hashes = new Set();
        for (let n = 0; n < 10; n += 1) {
          const response = await pay(`${server.url}/v1/quotes/${n}`);
          hashes.add(receiptOf(response).transaction);
          await response.text();
        }
        return hashes;
      });
      assert.equal(value.size, 10);
      assert.equal(gained, 10_000n);
      assert.equal(runs, 10);
    });
  });
}

test("a route narrowed to version 2 is paid by the v2 client and refuses the v1 client", async () => {
  const { value, gained } = await during(() => fetchV2("buyer")(`${server.url}/only2`));
  await checkPaid(value, "v2");
  assert.equal(gained, 2000n);
  const unpaid = await offersOf(`${server.url}/only2`);
  assert.equal(unpaid.v1, undefined);
  const refused = await during(() => fetchV1("buyer")(`${server.url}/only2`).catch((error) => error));
  assert.ok(refused.value instanceof Error || refused.value.status === 402);
  assert.equal(refused.gained, 0n);
  assert.equal(refused.runs, 0);
});

test("a route narrowed to version 1 is paid by both clients, which both speak it", async () => {
  for (const pay of [fetchV1("buyer"), fetchV2("buyer")]) {
    const { value, gained } = await during(() => pay(`${server.url}/only1`));
    await checkPaid(value, "v1");
    assert.equal(gained, 2000n);
  }
  assert.equal((await offersOf(`${server.url}/only1`)).v2, undefined);
});

test("offers are valid by the official schemas and name the public URL, whatever Host says", async () => {
  const hostile = { "x-forwarded-host": "evil.example", "x-forwarded-proto": "ftp" };
  const { status, v2, v1 } = await offersOf(`${server.url}/v1/quotes/BTC?x=1`, { headers: hostile });
  assert.equal(status, 402);
  const read = parsePaymentRequired(v2);
  assert.ok(read.success, JSON.stringify(read.error?.issues));
  assert.equal(v2.x402Version, 2);
  assert.equal(v2.resource.url, `${kPublic}/v1/quotes/BTC?x=1`);
  assert.equal(v2.resource.description, "A quote");
  assert.equal(v2.resource.mimeType, "application/json");
  const [offer] = v2.accepts;
  assert.equal(offer.network, rig.EVM_NETWORK);
  assert.equal(offer.amount, "1000");
  assert.equal(offer.asset, rig.USDC.address);
  assert.equal(offer.payTo, rig.evmAddress("payee"));
  assert.deepEqual(offer.extra, { name: rig.USDC.name, version: rig.USDC.version });
  assert.ok(offer.maxTimeoutSeconds >= 300);
  assert.equal("paymentFlow" in offer.extra, false, "clients drop flows that they do not know");

  assert.equal(v1.x402Version, 1);
  for (const one of v1.accepts) {
    const parsed = PaymentRequirementsSchema.safeParse(one);
    assert.ok(parsed.success, JSON.stringify(parsed.error?.issues));
  }
  assert.equal(v1.accepts[0].network, rig.EVM_NETWORK_V1);
  assert.equal(v1.accepts[0].maxAmountRequired, "1000");
  assert.equal(v1.accepts[0].resource, `${kPublic}/v1/quotes/BTC?x=1`);
});

test("the offer header is one line of padded standard base64", async () => {
  const answer = await new Promise((resolve, reject) =>
    http.get(`${server.url}/v1/quotes/BTC`, resolve).once("error", reject),
  );
  answer.resume();
  const lines = answer.rawHeaders.filter((_, i) => i % 2 === 0 && /^payment-required$/i.test(answer.rawHeaders[i]));
  assert.equal(lines.length, 1);
  const value = answer.headers["payment-required"];
  assert.match(value, /^[A-Za-z0-9+/]+={0,2}$/);
  assert.equal(value.length % 4, 0);
  assert.equal(decode(value).x402Version, 2);
  assert.match(answer.headers["cache-control"], /no-store/);
});

test("the books agree with the chain: one settled row for each payment, none for what was not charged", async () => {
  // That an answer has left is written down right behind it.
  let rows;
  await rig.until(async () => {
    rows = await books(server, "--limit", "1000");
    return rows.every((row) => row.delivery !== "pending");
  });
  const settled = rows.filter((row) => row.state === "settled");
  const sum = settled.reduce((total, row) => total + BigInt(row.amount), 0n);
  assert.equal(sum, await rig.tokenBalance(chain.rpc, "payee"));
  assert.equal(new Set(settled.map((row) => row.transaction)).size, settled.length);
  for (const row of settled) {
    assert.equal(row.payer, rig.evmAddress("buyer"));
    assert.equal(row.network, rig.EVM_NETWORK);
    assert.equal(row.delivery, "delivered", row.id);
    assert.equal(row.upstream_status === 200 || row.route.includes("before"), true, row.route);
  }
  const failed = rows.filter((row) => row.route === "/fails/*");
  assert.equal(failed.length, 8);
  for (const row of failed) assert.equal(row.state, "voided");
  assert.equal(rows.length, settled.length + failed.length);
});
