// When settling goes wrong: a facilitator of somebody else with every kind of outage, another payment with the same
// nonce. Nothing is served unpaid, nobody is charged twice, and whoever paid gets what he paid for.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { books, during as duringSale, offersOf, payHeader, paymentV1, paymentV2, settleRequest } from "../rig/src/pay.mjs";
import { receiptOf, startOfficialFacilitator } from "../rig/src/peers.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

let chain;
before(async () => {
  chain = await rig.up();
});
after(() => chain?.stop());

const balance = () => rig.tokenBalance(chain.rpc, "payee");
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ------------------------------------------------------------------------------- remote facilitators

// A facilitator that answers as `facilitator.verify` and `.settle` say: functions (req body, response)
// that answer by themselves or return {status, json | text}. By default it passes on to the official one.
async function startFacilitator(official) {
  const own = { calls: [] };
  own.pass = (what) => async (body) => {
    const answer = await fetch(`${official.url}/${what}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return { status: answer.status, text: await answer.text() };
  };
  own.reset = () => {
    own.verify = own.pass("verify");
    own.settle = own.pass("settle");
    own.calls.length = 0;
  };
  own.reset();
  const serve = async (req, res) => {
    let text = "";
    for await (const chunk of req) text += chunk;
    const what = req.url.slice(1);
    if (what === "supported") {
      const kinds = [
        { x402Version: 2, scheme: "exact", network: rig.EVM_NETWORK },
        { x402Version: 1, scheme: "exact", network: rig.EVM_NETWORK_V1 },
      ];
      return res.setHeader("content-type", "application/json").end(JSON.stringify({ kinds, extensions: [], signers: {} }));
    }
    own.calls.push({ what, text });
    const said = await own[what](JSON.parse(text), res, req);
    if (!said) return undefined;
    const type = said.text === undefined || said.text.startsWith("{") ? "application/json" : "text/html";
    res.writeHead(said.status ?? 200, { "content-type": type, ...said.headers });
    return res.end(said.text ?? JSON.stringify(said.json));
  };
  const listen = async (port) => {
    const server = http.createServer((req, res) => serve(req, res).catch(() => res.destroy()));
    await new Promise((resolve, reject) => server.listen(port, "127.0.0.1", resolve).once("error", reject));
    own.stop = () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      });
    return server.address().port;
  };
  own.port = await listen(0);
  own.url = `http://127.0.0.1:${own.port}`;
  own.start = () => listen(own.port);
  own.count = (what) => own.calls.filter((call) => call.what === what).length;
  return own;
}

const kRoutes = `
[[route]]
match = "GET /paid/*"
price = "$0.001"
[[route]]
match = "GET /before/*"
price = "$0.001"
settle = "before"
`;

describe("a facilitator of somebody else", () => {
  let official, remote, upstream, server;
  before(async () => {
    official = await startOfficialFacilitator(chain.rpc);
    remote = await startFacilitator(official);
    upstream = await startUpstream();
    server = await startPontage(
      sellerConfig({
        rpc: chain.rpc,
        upstream: upstream.url,
        routes: kRoutes,
        x402: `facilitator = "${remote.url}"\nsettle_timeout = "2s"\ncheck_receipts = true`,
      }),
    );
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
    await remote?.stop();
    await official?.stop();
  });

  let n = 0;
  async function pay({ where = "paid", make = paymentV2 } = {}) {
    n += 1;
    const url = `${server.url}/${where}/${n}`;
    const headers = payHeader(await make(await offersOf(url)));
    const ask = async () => {
      const answer = await fetch(url, { headers });
      const text = await answer.text();
      const problem = answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : {};
      return { status: answer.status, code: problem.code, receipt: receiptOf(answer), headers: answer.headers, text };
    };
    return { ask, path: `/${where}/${n}`, row: async () => (await books(server)).find((row) => row.resource === `/${where}/${n}`) };
  }
  const during = (work) => duringSale({ chain, upstream }, work);

  test("the official facilitator serves us, in both versions and orders", async () => {
    remote.reset();
    for (const make of [paymentV2, paymentV1]) {
      for (const where of ["paid", "before"]) {
        const { value, gained, runs } = await during(async () => (await pay({ where, make })).ask());
        assert.equal(value.status, 200, value.text);
        assert.equal(value.receipt.success, true);
        assert.equal(gained, 1000n);
        assert.equal(runs, 1);
      }
    }
  });

  const yes = (body) => ({ isValid: true, payer: body.paymentPayload.payload.authorization.from });
  const hangUp = (_, res) => void res.destroy();
  const hang = () => undefined;
  // What /verify may say that is not a plain yes, and what the buyer hears of it.
  const kVerify = {
    "says no": [() => ({ json: { isValid: false, invalidReason: "invalid_exact_evm_signature" } }), [402]],
    "says no without a reason": [() => ({ json: { isValid: false } }), [402]],
    "says no with status 400": [() => ({ status: 400, json: { isValid: false, invalidReason: "invalid_payload" } }), [402]],
    "says no for insufficient funds in its own words": [() => ({ json: { isValid: false, invalidReason: "no_money" } }), [402]],
    'says isValid: "true"': [() => ({ json: { isValid: "true" } }), [502]],
    "says isValid: 1": [() => ({ json: { isValid: 1 } }), [502]],
    "answers an empty object": [() => ({ json: {} }), [502]],
    "answers null": [() => ({ text: "null" }), [502]],
    "answers 200 that is not JSON": [() => ({ text: "<html>fine</html>" }), [502]],
    "answers 500 with a page": [() => ({ status: 500, text: "<html>oops</html>" }), [502, 503]],
    "answers 500 and calls it valid": [(body) => ({ status: 500, json: yes(body) }), [502, 503]],
    "answers 404": [() => ({ status: 404, text: "no" }), [502]],
    "answers 429": [() => ({ status: 429, json: { error: "slow down" } }), [503]],
    "answers for another payer": [() => ({ json: { isValid: true, payer: rig.evmAddress("mallory") } }), [502]],
    "answers a list": [() => ({ text: "[true]" }), [502]],
    "answers two values of one key": [() => ({ text: '{"isValid":false,"isValid":true}' }), [502]],
    "answers a megabyte": [() => ({ text: `{"isValid":true,"x":"${"x".repeat(1 << 20)}"}` }), [502]],
    "redirects": [() => ({ status: 302, text: "", headers: { location: "https://evil.example/" } }), [502]],
    "hangs up": [hangUp, [502]],
    "hangs up in the middle of its answer": [
      (body, res) => void res.writeHead(200, { "content-length": 999 }).write("{", () => res.destroy()),
      [502],
    ],
  };
  for (const [name, [verify, statuses]] of Object.entries(kVerify)) {
    test(`/verify ${name}: nothing is served, and the same payment is good afterwards`, async () => {
      remote.reset();
      remote.verify = verify;
      const payment = await pay();
      const { value, gained, runs } = await during(payment.ask);
      assert.ok(statuses.includes(value.status), `${value.status} ${value.text}`);
      assert.equal(gained, 0n);
      assert.equal(runs, 0);
      assert.equal(remote.count("settle"), 0);
      if (value.status === 503) assert.ok(value.headers.get("retry-after"));
      assert.equal(value.headers.has("payment-required"), value.status === 402);
      remote.reset();
      const again = await during(payment.ask);
      assert.equal(again.value.status, 200, again.value.text);
      assert.equal(again.gained, 1000n);
      assert.equal(again.runs, 1);
    });
  }

  test("/verify says nothing at all: 503 in time, nothing served", { timeout: 30_000 }, async () => {
    remote.reset();
    remote.verify = hang;
    const payment = await pay();
    const { value, gained, runs } = await during(payment.ask);
    assert.equal(value.status, 503);
    assert.equal(gained, 0n);
    assert.equal(runs, 0);
  });

  test("a facilitator that is down is an outage, and used again within a second of its return", async () => {
    remote.reset();
    await remote.stop();
    const payment = await pay();
    for (let k = 0; k < 3; k += 1) {
      const { value, runs } = await during(payment.ask);
      assert.equal(value.status, 503, value.text);
      assert.ok(value.headers.get("retry-after"));
      assert.equal(value.headers.get("payment-required"), null, "an outage invites no second signature");
      assert.equal(runs, 0);
    }
    await remote.start();
    const back = Date.now();
    const served = await rig.until(
      async () => {
        const answer = await payment.ask();
        return answer.status === 200 ? answer : undefined;
      },
      { withinMs: 3_000, everyMs: 50, label: "served after the return" },
    );
    assert.ok(served.receipt.success);
    assert.ok(Date.now() - back < 2_000, `${Date.now() - back} ms`);
  });

  // What /settle may say when nothing is certain. The money may have moved (`moves`) or not.
  const moved = (say) => async (body, res) => {
    await remote.pass("settle")(body);
    return say(body, res);
  };
  const kUnclear = {
    "hangs up": hangUp,
    "answers 500 with a page": () => ({ status: 500, text: "<html>oops</html>" }),
    "answers 200 that is not JSON": () => ({ text: "<html>fine</html>" }),
    "answers an empty object": () => ({ json: {} }),
    'says success: "true"': () => ({ json: { success: "true", transaction: "0x1", network: rig.EVM_NETWORK } }),
    "says success on another network": () => ({
      json: { success: true, transaction: `0x${"1".repeat(64)}`, network: rig.OTHER_EVM.network },
    }),
    "says success for another payer": () => ({
      json: { success: true, transaction: `0x${"1".repeat(64)}`, network: rig.EVM_NETWORK, payer: rig.evmAddress("mallory") },
    }),
    "says success without a transaction": () => ({ json: { success: true, transaction: "", network: rig.EVM_NETWORK } }),
    "says it is pending, for ever": () => ({
      json: { success: false, errorReason: "settlement_pending", transaction: `0x${"2".repeat(64)}`, network: rig.EVM_NETWORK },
    }),
    "says an unexpected error": () => ({
      json: { success: false, errorReason: "unexpected_settle_error", transaction: "", network: rig.EVM_NETWORK },
    }),
  };
  const untilClosed = (payment) =>
    rig.until(
      async () => {
        const row = await payment.row();
        return ["settled", "expired"].includes(row.state) ? row : undefined;
      },
      { withinMs: 15_000, everyMs: 200, label: "reconciled" },
    );

  for (const [name, say] of Object.entries(kUnclear)) {
    for (const where of ["paid", "before"]) {
      test(`/settle ${name}, and the money moved (${where}): the buyer is charged once and served once`, async () => {
        remote.reset();
        remote.settle = moved(say);
        const payment = await pay({ where });
        const first = await during(payment.ask);
        assert.equal(first.gained, 1000n);
        // With our own look at the chain the success is found at once; else it is pending, then owed.
        if (first.value.status === 200) {
          assert.equal(first.value.receipt.success, true);
          assert.equal(first.runs, 1);
        } else {
          assert.equal(first.value.status, 503, first.value.text);
          assert.ok(first.value.headers.get("retry-after"));
          assert.equal(first.value.receipt.errorReason, "settlement_pending");
          assert.equal(first.value.headers.get("payment-required"), null);
          remote.reset();
          assert.equal((await untilClosed(payment)).state, "settled");
          const owed = await during(payment.ask);
          assert.equal(owed.value.status, 200, owed.value.text);
          assert.equal(owed.gained, 0n);
          assert.equal(owed.runs, 1);
        }
        await rig.until(async () => (await payment.row()).delivery === "delivered", { label: "delivery noted" });
        const again = await during(payment.ask);
        assert.equal(again.value.status, 402);
        assert.equal(again.value.code, "payment_already_used");
        assert.equal(again.gained, 0n);
        assert.equal(again.runs, 0);
      });
    }
  }

  for (const [name, say] of Object.entries(kUnclear)) {
    test(`/settle ${name}, and nothing moved: 503, no offer, and the payment redeems once it is settled`, async () => {
      remote.reset();
      remote.settle = say;
      const payment = await pay();
      const first = await during(payment.ask);
      assert.equal(first.value.status, 503, first.value.text);
      assert.ok(!first.value.text.includes('"n"'), "nothing of the content");
      assert.ok(first.value.headers.get("retry-after"));
      assert.equal(first.value.code, "settlement_pending");
      assert.equal(first.value.receipt.success, false);
      assert.equal(first.value.receipt.errorReason, "settlement_pending");
      assert.equal(first.value.headers.get("payment-required"), null);
      assert.equal(first.gained, 0n);
      const meanwhile = await payment.ask();
      assert.ok([503, 409].includes(meanwhile.status), `${meanwhile.status} ${meanwhile.text}`);
      remote.reset();
      const row = await untilClosed(payment);
      assert.equal(row.state, "settled");
      assert.equal(row.delivery, "owed");
      const all = await during(() => Promise.all(Array.from({ length: 10 }, payment.ask)));
      assert.equal(all.value.filter((one) => one.status === 200).length, 1, JSON.stringify(all.value.map((one) => [one.status, one.code])));
      assert.equal(all.runs, 1);
      assert.equal(all.gained, 0n);
      const served = all.value.find((one) => one.status === 200);
      assert.equal(served.receipt.success, true);
    });
  }

  test("/settle says it is pending once, then success: asked exactly once more, with the same bytes", async () => {
    remote.reset();
    let asked = 0;
    remote.settle = async (body) => {
      asked += 1;
      if (asked > 1) return remote.pass("settle")(body);
      const json = { success: false, errorReason: "settlement_pending", transaction: "", network: rig.EVM_NETWORK };
      return { json };
    };
    const { value, gained, runs } = await during(async () => (await pay()).ask());
    assert.equal(value.status, 200, value.text);
    assert.equal(gained, 1000n);
    assert.equal(runs, 1);
    const settles = remote.calls.filter((call) => call.what === "settle");
    assert.equal(settles.length, 2);
    assert.equal(settles[0].text, settles[1].text);
  });

  test("/settle refuses: 402 with the failed receipt, no content, no offer", async () => {
    remote.reset();
    remote.settle = () => ({
      json: { success: false, errorReason: "invalid_exact_evm_insufficient_balance", transaction: "", network: rig.EVM_NETWORK },
    });
    const payment = await pay();
    const { value, gained } = await during(payment.ask);
    assert.equal(value.status, 402, value.text);
    assert.equal(value.receipt.success, false);
    assert.equal(value.receipt.errorReason, "invalid_exact_evm_insufficient_balance");
    assert.equal(value.headers.get("payment-required"), null);
    assert.ok(!value.text.includes('"n"'));
    assert.equal(gained, 0n);
    // The work was done for it, so it does not run again; before, it had not been.
    const again = await during(payment.ask);
    assert.notEqual(again.value.status, 200);
    assert.equal(again.runs, 0);
    const early = await pay({ where: "before" });
    const refused = await during(early.ask);
    assert.equal(refused.value.status, 402);
    assert.equal(refused.runs, 0);
    remote.reset();
    assert.equal((await early.ask()).status, 200, "no work was done, so the payment may come again");
  });

  test("a success that is not on the chain is not believed", { timeout: 30_000 }, async () => {
    remote.reset();
    remote.settle = (body) => ({
      json: {
        success: true,
        transaction: `0x${"3".repeat(64)}`,
        network: rig.EVM_NETWORK,
        payer: body.paymentPayload.payload.authorization.from,
      },
    });
    const payment = await pay();
    const { value, gained } = await during(payment.ask);
    assert.equal(value.status, 503, value.text);
    assert.equal(gained, 0n);
    remote.reset();
    assert.equal((await untilClosed(payment)).state, "settled");
    assert.equal((await payment.ask()).status, 200);
  });
});

describe("several facilitators", () => {
  test("the next one serves where the first is down", async () => {
    const official = await startOfficialFacilitator(chain.rpc);
    const upstream = await startUpstream();
    const server = await startPontage(
      sellerConfig({
        rpc: chain.rpc,
        upstream: upstream.url,
        routes: kRoutes,
        x402: `facilitator = ["http://127.0.0.1:1", "${official.url}"]`,
      }),
    );
    try {
      const had = await balance();
      const url = `${server.url}/paid/next`;
      for (let k = 0; k < 3; k += 1) {
        const answer = await fetch(url, { headers: payHeader(await paymentV2(await offersOf(url))) });
        assert.equal(answer.status, 200);
        await answer.text();
      }
      assert.equal((await balance()) - had, 3000n);
    } finally {
      await server.stop();
      await upstream.stop();
      await official.stop();
    }
  });
});

// ------------------------------------------------------------------------------- one nonce, two payments

test("a dear payment is not settled by a cheap one that was signed with the same nonce", { timeout: 60_000 }, async (t) => {
  const upstream = await startUpstream((req, res) => res.end("goods"));
  t.after(() => upstream.stop());
  const routes = `[[route]]\nmatch = "POST /dear"\nprice = "$0.50"\n`;
  const server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes }));
  t.after(() => server.stop());
  const nonce = `0x${"5e".repeat(32)}`;
  const offers = await offersOf(`${server.url}/dear`, { method: "POST" });
  const dear = payHeader(await paymentV2(offers, { auth: { nonce } }));
  const cheap = await settleRequest(undefined, { amount: "1", auth: { nonce } });
  const had = await balance();
  // Verified with its head; its body comes when the other one has been settled.
  const call = http.request(`${server.url}/dear`, { method: "POST", headers: { ...dear, "content-length": "4" } });
  const answer = new Promise((resolve, reject) => call.once("response", resolve).once("error", reject));
  call.write("go");
  await sleep(700);
  const settled = await fetch(`${server.url}/facilitator/settle`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(cheap),
  });
  assert.equal((await settled.json()).success, true);
  call.end("on");
  const response = await answer;
  let text = "";
  for await (const piece of response) text += piece;
  assert.notEqual(response.statusCode, 200, text);
  assert.doesNotMatch(text, /goods/);
  assert.equal((await balance()) - had, 1n);
  const row = (await books(server)).find((one) => one.resource === "/dear");
  assert.notEqual(row.state, "settled");
});
