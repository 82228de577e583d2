// A world that is not as the configuration says: `pontage doctor` names what is wrong and what helps, and
// `pontage serve` does not start where it could only do harm.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { onTerminal } from "../rig/src/terminal.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoutes = '[[route]]\nmatch = "GET /paid/*"\nprice = "$0.001"\n';
const kNobody = "http://127.0.0.1:1";
const kCard = `[license]
signing_key = "file:license.pem"
[stripe]
api_key = "env:STRIPE_SECRET_KEY"
webhook_secret = ["env:STRIPE_WEBHOOK_SECRET"]
api_base = "${kNobody}"
[mail]
provider = "resend"
api_key = "env:RESEND_API_KEY"
from = "Example <keys@example.com>"
`;
const kEnv = { PONTAGE_EVM_KEY: rig.evmKey("facilitator") };

let chain, upstream, home, liar;
// What the rpc in between answers instead of the chain; a method's answer, or a function of its params.
let lies = {};
before(async () => {
  chain = await rig.up();
  upstream = await startUpstream();
  home = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-doctor-"));
  const server = http.createServer(async (req, res) => {
    let text = "";
    for await (const chunk of req) text += chunk;
    const answer = await fetch(chain.rpc, { method: "POST", headers: { "content-type": "application/json" }, body: text });
    const asked = [JSON.parse(text)].flat();
    const said = [await answer.json()].flat();
    for (const one of said) {
      const { method, params } = asked.find((call) => call.id === one.id);
      const lie = lies[method];
      if (lie !== undefined) one.result = typeof lie === "function" ? (lie(params) ?? one.result) : lie;
    }
    res.setHeader("content-type", "application/json").end(JSON.stringify(Array.isArray(JSON.parse(text)) ? said : said[0]));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  liar = { rpc: `http://127.0.0.1:${server.address().port}`, stop: () => new Promise((resolve) => server.close(resolve).closeAllConnections()) };
});
after(async () => {
  await liar?.stop();
  await upstream?.stop();
  await chain?.stop();
  fs.rmSync(home, { recursive: true, force: true });
});

let n = 0;
function place(toml) {
  n += 1;
  const dir = path.join(home, String(n));
  fs.mkdirSync(dir);
  fs.writeFileSync(path.join(dir, "pontage.toml"), toml);
  return dir;
}
async function doctor(more, env = kEnv) {
  const dir = place(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, ...more }));
  const done = await run(["doctor"], { cwd: dir, env });
  const { ok, checks } = JSON.parse(done.stdout);
  assert.equal(done.code, ok ? 0 : 1);
  const of = (level) => checks.filter((check) => check.level === level);
  return { ok, checks, bad: of("fail"), warned: of("warn"), dir };
}

describe("doctor", () => {
  test("finds nothing where all is well, and makes nothing", async () => {
    const { ok, checks, bad, warned, dir } = await doctor();
    assert.ok(ok, JSON.stringify(bad));
    assert.deepEqual(warned, []);
    const what = checks.map((check) => check.what);
    for (const name of ["config", "store", "rpc of", "tokens on", "signer on", "clock on", "upstream api"]) {
      assert.ok(what.some((one) => one.startsWith(name)), `${name} in ${what}`);
    }
    assert.deepEqual(fs.readdirSync(dir), ["pontage.toml"]);
    const shown = await onTerminal(["doctor"], { cwd: dir, env: kEnv });
    assert.equal(shown.code, 0);
    assert.match(shown.text, /^ok +rpc of base-sepolia: 127\.0\.0\.1:\d+ is chain 84532$/m);
  });

  const kIll = {
    "the rpc is down": [{ rpc: kNobody }, {}, /^rpc of/, /check the URL and that the node runs/],
    "the rpc is another chain": [{ rpc: "liar" }, { eth_chainId: "0x1" }, /^rpc of/, /use a node of chain 84532/],
    "no code at the token": [{ rpc: "liar" }, { eth_getCode: "0x" }, /^tokens on/, /./],
    "the signer has no gas": [{ rpc: "liar" }, { eth_getBalance: "0x0" }, /^signer on/, /send it some ether/],
    "the upstream is down": [{ upstream: kNobody }, {}, /^upstream api/, /check that it runs/],
    "the remote facilitator is down": [{ x402: `facilitator = "${kNobody}"` }, {}, /^facilitator/, /check that it runs/],
    "the store cannot be written": [{ store: "sqlite:/nonexistent/pontage.db" }, {}, /^store/, /./],
    "the store is no database": [{ store: "sqlite:pontage.toml" }, {}, /^store/, /./],
    "PostgreSQL is down": [{ store: "postgresql://postgres@/x?host=/nonexistent" }, {}, /^store/, /store\.url or DATABASE_URL/],
  };
  for (const [name, [more, lie, what, advice]] of Object.entries(kIll)) {
    test(name, async () => {
      lies = lie;
      const { ok, bad } = await doctor({ ...more, ...(more.rpc === "liar" && { rpc: liar.rpc }) });
      assert.equal(ok, false);
      assert.equal(bad.length, 1, JSON.stringify(bad));
      assert.match(bad[0].what, what);
      assert.match(bad[0].advice, advice, bad[0].detail);
      assert.ok(bad[0].detail);
    });
  }

  test("the signer runs low: a warning", async () => {
    lies = { eth_getBalance: "0x5af3107a4000" };
    const { ok, warned } = await doctor({ rpc: liar.rpc });
    assert.ok(ok);
    assert.match(warned[0].advice, /send it more ether/);
  });

  test("a variable of the card rail that is empty or not set: a warning that names key and variable, and no secret", async () => {
    const warned = async (env) => {
      const { checks } = await doctor({ sections: kCard }, { ...kEnv, ...env });
      assert.doesNotMatch(JSON.stringify(checks), /sk_test_shown|whsec_shown|re_shown/);
      return Object.fromEntries(checks.filter((one) => one.level === "warn").map((one) => [one.what, one]));
    };
    const none = await warned({ STRIPE_SECRET_KEY: "", RESEND_API_KEY: "" });
    for (const [what, key, variable] of [
      ["stripe key", "stripe.api_key", "STRIPE_SECRET_KEY"],
      ["webhook secret", "stripe.webhook_secret", "STRIPE_WEBHOOK_SECRET"],
      ["mail key", "mail.api_key", "RESEND_API_KEY"],
    ]) {
      assert.ok(none[what]?.detail.startsWith(`${key}: env:${variable}, which is not set; `), JSON.stringify(none));
      assert.ok(none[what].advice.includes(variable));
    }
    const one = await warned({ STRIPE_SECRET_KEY: "sk_test_shown", RESEND_API_KEY: "re_shown" });
    assert.ok(one["webhook secret"]);
    assert.deepEqual([one["stripe key"], one["mail key"]], [undefined, undefined]);
    const keyless = await warned({ STRIPE_WEBHOOK_SECRET: "whsec_shown", RESEND_API_KEY: "re_shown" });
    assert.deepEqual(Object.keys(keyless), ["signing key", "stripe key"]);
    assert.match(keyless["signing key"].detail, /^license\.signing_key: .*license\.pem.*; no license is issued/);
  });

  test("a file with faults: they are what is wrong", async () => {
    const { ok, bad } = await doctor({ server: "frob = 1" });
    assert.equal(ok, false);
    assert.match(bad[0].detail, /pontage\.toml:\d+.*frob/);
    const keyless = await doctor({}, {});
    assert.match(keyless.bad[0].detail, /PONTAGE_EVM_KEY/);
  });
});

describe("serve says at the start what the card rail lacks", () => {
  const kLines = ["sales.no_signing_key", "sales.no_api_key", "sales.no_webhook_secret", "mail.no_key"];
  const started = async (sections, env) => {
    const dir = path.join(home, `card-${(n += 1)}`);
    assert.equal((await run(["init", "--dir", dir])).code, 0);
    const server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, sections }), { dir, env });
    try {
      assert.equal(server.lines.filter((line) => /_shown/.test(line)).length, 0, "no secret");
      const billing = (await fetch(`${server.url}/billing`)).status;
      return { billing, told: kLines.flatMap((name) => server.events(name)).map(({ level, event, key, found }) => [level, event, key, found]) };
    } finally {
      await server.kill();
    }
  };
  const all = { STRIPE_SECRET_KEY: "sk_test_shown", STRIPE_WEBHOOK_SECRET: "whsec_shown", RESEND_API_KEY: "re_shown" };
  const kLacks = {
    STRIPE_SECRET_KEY: ["warn", "sales.no_api_key", "stripe.api_key"],
    STRIPE_WEBHOOK_SECRET: ["warn", "sales.no_webhook_secret", "stripe.webhook_secret"],
    RESEND_API_KEY: ["warn", "mail.no_key", "mail.api_key"],
  };
  for (const [name, line] of Object.entries(kLacks)) {
    for (const value of ["", undefined]) {
      test(`${name} is ${value === undefined ? "not set" : "empty"}`, async () => {
        const { told, billing } = await started(kCard, { ...all, [name]: value });
        assert.deepEqual(told, [[...line, `env:${name}, which is not set`]]);
        assert.equal(billing, name === "STRIPE_SECRET_KEY" ? 404 : 200);
      });
    }
  }
  test("nothing, where all is there", async () => {
    assert.deepEqual((await started(kCard, all)).told, []);
  });
  test("nothing, where nothing is sold by card", async () => {
    assert.deepEqual((await started('[license]\nsigning_key = "file:license.pem"\n', {})).told, []);
  });
  test("a signing key that is not there", async () => {
    const lost = kCard.replace("file:license.pem", "env:LICENSE_KEY");
    assert.notEqual(lost, kCard);
    const { told, billing } = await started(lost, all);
    assert.deepEqual(told, [["warn", "sales.no_signing_key", "license.signing_key", "env:LICENSE_KEY, which is not set"]]);
    assert.equal(billing, 404);
  });
  test("a private key where nothing is issued", async () => {
    const dir = path.join(home, `card-${(n += 1)}`);
    assert.equal((await run(["init", "--dir", dir])).code, 0);
    const text = sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, sections: '[license]\nsigning_key = "file:license.pem"\n' });
    for (const [args, told] of [[[], 0], [["--role", "gateway,facilitator"], 1]]) {
      const server = await startPontage(text, { dir, args });
      assert.equal(server.events("licenses.private_key").length, told, `${args}`);
      await server.kill();
    }
  });
  test("one secret of two, and keys that the file does not name", async () => {
    const two = kCard.replace('["env:STRIPE_WEBHOOK_SECRET"]', '["env:STRIPE_WEBHOOK_SECRET", "env:STRIPE_NEW_SECRET"]');
    assert.deepEqual((await started(two, all)).told, [[...kLacks.STRIPE_WEBHOOK_SECRET, "env:STRIPE_NEW_SECRET, which is not set"]]);
    const bare = kCard.replace(/^(api_key|webhook_secret) = .*\n/gm, "");
    assert.deepEqual((await started(bare, all)).told, Object.values(kLacks).map((line) => [...line, "nothing"]));
  });
});

describe("serve does not start", () => {
  const config = (more) => sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, ...more });
  const kIll = {
    "where the rpc is another chain": [{ eth_chainId: "0x1" }, /chain 1\b|chain id/i],
    "where there is no code at the token": [{ eth_getCode: "0x" }, /no code|no contract|code/i],
  };
  for (const [name, [lie, why]] of Object.entries(kIll)) {
    test(name, async () => {
      lies = lie;
      const dir = place(config({ rpc: liar.rpc }));
      const done = await run(["serve"], { cwd: dir, env: kEnv });
      assert.equal(done.code, 1, done.stderr);
      assert.match(done.stderr, why);
    });
  }
  test("on a port that is taken", async () => {
    const first = await startPontage(config());
    try {
      const dir = place(config().replace('listen = "127.0.0.1:0"', `listen = "${new URL(first.url).host}"`));
      const done = await run(["serve"], { cwd: dir, env: kEnv });
      assert.notEqual(done.code, 0);
      assert.match(done.stderr, new RegExp(new URL(first.url).port));
    } finally {
      await first.stop();
    }
  });
  test("where the store cannot be made", async () => {
    const dir = place(config({ store: "sqlite:/nonexistent/pontage.db" }));
    const done = await run(["serve"], { cwd: dir, env: kEnv });
    assert.equal(done.code, 1);
    assert.match(done.stderr, /\/nonexistent\/pontage\.db/);
  });
  test("but where the rpc is only down it starts, is not ready, and then is", { timeout: 40_000 }, async () => {
    lies = {};
    const port = Number(new URL(liar.rpc).port);
    await liar.stop();
    const server = await startPontage(config({ rpc: liar.rpc }));
    try {
      assert.equal((await fetch(`${server.url}/readyz`)).status, 503);
      assert.equal(server.events("chain.unreachable").length, 1);
      // The chain comes up where it was expected.
      const late = http.createServer(async (req, res) => {
        let text = "";
        for await (const chunk of req) text += chunk;
        const answer = await fetch(chain.rpc, { method: "POST", headers: { "content-type": "application/json" }, body: text });
        res.setHeader("content-type", "application/json").end(await answer.text());
      });
      await new Promise((resolve) => late.listen(port, "127.0.0.1", resolve));
      liar.stop = () => new Promise((resolve) => late.close(resolve).closeAllConnections());
      await rig.until(async () => (await fetch(`${server.url}/readyz`)).status === 200, { withinMs: 20_000, everyMs: 200 });
    } finally {
      await server.stop();
    }
  });
});
