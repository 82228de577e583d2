// A chain's node that fails in every way a node fails, at every call we make of it: an outage is told as
// one, its words stay inside, nobody is served unpaid, and the same payment is good when the node is back.
import assert from "node:assert/strict";
import http from "node:http";
import { after, before, describe, test } from "node:test";
import { books, offersOf, payHeader, paymentV2 } from "../rig/src/pay.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kSecret = "words of the node";

// A node before the node: passes calls on, but those of `fault.method` ("*" for all) go to `fault.act`.
async function startFaultyNode(rpc) {
  const node = { fault: undefined, methods: new Set() };
  const pass = async (text) => {
    const headers = { "content-type": "application/json" };
    return (await fetch(rpc, { method: "POST", headers, body: text })).text();
  };
  const server = http.createServer(async (req, res) => {
    let text = "";
    for await (const chunk of req) text += chunk;
    const said = JSON.parse(text);
    const methods = [said].flat().map((call) => call.method);
    for (const method of methods) node.methods.add(method);
    const { fault } = node;
    if (!fault || !(fault.method === "*" || methods.includes(fault.method))) return res.end(await pass(text));
    fault.hits += 1;
    return fault.act({ res, id: said.id, text, pass: () => pass(text) });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  node.url = `http://127.0.0.1:${server.address().port}`;
  node.mend = () => {
    node.fault = undefined;
    server.closeAllConnections();
  };
  node.stop = () => {
    server.close();
    server.closeAllConnections();
  };
  return node;
}

const answer = (more) => ({ res, id }) => res.end(JSON.stringify({ jsonrpc: "2.0", id, ...more }));
const kActs = {
  "says nothing": () => undefined,
  "answers 500": ({ res }) => res.writeHead(500).end(kSecret),
  "answers with a page": ({ res }) => res.end(`<html>${kSecret}`),
  "answers null": answer({ result: null }),
  "answers with an error": answer({ error: { code: -32000, message: kSecret } }),
  "does it and hangs up": async ({ res, pass }) => {
    await pass();
    res.destroy();
  },
};
// What one paid call asks of a node; the first test holds it to what is really asked.
const kMethods = [
  "*",
  "eth_call",
  "eth_estimateGas",
  "eth_getBlockByNumber",
  "eth_getCode",
  "eth_getTransactionReceipt",
  "eth_maxPriorityFeePerGas",
  "eth_sendRawTransaction",
];

describe("a node that fails", () => {
  let chain, node, upstream, server;
  before(async () => {
    chain = await rig.up();
    node = await startFaultyNode(chain.rpc);
    upstream = await startUpstream();
    server = await startPontage(
      sellerConfig({
        rpc: node.url,
        upstream: upstream.url,
        x402: 'settle_timeout = "1s"',
        routes: '[[route]]\nmatch = "/paid/*"\nprice = "$0.001"\n',
      }),
    );
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
    node?.stop();
    await chain?.stop();
  });

  const balance = () => rig.tokenBalance(chain.rpc, "payee");
  let n = 0;
  async function pay() {
    n += 1;
    const url = `${server.url}/paid/${n}`;
    const headers = payHeader(await paymentV2(await offersOf(url)));
    return async () => {
      const said = await fetch(url, { headers, signal: AbortSignal.timeout(30_000) });
      const text = await said.text();
      return { status: said.status, text, offer: said.headers.has("payment-required"), later: said.headers.has("retry-after") };
    };
  }

  test("a paid call asks these calls of it and no other", async () => {
    assert.equal((await (await pay())()).status, 200, "the start has asked what it asks");
    node.methods.clear();
    assert.equal((await (await pay())()).status, 200);
    const others = [...node.methods].filter((method) => !kMethods.includes(method));
    assert.deepEqual(others, []);
  });

  for (const method of kMethods) {
    for (const [name, act] of Object.entries(kActs)) {
      test(`${method}: ${name}`, { timeout: 60_000 }, async () => {
        const ask = await pay();
        const had = await balance();
        const ran = upstream.requests.length;
        node.fault = { method, act, hits: 0 };
        const first = await ask();
        const { hits } = node.fault;
        node.mend();
        // The fees and the gas of a payee are remembered for a while, so that not every payment asks for them.
        if (!["eth_estimateGas", "eth_maxPriorityFeePerGas"].includes(method)) assert.ok(hits > 0, "it was asked");
        assert.ok(!first.text.includes(kSecret), first.text);
        if (first.status === 200) assert.equal((await balance()) - had, 1000n);
        else {
          assert.equal(first.status, 503, first.text);
          assert.ok(first.later, "says when to come again");
          assert.ok(!first.offer, "an outage invites no second signature");
          const ended = await rig.until(
            async () => {
              const again = await ask();
              return [409, 503].includes(again.status) ? undefined : again;
            },
            { withinMs: 30_000, everyMs: 200, label: "the same payment is good when the node is back" },
          );
          assert.equal(ended.status, 200, ended.text);
        }
        assert.equal((await balance()) - had, 1000n, "charged once");
        assert.ok(upstream.requests.length - ran <= 2, "once, and once more when it was owed");
      });
    }
  }

  test("after all that every row is settled and delivered", async () => {
    const rows = await books(server, "--limit", "1000");
    assert.equal(rows.length, n);
    assert.deepEqual([...new Set(rows.map((row) => `${row.state} ${row.delivery}`))], ["settled delivered"]);
  });
});

describe("two nodes of a chain", () => {
  let chain, second, upstream, server;
  before(async () => {
    chain = await rig.up();
    second = await startFaultyNode(chain.rpc);
    upstream = await startUpstream();
    const toml = sellerConfig({
      rpc: chain.rpc,
      upstream: upstream.url,
      x402: 'settle_timeout = "2s"',
      routes: '[[route]]\nmatch = "/dear/*"\nprice = "$0.002"\n[[route]]\nmatch = "/cheap/*"\nprice = "$0.001"\n',
    });
    const both = `rpc = ["${chain.rpc}", "${second.url}"]\nquorum_above = "$0.002"`;
    server = await startPontage(toml.replace(`rpc = ["${chain.rpc}"]`, both));
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
    second?.stop();
    await chain?.stop();
  });

  const ask = async (path) => {
    const url = `${server.url}${path}`;
    const headers = payHeader(await paymentV2(await offersOf(url)));
    const again = async () => {
      const answer = await fetch(url, { headers, signal: AbortSignal.timeout(30_000) });
      return { status: answer.status, text: await answer.text() };
    };
    return { ...(await again()), again };
  };
  // The second node is one of another chain, or gone.
  const kLies = {
    "is gone": ({ res }) => res.destroy(),
    "comes back on another chain": async ({ res, text, pass }) =>
      text.includes("eth_chainId") ? res.end((await pass()).replaceAll('"0x14a34"', '"0x1"')) : res.destroy(),
    "says that every authorization was used": async ({ res, text, pass }) => {
      const said = JSON.parse(await pass());
      const calls = [JSON.parse(text)].flat();
      for (const one of [said].flat()) {
        const call = calls.find(({ id }) => id === one.id);
        if (call.params[0]?.data?.startsWith("0xe94a0102")) one.result = `0x${"1".padStart(64, "0")}`;
      }
      res.end(JSON.stringify(said));
    },
  };

  test("above quorum_above both are asked", async () => {
    second.methods.clear();
    assert.equal((await ask("/cheap/1")).status, 200);
    // Transactions go to all.
    assert.deepEqual([...second.methods].filter((name) => !["eth_chainId", "eth_sendRawTransaction"].includes(name)), []);
    assert.equal((await ask("/dear/1")).status, 200);
    assert.ok(second.methods.has("eth_getTransactionReceipt"));
  });

  for (const [name, act] of Object.entries(kLies)) {
    test(`one ${name}: a payment above quorum_above waits, one below it is served`, { timeout: 60_000 }, async () => {
      const ran = upstream.requests.length;
      second.fault = { method: "*", act, hits: 0 };
      const dear = await ask("/dear/2");
      assert.equal(dear.status, 503, dear.text);
      assert.equal(upstream.requests.length, ran);
      assert.equal((await ask("/cheap/2")).status, 200);
      second.mend();
      const ended = await rig.until(
        async () => {
          const later = await dear.again();
          return later.status === 503 ? undefined : later;
        },
        { withinMs: 30_000, everyMs: 300, label: "the same payment is good when they agree" },
      );
      assert.equal(ended.status, 200, ended.text);
    });
  }
});

describe("the first of two nodes", () => {
  let chain, first, upstream;
  before(async () => {
    chain = await rig.up();
    first = await startFaultyNode(chain.rpc);
    upstream = await startUpstream();
  });
  after(async () => {
    await upstream?.stop();
    first?.stop();
    await chain?.stop();
  });

  // Each call is answered by `each`, or by the chain where that says nothing.
  const calls = (each) => async ({ res, text, pass }) => {
    const theirs = [JSON.parse(await pass())].flat();
    const ours = [JSON.parse(text)].flat().map((call) => ({ jsonrpc: "2.0", id: call.id, ...each(call) }));
    res.end(JSON.stringify(ours.map((one) => ("result" in one || "error" in one ? one : theirs.find(({ id }) => id === one.id)))));
  };
  const swallow = async ({ res, text, pass }) => {
    if (!text.includes("eth_sendRawTransaction")) return res.end(await pass());
    const said = [JSON.parse(text)].flat().map(({ id, method }) => {
      const result = method === "eth_chainId" ? "0x14a34" : `0x${"11".repeat(32)}`;
      return { jsonrpc: "2.0", id, result };
    });
    return res.end(JSON.stringify(said));
  };
  const kFaults = {
    "takes transactions and passes them to nobody": swallow,
    "answers every call with an error": calls(() => ({ error: { code: -32603, message: kSecret } })),
    "knows its chain and answers every other call with an error": calls(({ method }) =>
      method === "eth_chainId" ? {} : { error: { code: -32005, message: kSecret } },
    ),
    "has no state": calls(({ method }) => (method === "eth_call" ? { error: { code: -32000, message: `missing trie node ${kSecret}` } } : {})),
    "is gone": ({ res }) => res.destroy(),
  };
  for (const [name, act] of Object.entries(kFaults)) {
    test(`${name}: paid calls go on`, { timeout: 60_000 }, async (t) => {
      const routes = '[[route]]\nmatch = "/paid/*"\nprice = "$0.001"\n';
      const toml = sellerConfig({ rpc: first.url, upstream: upstream.url, x402: 'settle_timeout = "5s"', routes });
      // Each by one who has asked the first one so far.
      const server = await startPontage(toml.replace(`rpc = ["${first.url}"]`, `rpc = ["${first.url}", "${chain.rpc}"]`));
      t.after(server.stop);
      const url = `${server.url}/paid/${encodeURIComponent(name)}`;
      const had = await rig.tokenBalance(chain.rpc, "payee");
      const headers = payHeader(await paymentV2(await offersOf(url)));
      first.fault = { method: "*", act, hits: 0 };
      const answer = await fetch(url, { headers, signal: AbortSignal.timeout(30_000) });
      const { hits } = first.fault;
      first.mend();
      assert.equal(answer.status, 200, await answer.text());
      assert.ok(hits > 0, "it was asked");
      assert.equal((await rig.tokenBalance(chain.rpc, "payee")) - had, 1000n);
    });
  }
});
