// Three gateways on one PostgreSQL, every payment shown to all of them at once, and the database killed under
// that load: at the end the books, the chain, the upstream and the buyers must agree about each payment.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, books, offersOf, payHeader, paymentV1 } from "../rig/src/pay.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { createDatabase, startPostgres } from "../rig/src/postgres.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kPayments = 60;
const kAtOnce = 15;
const kPause = 1_500; // for which there is no database
const kClosed = ["settled", "expired", "voided"];
const kRoutes = '[[route]]\nmatch = "GET /paid/*"\nprice = "$0.001"\n';
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let chain, server, database, upstream;
const nodes = [];
before(async () => {
  chain = await rig.up();
  server = await startPostgres();
  database = await createDatabase({ server: server.url });
  upstream = await startUpstream();
  const toml = sellerConfig({
    rpc: chain.rpc,
    upstream: upstream.url,
    routes: kRoutes,
    store: database.url,
    x402: 'settle_timeout = "3s"',
  });
  for (let i = 0; i < 3; i += 1) nodes.push(await startPontage(toml));
});
after(async () => {
  for (const node of nodes) await node.stop();
  await upstream?.stop();
  await server?.stop();
  await chain?.stop();
});

const odd = [];
// One request. What a buyer may hear: his goods; that the payment is used, or being used; wait.
async function show(payment, node) {
  const answer = await ask(`${node.url}${payment.path}`, payment.headers);
  payment.heard.push(`${answer.status}${answer.code ? `:${answer.code}` : ""}`);
  if (answer.status === 200) payment.served += 1;
  const fresh = answer.headers.get("payment-required");
  if (![200, 402, 409, 503].includes(answer.status)) odd.push(`${payment.path} ${answer.status} ${answer.text}`);
  if (answer.status === 503 && !/^\d+$/.test(answer.headers.get("retry-after") ?? "")) odd.push(`${payment.path} no Retry-After`);
  if (answer.status !== 200 && fresh && answer.code !== "payment_lapsed") odd.push(`${payment.path} asked to sign again: ${answer.text}`);
  return answer;
}
// What it heard, repetitions counted.
function story(payment) {
  const runs = [];
  for (const word of payment.heard) {
    if (runs.at(-1)?.word === word) runs.at(-1).times += 1;
    else runs.push({ word, times: 1 });
  }
  return `${payment.path} heard ${runs.map(({ word, times }) => (times > 1 ? `${word} x${times}` : word)).join(" ")}`;
}
// Signs it and shows it to all three at once until one of them serves it, or it is known to be over.
async function buy(payment, offers) {
  payment.headers = payHeader(await paymentV1(offers));
  const end = Date.now() + 90_000;
  for (;;) {
    const answers = await Promise.all(nodes.map((node) => show(payment, node)));
    if (payment.served > 0) return;
    const over = answers.some((one) => one.status === 402 && one.code === "payment_lapsed");
    if (over) return;
    assert.ok(Date.now() < end, `no end: ${story(payment)}`);
    await wait(300);
  }
}

test("PostgreSQL is killed under three gateways and every payment still runs once, is charged once and served once", { timeout: 200_000 }, async () => {
  const had = await rig.tokenBalance(chain.rpc, "payee");
  const offers = await offersOf(`${nodes[0].url}/paid/any`);
  const payments = Array.from({ length: kPayments }, (_, k) => ({ path: `/paid/p${k}`, served: 0, heard: [] }));
  const waiting = [...payments];
  const buyer = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await buy(next, offers);
  };
  const buyers = Promise.all(Array.from({ length: kAtOnce }, buyer));
  await rig.until(() => payments.filter((one) => one.served > 0).length >= kPayments / 4, { withinMs: 60_000, label: "under load" });
  await server.crash();
  await wait(kPause);
  for (const node of nodes) assert.equal((await fetch(`${node.url}/healthz`)).status, 200, "the process lives");
  await server.start();
  await buyers;
  assert.deepEqual(odd, []);
  assert.ok(payments.some((one) => one.heard.some((word) => word.startsWith("503"))), "somebody came while it was down");

  const rows = await rig.until(
    async () => {
      const all = await books(nodes[0], "--limit", "1000");
      return all.every((row) => kClosed.includes(row.state) && row.delivery !== "pending") ? all : undefined;
    },
    { withinMs: 60_000, everyMs: 500, label: "all closed" },
  );
  // Who was told 200 and who was charged are the same, one for one; nobody is owed anything.
  const settled = new Map(rows.filter((row) => row.state === "settled").map((row) => [row.resource, row]));
  for (const payment of payments) {
    const told = story(payment);
    assert.ok(payment.served <= 1, `served twice: ${told}`);
    assert.equal(settled.has(payment.path), payment.served === 1, `served and charged: ${told}`);
    if (payment.served) assert.equal(settled.get(payment.path).delivery, "delivered", told);
  }
  assert.ok(settled.size >= kPayments / 2, `${settled.size} of ${kPayments} were sold`);
  // The chain: each has its own transfer, nothing else moved, and nothing was sent twice.
  assert.equal((await rig.tokenBalance(chain.rpc, "payee")) - had, BigInt(settled.size) * 1000n);
  await rig.eachHasItsTransfer(chain.rpc, [...settled.values()].map((row) => row.transaction));
  assert.equal(await database.count("outgoing_transaction WHERE receipt_status = 0"), 0, "none was reverted");
  await rig.until(async () => (await database.count("outgoing_transaction WHERE state IN ('signed', 'broadcast')")) === 0, {
    withinMs: 60_000,
    everyMs: 500,
    label: "no transaction is left",
  });
  // The upstream: once for each time that the books allowed it.
  const allowed = new Map(
    await database.rows(
      `SELECT resource, sum(1 + (SELECT count(*) FROM reservation_event WHERE reservation = id AND what = 'redeeming'))
       FROM reservation GROUP BY resource`,
    ),
  );
  for (const payment of payments) {
    const runs = upstream.count(payment.path);
    assert.ok(runs <= Number(allowed.get(payment.path) ?? 0), `${payment.path} ran ${runs} times, ${allowed.get(payment.path)} allowed`);
    assert.ok(payment.served === 0 || runs >= 1, `${payment.path} was served without work`);
  }
  const keys = upstream.requests.map((request) => `${request.url} ${request.headers["idempotency-key"]}`);
  const once = new Set(keys);
  const redeemed = await database.count("reservation_event WHERE what = 'redeeming'");
  assert.ok(keys.length - once.size <= redeemed, `${keys.length - once.size} runs were repeated, ${redeemed} redeemed`);
});
