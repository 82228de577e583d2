// Our facilitator as other people's servers use it: the official Express server and clients settle
// through it, many payments of one key at once are mined in few blocks, and no payment is settled twice.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { authorize } from "../rig/src/pay.mjs";
import { fetchV2, startOfficialServer } from "../rig/src/peers.mjs";
import { startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";

const kToken = "a token that is long enough";

function facilitatorConfig(rpc, sections = "") {
  return `
[server]
listen = "127.0.0.1:0"
[store]
url = "sqlite:pontage.db"
[x402.pay_to]
"${rig.EVM_NETWORK_V1}" = "${rig.evmAddress("payee")}"
[chain."${rig.EVM_NETWORK_V1}"]
rpc = ["${rpc}"]
signer = "env:PONTAGE_EVM_KEY"
${sections}`;
}
const start = (rpc, sections) =>
  startPontage(facilitatorConfig(rpc, sections), { args: ["--role", "facilitator"] });

// What a server posts to a facilitator for one good payment; `how` goes to authorize.
async function sale(version = 2, how = {}) {
  const requirement = {
    scheme: "exact",
    network: version === 1 ? rig.EVM_NETWORK_V1 : rig.EVM_NETWORK,
    [version === 1 ? "maxAmountRequired" : "amount"]: "1000",
    asset: rig.USDC.address,
    payTo: rig.evmAddress("payee"),
    maxTimeoutSeconds: 300,
    extra: { name: rig.USDC.name, version: rig.USDC.version },
    ...(version === 1 && { resource: "https://api.example.com/", description: "", mimeType: "" }),
  };
  const payload = await authorize(requirement, how);
  const paymentPayload =
    version === 1
      ? { x402Version: 1, scheme: "exact", network: requirement.network, payload }
      : { x402Version: 2, accepted: requirement, payload };
  return { x402Version: version, paymentPayload, paymentRequirements: requirement };
}

async function post(url, body, headers = {}) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: answer.status, headers: answer.headers, json: await answer.json() };
}

const tally = (words) =>
  words.reduce((count, word) => ({ ...count, [word]: (count[word] ?? 0) + 1 }), {});

describe("blocks at once", () => {
  let chain, facilitator;
  before(async () => {
    chain = await rig.up();
    facilitator = await start(chain.rpc);
  });
  after(async () => {
    await facilitator?.stop();
    await chain?.stop();
  });

  test("both versions are verified and settled, and the payee has the money", async () => {
    for (const version of [1, 2]) {
      const had = await rig.tokenBalance(chain.rpc, "payee");
      const body = await sale(version);
      const verified = await post(`${facilitator.url}/verify`, body);
      assert.deepEqual(verified.json, { isValid: true, payer: rig.evmAddress("buyer") });
      const settled = await post(`${facilitator.url}/settle`, body);
      assert.equal(settled.json.success, true, JSON.stringify(settled.json));
      assert.equal(settled.json.network, body.paymentRequirements.network);
      assert.match(settled.json.transaction, /^0x[0-9a-f]{64}$/);
      assert.equal((await rig.tokenBalance(chain.rpc, "payee")) - had, 1000n);
    }
  });

  test("an official server and client pay through it, and the same payment buys once", async () => {
    const server = await startOfficialServer(facilitator.url);
    try {
      let header;
      const spy = (input, init) => {
        const request = new Request(input, init);
        header = request.headers.get("payment-signature") ?? header;
        return fetch(request);
      };
      const url = `${server.url}/paid`;
      const paid = await fetchV2("buyer", spy)(url);
      assert.equal(paid.status, 200);
      const again = await fetch(url, { headers: { "payment-signature": header } });
      assert.equal(again.status, 402);
      const withheld = (input, init) => {
        const request = new Request(input, init);
        if (!request.headers.has("payment-signature")) return fetch(request);
        header = request.headers.get("payment-signature");
        return new Response("kept back");
      };
      await fetchV2("buyer", withheld)(url);
      const had = await rig.tokenBalance(chain.rpc, "payee");
      const all = await Promise.all(
        Array.from({ length: 50 }, async () => {
          const answer = await fetch(url, { headers: { "payment-signature": header } });
          await answer.arrayBuffer();
          return answer.status;
        }),
      );
      assert.deepEqual(tally(all), { 200: 1, 402: 49 });
      assert.equal((await rig.tokenBalance(chain.rpc, "payee")) - had, 1000n);
    } finally {
      await server.stop();
    }
  });

  test("it stands at the root and under /facilitator, with no gateway beside it", async () => {
    const [root, under] = await Promise.all(
      ["", "/facilitator"].map(async (prefix) => (await fetch(`${facilitator.url}${prefix}/supported`)).json()),
    );
    assert.deepEqual(under, root);
    assert.deepEqual(root.kinds.map((kind) => kind.x402Version).sort(), [1, 2]);
    const verified = await post(`${facilitator.url}/facilitator/verify`, await sale());
    assert.equal(verified.json.isValid, true);
  });

  test("an account whose code agrees to nothing is refused, though its key signed", async () => {
    const body = await sale();
    const { test: control } = rig.evmClients(chain.rpc);
    const address = rig.evmAddress("buyer");
    await control.setCode({ address, bytecode: `0xef0100${rig.PERMIT2.slice(2)}` });
    try {
      const verified = await post(`${facilitator.url}/verify`, body);
      assert.equal(verified.status, 200);
      assert.equal(verified.json.invalidReason, "invalid_exact_evm_signature");
    } finally {
      await control.setCode({ address, bytecode: "0x" });
    }
  });

  test("what is asked wrongly is told so, and the chain's words stay inside", async () => {
    const good = await sale();
    const altered = (path, value) => {
      const body = structuredClone(good);
      const keys = path.split(".");
      const last = keys.pop();
      keys.reduce((at, key) => at[key], body)[last] = value;
      return body;
    };
    const cases = [
      ["{nope", 400, undefined],
      [{}, 400, "/paymentPayload"],
      [altered("x402Version", 1), 400, "/x402Version"],
      [altered("paymentPayload.payload", {}), 400, "/paymentPayload/payload/authorization"],
      [
        altered("paymentPayload.payload.authorization.value", "abc"),
        400,
        "/paymentPayload/payload/authorization/value",
      ],
      [altered("paymentRequirements.payTo", rig.evmAddress("mallory")), 403, "/paymentRequirements/payTo"],
      [JSON.stringify(good) + " ".repeat(70_000), 413, undefined],
    ];
    for (const [body, status, pointer] of cases) {
      for (const call of ["verify", "settle"]) {
        const answer = await post(`${facilitator.url}/${call}`, body);
        assert.equal(answer.status, status, `${call} ${JSON.stringify(body).slice(0, 80)}`);
        assert.equal(answer.headers.get("content-type"), "application/problem+json");
        assert.equal(answer.json.pointer, pointer);
      }
    }
    const scheme = altered("paymentPayload.accepted.scheme", "nope");
    scheme.paymentRequirements.scheme = "nope";
    assert.equal((await post(`${facilitator.url}/verify`, scheme)).json.isValid, false);
    const wrongMethod = await fetch(`${facilitator.url}/verify`);
    assert.equal(wrongMethod.status, 405);
    assert.equal(wrongMethod.headers.get("allow"), "POST");
  });

  test("a chain that cannot be reached is an outage and not an invalid payment", async () => {
    const other = await rig.up();
    let lonely;
    try {
      lonely = await startPontage(facilitatorConfig(other.rpc, '[facilitator]\ntokens = ["env:TOKEN"]\n'), {
        args: ["--role", "facilitator"],
        env: { TOKEN: kToken },
      });
      const body = await sale();
      assert.equal((await post(`${lonely.url}/verify`, body)).status, 401);
      const token = { authorization: `Bearer ${kToken}` };
      assert.equal((await post(`${lonely.url}/verify`, body, token)).json.isValid, true);
      await other.stop();
      for (const call of ["verify", "settle"]) {
        const answer = await post(`${lonely.url}/${call}`, body, token);
        assert.equal(answer.status, 503);
        assert.equal(answer.json.code, "chain_unreachable");
        assert.equal(answer.json.isValid ?? answer.json.success, undefined);
        assert.ok(answer.headers.get("retry-after"));
      }
      // What is bad in itself is so without the chain; whether a payer is a contract, only the chain tells.
      const cheap = await sale(2, { auth: { value: "999" } });
      const refused = await post(`${lonely.url}/verify`, cheap, token);
      assert.equal(refused.json.invalidReason, "invalid_exact_evm_payload_authorization_value_mismatch");
      const forged = await sale(2, { signer: "mallory" });
      assert.equal((await post(`${lonely.url}/verify`, forged, token)).status, 503);
    } finally {
      await lonely?.stop();
      await other.stop();
    }
  });
});

describe("a block each second", () => {
  let chain, facilitator;
  before(async () => {
    chain = await rig.up({ blockTime: 1 });
    facilitator = await start(chain.rpc);
  });
  after(async () => {
    await facilitator?.stop();
    await chain?.stop();
  });

  test("a hundred payments at once by one key are mined within three blocks", async () => {
    const bodies = await Promise.all(Array.from({ length: 100 }, () => sale()));
    const block = async () => Number(await rig.rpcCall(chain.rpc, "eth_blockNumber"));
    const first = await block();
    const answers = await Promise.all(bodies.map((body) => post(`${facilitator.url}/settle`, body)));
    const failed = answers.filter(({ json }) => json.success !== true);
    assert.deepEqual(failed, []);
    const hashes = await rig.eachHasItsTransfer(chain.rpc, answers.map(({ json }) => json.transaction));
    const blocks = await Promise.all(
      hashes.map(async (hash) =>
        Number((await rig.rpcCall(chain.rpc, "eth_getTransactionReceipt", hash)).blockNumber),
      ),
    );
    const taken = Math.max(...blocks) - first;
    assert.ok(taken <= 3, `the last was mined ${taken} blocks later`);
  });

  test("killed in the middle, it finishes what it had signed, once", async () => {
    const bodies = await Promise.all(Array.from({ length: 20 }, () => sale()));
    const had = await rig.tokenBalance(chain.rpc, "payee");
    const lost = bodies.map((body) => post(`${facilitator.url}/settle`, body).catch(() => null));
    await new Promise((resolve) => setTimeout(resolve, 150));
    await facilitator.kill();
    await Promise.all(lost);
    const { dir } = facilitator;
    facilitator = await startPontage(facilitatorConfig(chain.rpc), {
      dir,
      args: ["--role", "facilitator"],
    });
    const answers = await Promise.all(bodies.map((body) => post(`${facilitator.url}/settle`, body)));
    assert.deepEqual(
      answers.filter(({ json }) => json.success !== true),
      [],
    );
    assert.equal((await rig.tokenBalance(chain.rpc, "payee")) - had, 20_000n);
  });
});
