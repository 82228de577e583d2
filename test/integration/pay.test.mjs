// `pontage pay` against our gateway, the official server, and servers that cheat: what it sends, what it
// signs, what it refuses to, and what it remembers.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { books, decode, encode } from "../rig/src/pay.mjs";
import { startOfficialFacilitator, startOfficialServer } from "../rig/src/peers.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { onTerminal } from "../rig/src/terminal.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kKey = { PONTAGE_BUYER_KEY: rig.evmKey("buyer") };
const kRoutes = `
[[route]]
match = "GET /paid/*"
price = "$0.001"
[[route]]
match = "POST /paid/*"
price = "$0.002"
[[route]]
match = "GET /dear"
price = "$2"
[[route]]
match = "GET /v1only"
price = "$0.001"
versions = [1]
[[route]]
match = "/free"
price = "free"
`;

let chain, upstream, gateway, home;
before(async () => {
  chain = await rig.up();
  home = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-pay-"));
  upstream = await startUpstream((req, res, body) => {
    if (req.url === "/free") return res.end("nothing to pay");
    return res.setHeader("content-type", "application/json").end(JSON.stringify({ path: req.url, got: body.toString() }));
  });
  gateway = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes }));
});
after(async () => {
  await gateway?.stop();
  await upstream?.stop();
  await chain?.stop();
  fs.rmSync(home, { recursive: true, force: true });
});

let n = 0;
// A buyer with a book of his own: {pay(...args) -> {code, json, stderr}, book() -> its lines}.
function buyer({ env = kKey } = {}) {
  n += 1;
  const file = path.join(home, `book-${n}.jsonl`);
  return {
    file,
    pay: async (...args) => {
      const done = await run(["pay", "--book", file, ...args], { cwd: home, env: { HOME: home, ...env } });
      return { code: done.code, json: done.stdout.startsWith("{") ? JSON.parse(done.stdout) : undefined, ...done };
    },
    book: () => (fs.existsSync(file) ? fs.readFileSync(file, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line)) : []),
  };
}
const spent = async (work) => {
  const had = await rig.tokenBalance(chain.rpc, "buyer");
  const value = await work();
  return { value, paid: had - (await rig.tokenBalance(chain.rpc, "buyer")) };
};

// A server that sells: `answer(req, res, paid)` is called with the payment decoded, or undefined. `offer`
// is what the 402 says; `version` 1 says it in the body alone.
async function startSeller({ offer, version = 2, answer }) {
  const requests = [];
  const server = http.createServer((req, res) => {
    const shown = req.headers["payment-signature"] ?? req.headers["x-payment"];
    requests.push({ url: req.url, paid: shown && decode(shown) });
    req.resume();
    if (shown && answer) return answer(req, res, decode(shown));
    const entry = { ...kEntry, ...offer, extra: { name: rig.USDC.name, version: rig.USDC.version, ...offer?.extra } };
    const resource = `http://${req.headers.host}${req.url}`;
    if (version === 1) {
      const { amount, network, ...rest } = entry;
      const accepts = [{ ...rest, network: rig.EVM_NETWORK_V1, maxAmountRequired: amount, resource, description: "", mimeType: "" }];
      res.writeHead(402, { "content-type": "application/json" });
      return res.end(JSON.stringify({ x402Version: 1, error: "X-PAYMENT header is required", accepts }));
    }
    res.writeHead(402, { "payment-required": encode({ x402Version: 2, error: "pay", resource: { url: resource }, accepts: [entry] }) });
    return res.end("{}");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    payments: () => requests.filter((one) => one.paid),
    stop: () => new Promise((resolve) => server.close(resolve).closeAllConnections()),
  };
}
const kEntry = {
  scheme: "exact",
  network: rig.EVM_NETWORK,
  asset: rig.USDC.address,
  amount: "1000",
  payTo: rig.evmAddress("payee"),
  maxTimeoutSeconds: 60,
};
// Runs `work(seller)` and ends the seller.
async function withSeller(options, work) {
  const seller = await startSeller(options);
  try {
    return await work(seller);
  } finally {
    await seller.stop();
  }
}
const receipt = (transaction, more) => encode({ success: true, transaction, network: rig.EVM_NETWORK, payer: rig.evmAddress("buyer"), ...more });

describe("buys", () => {
  test("from our gateway, and proves it on the chain", async () => {
    const me = buyer();
    const { value, paid } = await spent(() => me.pay(`${gateway.url}/paid/a`, "--verify-receipt", chain.rpc));
    assert.equal(value.code, 0, value.stderr);
    assert.equal(paid, 1000n);
    const { json } = value;
    assert.deepEqual([json.outcome, json.status, json.x402Version, json.price, json.charged, json.proven], ["paid", 200, 2, "$0.001", true, true]);
    assert.deepEqual(JSON.parse(json.body), { path: "/paid/a", got: "" });
    const row = (await books(gateway)).find((one) => one.resource === "/paid/a");
    assert.equal(row.transaction, json.transaction);
    assert.deepEqual(me.book().map((line) => line.event), ["signed", "closed"]);
    assert.equal(fs.statSync(me.file).mode & 0o777, 0o600);
  });

  test("with a body, headers and an output file, in version 1 where only that is spoken", async () => {
    const me = buyer();
    const post = await me.pay(`${gateway.url}/paid/b`, "-d", '{"q":1}', "-H", "X-Mine: 7");
    assert.equal(post.code, 0, post.stderr);
    assert.equal(JSON.parse(post.json.body).got, '{"q":1}');
    const got = upstream.requests.at(-1);
    assert.deepEqual([got.method, got.headers["x-mine"], got.headers["content-type"]], ["POST", "7", "application/json"]);
    const file = path.join(home, "out.json");
    const v1 = await me.pay(`${gateway.url}/v1only`, "-o", file);
    assert.equal(v1.code, 0, v1.stderr);
    assert.equal(v1.json.x402Version, 1);
    assert.equal(v1.json.body, undefined);
    assert.equal(JSON.parse(fs.readFileSync(file, "utf8")).path, "/v1only");
  });

  test("on a terminal: the answer, and what it cost beside it", async () => {
    const done = await onTerminal(["pay", "--book", "none", `${gateway.url}/paid/seen`], { cwd: home, env: kKey });
    assert.equal(done.code, 0, done.text);
    assert.match(done.text, /\{"path":"\/paid\/seen","got":""\}/);
    assert.match(done.text, /Paid \$0\.001 \(1000 of USDC on eip155:\d+\) to 0x\w+, transaction 0x[0-9a-f]{64}/);
  });

  test("from the official server and facilitator", async () => {
    const facilitator = await startOfficialFacilitator(chain.rpc);
    const server = await startOfficialServer(facilitator.url);
    try {
      const dry = await buyer().pay(`${server.url}/paid`, "--dry-run");
      assert.equal(dry.code, 10);
      assert.equal(dry.json.price, "$0.001");
      const { value, paid } = await spent(() => buyer().pay(`${server.url}/paid`, "--verify-receipt", chain.rpc));
      assert.equal(value.code, 0, value.stderr + value.stdout);
      assert.equal(paid, 1000n);
      assert.equal(value.json.proven, true);
      assert.deepEqual(JSON.parse(value.json.body), { paid: true });
      assert.equal(server.served(), 1);
    } finally {
      await server.stop();
      await facilitator.stop();
    }
  });

  test("what is free costs nothing and needs no key", async () => {
    const me = buyer({ env: {} });
    const done = await me.pay(`${gateway.url}/free`);
    assert.equal(done.code, 0);
    assert.deepEqual([done.json.outcome, done.json.body], ["free", "nothing to pay"]);
    assert.deepEqual(me.book(), []);
    assert.equal((await me.pay(`${gateway.url}/nowhere`)).code, 5);
  });
});

describe("signs nothing", () => {
  const nothing = async (me, ...args) => {
    const { value, paid } = await spent(() => me.pay(...args));
    assert.equal(paid, 0n);
    assert.deepEqual(me.book(), [], "the book is untouched");
    return value;
  };

  for (const version of [2, 1]) {
    test(`with --dry-run, version ${version}: it shows the price`, () =>
      withSeller({ version }, async (seller) => {
        const done = await nothing(buyer(), `${seller.url}/x`, "--dry-run", "--max", "0.0001");
        assert.equal(done.code, 10);
        const { json } = done;
        assert.deepEqual([json.outcome, json.price, json.amount, json.symbol, json.allowed], ["quoted", "$0.001", "1000", "USDC", false]);
        assert.equal(json.payTo, rig.evmAddress("payee"));
        assert.equal(seller.requests.length, 1);
        assert.equal(seller.payments().length, 0);
        const seen = await onTerminal(["pay", "--dry-run", `${seller.url}/x`], { cwd: home });
        assert.equal(seen.code, 10);
        assert.match(seen.text, /It costs \$0\.001 .*Nothing was signed\./);
      }));
  }

  const kRefused = {
    "above --max": [{}, ["--max", "0.0009"], /the price is \$0\.001, the limit for one call \$0\.0009/],
    "above a dollar without --max": [{ amount: "1000001" }, [], /the limit for one call \$1/],
    "in another token than --asset": [{}, ["--asset", `0x${"1".repeat(40)}`], /the token 0x\w+ is not allowed/],
    "on another network than --network": [{}, ["--network", rig.OTHER_EVM.network], /payments on eip155:\d+ are not allowed/],
    "to another host than --host": [{}, ["--host", "api.example.com"], /payments to 127\.0\.0\.1 are not allowed/],
    "with a wrong EIP-712 name": [{ extra: { name: "Fake USD" } }, [], /the offer names the EIP-712 domain "Fake USD"/],
    "with a wrong EIP-712 version": [{ extra: { version: "9" } }, [], /the token's is "USD/],
    "in a token nobody knows": [{ asset: `0x${"2".repeat(40)}` }, [], /the token 0x2+ on eip155:\d+ is not known/],
    "in a scheme nobody knows": [{ scheme: "lottery" }, [], /the scheme lottery is not known/],
    "that stays good for a week": [{ maxTimeoutSeconds: 604_800 }, [], /would be good for 604800 seconds/],
  };
  for (const [name, [offer, args, why]] of Object.entries(kRefused)) {
    test(`${name}: exit 6`, () =>
      withSeller({ offer }, async (seller) => {
        const done = await nothing(buyer(), `${seller.url}/x`, ...args);
        assert.equal(done.code, 6, done.stderr);
        assert.match(done.stderr, why);
        assert.equal(seller.payments().length, 0);
        assert.match(done.json.error.code, /^(buyer_policy|payment_)/);
      }));
  }
  test("pins that fit let it pass", async () => {
    const pins = ["--max", "0.001", "--asset", rig.USDC.address.toLowerCase(), "--network", rig.EVM_NETWORK_V1, "--host", "127.0.0.1"];
    assert.equal((await buyer().pay(`${gateway.url}/paid/pins`, ...pins)).code, 0);
  });

  test("without a good key: exit 2", () =>
    withSeller({}, async (seller) => {
      const bad = path.join(home, "bad.key");
      fs.writeFileSync(bad, "0x1234\n");
      const cases = [
        [{}, [], /there is no key to pay with.*PONTAGE_BUYER_KEY/],
        [{ K: "secret-that-is-no-key" }, ["--key", "env:K"], /that is no private key/],
        [{ K: `0x${"0".repeat(64)}` }, ["--key", "env:K"], /that is no private key/],
        [{}, ["--key", "env:NOT_SET"], /env:NOT_SET is not set/],
        [{}, ["--key", `file:${bad}`], /that is no private key/],
        [{}, ["--key", `file:${home}/none`], /none/],
        [{}, ["--key", rig.evmKey("buyer")], /--key does not take the key itself/],
      ];
      for (const [env, args, why] of cases) {
        const done = await nothing(buyer({ env }), `${seller.url}/x`, ...args);
        assert.equal(done.code, 2, `${args}: ${done.stderr}`);
        assert.match(done.stderr, why);
        assert.ok(!(done.stderr + done.stdout).includes("secret-that"));
        assert.ok(!(done.stderr + done.stdout).includes(rig.evmKey("buyer").slice(2)));
      }
      assert.equal(seller.payments().length, 0);
    }));
  test("with a key from the environment or a file it pays", async () => {
    const file = path.join(home, "good.key");
    fs.writeFileSync(file, `${rig.evmKey("fresh").slice(2)}\n`);
    const from = await buyer({ env: { MINE: rig.evmKey("buyer") } }).pay(`${gateway.url}/paid/k1`, "--key", "env:MINE");
    assert.deepEqual([from.code, from.json.payer], [0, rig.evmAddress("buyer")]);
    const other = await buyer().pay(`${gateway.url}/paid/k2`, "--key", `file:${file}`);
    assert.deepEqual([other.code, other.json?.payer], [0, rig.evmAddress("fresh")], other.stderr);
  });
  test("nonsense is a usage error, and nobody listening a connection error", async () => {
    for (const args of [[], ["--max", "cheap", gateway.url], ["-H", "nocolon", gateway.url], ["--asset", "0x1", gateway.url], ["--timeout", "soon", gateway.url], ["-H", "X-Payment: abc", gateway.url]]) {
      assert.equal((await nothing(buyer(), ...args)).code, 2, args.join(" "));
    }
    assert.equal((await nothing(buyer(), "http://127.0.0.1:1/x")).code, 3);
    assert.equal((await nothing(buyer(), "ftp://127.0.0.1/x")).code, 2);
  });
});

describe("is not fooled", () => {
  test("a redirect inside the origin is followed with the payment, one to another host without", async () => {
    const thief = await startSeller({ answer: (req, res) => res.end("stolen") });
    const answer = (req, res) => {
      const location = req.url === "/here" ? "/there" : `${thief.url}/loot`;
      if (req.url === "/there") return res.writeHead(200, { "payment-response": receipt(`0x${"1".repeat(64)}`) }).end("arrived");
      return res.writeHead(307, { location }).end();
    };
    await withSeller({ answer }, async (seller) => {
      const done = await buyer().pay(`${seller.url}/here`);
      assert.equal(done.json.body, "arrived");
      assert.deepEqual(seller.payments().map((one) => one.url), ["/here", "/there"]);
      assert.deepEqual(seller.payments()[0].paid, seller.payments()[1].paid, "the same payment");
      await buyer().pay(`${seller.url}/away`);
      assert.deepEqual(thief.requests, [], "the other host hears nothing");
    });
    await thief.stop();
  });

  test("a seller who takes the payment and hangs up gets the same one again, not a second", async () => {
    await withSeller({ answer: (req, res) => res.destroy() }, async (seller) => {
      const me = buyer();
      const first = await me.pay(`${seller.url}/x`, "--timeout", "5s");
      assert.equal(first.code, 3, first.stderr);
      assert.equal(first.json.outcome, "unknown");
      const again = await me.pay(`${seller.url}/x`, "--timeout", "5s");
      assert.deepEqual([again.code, again.json.sentAgain], [3, true]);
      const signatures = () => new Set(seller.payments().map((one) => one.paid.payload.signature));
      assert.equal(signatures().size, 1, "one request, one signature");
      assert.equal(me.book().filter((line) => line.event === "signed").length, 1);
      // Another request is another purchase.
      await me.pay(`${seller.url}/other`, "--timeout", "5s");
      assert.equal(signatures().size, 2);
    });
  });

  test("what was lost on the way is collected with the same payment", async () => {
    // Between the buyer and our gateway, and cuts the first paid answer.
    const { port } = new URL(gateway.url);
    let cut = true;
    const shown = [];
    const proxy = http.createServer((req, res) => {
      const paid = req.headers["payment-signature"];
      if (paid) shown.push(paid);
      const onward = http.request({ port, host: "127.0.0.1", path: req.url, method: req.method, headers: req.headers }, (answer) => {
        if (paid && cut) {
          cut = false;
          answer.resume().once("end", () => res.destroy());
          return;
        }
        res.writeHead(answer.statusCode, answer.rawHeaders);
        answer.pipe(res);
      });
      req.pipe(onward);
    });
    await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const direct = await fetch(`${gateway.url}/paid/lost`);
    await direct.text();
    try {
      const me = buyer();
      const { value, paid } = await spent(() => me.pay(`http://127.0.0.1:${proxy.address().port}/paid/lost`, "--timeout", "20s"));
      assert.equal(new Set(shown).size, 1, "one signature");
      assert.ok(shown.length >= 2);
      assert.equal(paid, 1000n, "charged once");
      // Our gateway had handed everything over: it says that the payment was used, with the receipt.
      assert.equal(value.code, 6, value.stderr);
      assert.equal(value.json.charged, true);
      assert.match(value.json.transaction, /^0x[0-9a-f]{64}$/);
    } finally {
      proxy.close().closeAllConnections();
    }
  });

  const kLies = {
    "a transaction that is not there": () => receipt(`0x${"3".repeat(64)}`),
    "somebody else's transaction": async () => {
      const other = await buyer().pay(`${gateway.url}/paid/honest`);
      return receipt(other.json.transaction);
    },
  };
  for (const [name, make] of Object.entries(kLies)) {
    test(`a receipt with ${name} is told when asked for`, async () => {
      const lie = await make();
      await withSeller({ answer: (req, res) => res.writeHead(200, { "payment-response": lie }).end("goods") }, async (seller) => {
        const done = await buyer().pay(`${seller.url}/x`, "--verify-receipt", chain.rpc, "--timeout", "3s");
        assert.equal(done.code, 1, done.stdout);
        assert.notEqual(done.json.proven, true);
        assert.ok(done.json.why);
        assert.equal(done.json.body, "goods", "the goods are shown all the same");
      });
    });
  }
  const kMisfits = {
    "for another network": { network: "eip155:1" },
    "for another payer": { payer: rig.evmAddress("mallory") },
    "that says it failed": { success: false, errorReason: "insufficient_funds" },
  };
  for (const [name, more] of Object.entries(kMisfits)) {
    test(`a receipt ${name} is not taken for one`, async () => {
      const lie = receipt(`0x${"4".repeat(64)}`, more);
      await withSeller({ answer: (req, res) => res.writeHead(200, { "payment-response": lie }).end("goods") }, async (seller) => {
        const me = buyer();
        const done = await me.pay(`${seller.url}/x`);
        assert.equal(done.json.charged, false);
        assert.equal(done.json.outcome, "served");
        assert.ok(done.json.why);
        assert.equal(me.book().filter((line) => line.event === "closed").length, 0, "the payment may still be cashed");
      });
    });
  }

  test("a seller who refuses the payment: exit 6, and his words", async () => {
    const answer = (req, res) => res.writeHead(402, { "content-type": "application/json" }).end(JSON.stringify({ error: "insufficient_funds" }));
    await withSeller({ answer, version: 1 }, async (seller) => {
      const done = await buyer().pay(`${seller.url}/x`);
      assert.deepEqual([done.code, done.json.outcome, done.json.why], [6, "refused", "insufficient_funds"]);
      assert.equal(seller.payments()[0].paid.x402Version, 1);
    });
    const poor = await buyer({ env: { PONTAGE_BUYER_KEY: rig.evmKey("poor") } }).pay(`${gateway.url}/paid/poor`);
    assert.equal(poor.code, 6);
    assert.equal(poor.json.charged, false);
  });
});
