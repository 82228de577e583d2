// The bars that the reference implementations miss: one payment buys once, however often, fast and in
// whatever spelling it is sent; many payments at once are all served.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { books, decode, during as duringSale, offersOf, payHeader, paymentV1, paymentV2, payOnce } from "../rig/src/pay.mjs";
import { fetchV2, receiptOf } from "../rig/src/peers.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoutes = `
[[route]]
match = "/paid/*"
price = "$0.001"
[[route]]
match = "/before/*"
price = "$0.001"
settle = "before"
[[route]]
match = "/dear/*"
price = "$0.002"
[[route]]
match = "/again/*"
price = "$0.001"
replay = "answer"
`;

let chain, upstream, server;
before(async () => {
  chain = await rig.up();
  upstream = await startUpstream(async (req, res, body) => {
    // Long enough for every copy of a payment to arrive while the first one is being served.
    await new Promise((resolve) => setTimeout(resolve, 100));
    res.writeHead(200, { "content-type": "application/json", "x-run": `${upstream.requests.length}` });
    res.end(JSON.stringify({ url: req.url, body: body.toString(), run: upstream.requests.length }));
  });
  server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes }));
});
after(async () => {
  await server?.stop();
  await upstream?.stop();
  await chain?.stop();
});

const during = (work) => duringSale({ chain, upstream }, work);

// Sends the same path with each of `headers` at once; returns the answers as {status, code, receipt}.
function atOnce(path, headers) {
  return Promise.all(
    headers.map(async (one) => {
      const response = await fetch(server.url + path, { headers: one });
      const body = await response.json();
      const offered = response.headers.has("payment-required");
      return { status: response.status, code: body.code, receipt: receiptOf(response), offered };
    }),
  );
}

function count(answers, status) {
  return answers.filter((answer) => answer.status === status).length;
}

// One served, every other one told that the payment is running or was used; nobody invited to sign again.
function checkOneServed({ value: answers, gained, runs }) {
  assert.equal(runs, 1, "the upstream ran once");
  assert.equal(gained, 1000n, "the money moved once");
  assert.equal(count(answers, 200), 1);
  for (const { status, code, offered } of answers) {
    if (status === 200) continue;
    assert.ok(status === 409 || status === 402, `${status} ${code}`);
    assert.equal(code, status === 409 ? "payment_in_flight" : "payment_already_used");
    assert.equal(offered, false);
  }
}

for (const [name, make] of [
  ["PAYMENT-SIGNATURE", paymentV2],
  ["X-PAYMENT", paymentV1],
]) {
  for (const where of ["/paid/x", "/before/x"]) {
    test(`the same payment 50 times at once by ${name} on ${where} runs the upstream once`, async () => {
      const header = payHeader(await make(await offersOf(server.url + where)));
      checkOneServed(await during(() => atOnce(where, Array(50).fill(header))));
    });
  }
}

test("the same authorization by X-PAYMENT and PAYMENT-SIGNATURE at once runs once", async () => {
  const offers = await offersOf(`${server.url}/paid/both`);
  const v2 = await paymentV2(offers);
  const v1 = { ...(await paymentV1(offers)), payload: v2.payload };
  const headers = Array.from({ length: 40 }, (_, i) => payHeader(i % 2 ? v1 : v2));
  checkOneServed(await during(() => atOnce("/paid/both", headers)));
});

test("no spelling of one authorization makes a second one", async () => {
  const offers = await offersOf(`${server.url}/paid/spelled`);
  const plain = await paymentV2(offers);
  const { signature, authorization: auth } = plain.payload;
  const spelled = (change) => ({ ...plain, payload: { signature, authorization: { ...auth, ...change } } });
  const v1 = { ...(await paymentV1(offers)), payload: plain.payload };
  const payments = [
    plain,
    v1,
    spelled({ from: auth.from.toLowerCase() }),
    spelled({ to: auth.to.toLowerCase() }),
    spelled({ nonce: `0x${auth.nonce.slice(2).toUpperCase()}` }),
    { ...plain, payload: { authorization: auth, signature, more: [1, 2] } },
    { payload: plain.payload, accepted: plain.accepted, x402Version: 2 },
    { ...plain, accepted: { ...plain.accepted, asset: plain.accepted.asset.toLowerCase() } },
    { ...plain, accepted: { ...plain.accepted, extra: { ...plain.accepted.extra, mine: true } } },
    { ...plain, payload: { ...plain.payload, signature: `0x${signature.slice(2).toUpperCase()}` } },
  ];
  const { value: answers, gained, runs } = await during(() =>
    atOnce("/paid/spelled", payments.map((payment) => payHeader(payment))),
  );
  assert.equal(runs, 1);
  assert.equal(gained, 1000n);
  assert.equal(count(answers, 200), 1);
  for (const { status } of answers) assert.ok([200, 402, 409].includes(status), `${status}`);
});

test("20 different payments at once: 20 served", async () => {
  const { value, gained, runs } = await during(() =>
    Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        const response = await fetchV2("buyer")(`${server.url}/paid/${n}`);
        await response.text();
        return { status: response.status, hash: receiptOf(response)?.transaction };
      }),
    ),
  );
  assert.equal(count(value, 200), 20, JSON.stringify(value));
  await rig.eachHasItsTransfer(chain.rpc, value.map((one) => one.hash));
  assert.equal(gained, 20_000n);
  assert.equal(runs, 20);
});

test("100 different payments at once by one signer are all served within 3 blocks of 1 s", async (t) => {
  const offers = await offersOf(`${server.url}/paid/0`);
  const headers = [];
  for (let n = 0; n < 100; n += 1) headers.push(payHeader(await paymentV2(offers)));
  await rig.rpcCall(chain.rpc, "evm_setAutomine", false);
  await rig.rpcCall(chain.rpc, "evm_setIntervalMining", 1);
  try {
    const { value, gained } = await during(() => atOnce("/paid/0", headers));
    assert.equal(count(value, 200), 100, JSON.stringify(value.filter((one) => one.status !== 200)));
    assert.equal(gained, 100_000n);
    const { pub } = rig.evmClients(chain.rpc);
    const blocks = new Map();
    for (const { receipt } of value) {
      const mined = await pub.getTransactionReceipt({ hash: receipt.transaction });
      const at = Number(mined.blockNumber);
      blocks.set(at, (blocks.get(at) ?? 0) + 1);
    }
    const numbers = [...blocks.keys()];
    const span = Math.max(...numbers) - Math.min(...numbers) + 1;
    const spread = [...blocks].sort((a, b) => a[0] - b[0]).map(([, n]) => n);
    t.diagnostic(`100 payments in ${span} blocks: ${spread.join(" + ")}`);
    assert.ok(span <= 3, `${span} blocks: ${spread.join(" + ")}`);
  } finally {
    await rig.rpcCall(chain.rpc, "evm_setIntervalMining", 0);
    await rig.rpcCall(chain.rpc, "evm_setAutomine", true);
  }
});

for (const version of [2, 1]) {
  test(`a used v${version} payment shown again gets its receipt and no offer`, async () => {
    const offers = await offersOf(`${server.url}/paid/used`);
    const header = payHeader(await (version === 1 ? paymentV1 : paymentV2)(offers));
    const first = await fetch(`${server.url}/paid/used`, { headers: header });
    assert.equal(first.status, 200);
    await first.text();
    const { value: again, gained, runs } = await during(() => fetch(`${server.url}/paid/used`, { headers: header }));
    assert.equal(again.status, 402);
    const problem = await again.json();
    assert.equal(problem.code, "payment_already_used");
    assert.equal("accepts" in problem, false, "no version 1 offer either");
    assert.deepEqual(receiptOf(again), receiptOf(first));
    assert.equal(again.headers.get("payment-required"), null);
    assert.match(again.headers.get("cache-control"), /no-store/);
    assert.equal(gained, 0n);
    assert.equal(runs, 0);
  });
}

test("a used payment is refused at another path, query, method and route", async () => {
  const offers = await offersOf(`${server.url}/paid/one?q=1`);
  const header = payHeader(await paymentV1(offers)); // Version 1 names no resource.
  const first = await fetch(`${server.url}/paid/one?q=1`, { headers: header });
  assert.equal(first.status, 200);
  await first.text();
  const others = [
    ["GET", "/paid/two?q=1"],
    ["GET", "/paid/one?q=2"],
    ["GET", "/paid/one"],
    ["POST", "/paid/one?q=1"],
    ["HEAD", "/paid/one?q=1"],
    ["GET", "/before/one"],
    ["GET", "/dear/one"],
  ];
  const { gained, runs } = await during(async () => {
    for (const [method, path] of others) {
      const answer = await fetch(server.url + path, { method, headers: header });
      await answer.text();
      assert.equal(answer.status, 402, `${method} ${path}`);
    }
  });
  assert.equal(gained, 0n);
  assert.equal(runs, 0);
});

test("an unused payment that names another resource is refused there, and still good at its own", async () => {
  const offers = await offersOf(`${server.url}/paid/mine`);
  const payment = await paymentV2(offers);
  const { gained, runs } = await during(async () => {
    for (const path of ["/paid/other", "/paid/mine?x=1", "/before/mine"]) {
      const answer = await fetch(server.url + path, { headers: payHeader(payment) });
      assert.equal(answer.status, 402, path);
      const problem = await answer.json();
      assert.equal(problem.code, "payment_resource", path);
      assert.equal(problem.pointer, "/resource/url");
      assert.ok(answer.headers.has("payment-required"), "nothing was spent: here is the offer");
    }
    const foreign = { ...payment, resource: { ...payment.resource, url: "https://elsewhere.example/paid/other" } };
    const answer = await fetch(`${server.url}/paid/other`, { headers: payHeader(foreign) });
    assert.equal(answer.status, 402);
  });
  assert.equal(gained, 0n);
  assert.equal(runs, 0);
  const own = await during(() => fetch(`${server.url}/paid/mine`, { headers: payHeader(payment) }));
  assert.equal(own.value.status, 200);
  assert.equal(own.gained, 1000n);
});

test("a payment whose signature was changed learns nothing about the used one", async () => {
  const offers = await offersOf(`${server.url}/paid/known`);
  const payment = await paymentV2(offers);
  const first = await fetch(`${server.url}/paid/known`, { headers: payHeader(payment) });
  assert.equal(first.status, 200);
  await first.text();
  const forged = structuredClone(payment);
  const at = 20;
  const { signature } = forged.payload;
  const other = signature[at] === "0" ? "1" : "0";
  forged.payload.signature = signature.slice(0, at) + other + signature.slice(at + 1);
  const answer = await fetch(`${server.url}/paid/known`, { headers: payHeader(forged) });
  assert.equal(answer.status, 402);
  assert.equal(receiptOf(answer), null);
  assert.equal(decode(answer.headers.get("payment-required")).x402Version, 2);
});

test('replay = "answer" gives an equal request the stored answer again, and no other', async () => {
  const url = `${server.url}/again/x`;
  const offers = await offersOf(url);
  const init = { method: "POST", body: "one", headers: payHeader(await paymentV2(offers)) };
  const first = await fetch(url, init);
  assert.equal(first.status, 200);
  const text = await first.text();
  const { gained, runs } = await during(async () => {
    for (let n = 0; n < 3; n += 1) {
      const again = await fetch(url, init);
      assert.equal(again.status, 200);
      assert.equal(await again.text(), text);
      assert.equal(again.headers.get("x-run"), first.headers.get("x-run"));
      assert.equal(again.headers.get("content-type"), "application/json");
      assert.deepEqual(receiptOf(again), receiptOf(first));
    }
    const other = await fetch(url, { ...init, body: "two" });
    assert.equal(other.status, 402);
    assert.equal((await other.json()).code, "payment_already_used");
    const elsewhere = await fetch(`${url}?y`, init);
    assert.equal(elsewhere.status, 402);
  });
  assert.equal(gained, 0n);
  assert.equal(runs, 0);
});

test("after all that the books and the chain agree", async () => {
  const response = await payOnce(`${server.url}/paid/plain`);
  assert.equal(response.status, 200);
  await response.text();
  const rows = await books(server, "--limit", "1000");
  const settled = rows.filter((row) => row.state === "settled");
  const sum = settled.reduce((total, row) => total + BigInt(row.amount), 0n);
  assert.equal(sum, await rig.tokenBalance(chain.rpc, "payee"), "books and chain agree in the end");
  assert.equal(rows.length, settled.length);
});
