// A gateway that has its issuer's public keys and his feed and nothing else, and the feed itself.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";
import { openIssuer } from "../rig/src/issuer.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";

const kRoutes = `
[[plan]]
name = "all"
price = "$290/year"
[[route]]
match = "GET /docs/*"
upstream = "api"
price = "$0.01"
plans = ["all"]
[license]
issuer = "https://api.example.com"
signing_key = "file:license.pem"
jwks = "file:jwks.json"
grace_days = 0
`;

let issuer, chain, upstream, server, dir, cli, issue;
before(async () => {
  issuer = await openIssuer({ routes: kRoutes });
  ({ chain, upstream, server, dir, cli, issue } = issuer);
});
after(() => issuer?.close());

const bearer = (license) => ({ authorization: `Bearer ${license}` });
const until = (label, look, withinMs = 5_000) => rig.until(look, { label, withinMs, everyMs: 50 });

describe("a gateway apart that is given the signing key", () => {
  let gateway, home;
  before(async () => {
    home = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
    fs.copyFileSync(path.join(dir, "license.pem"), path.join(home, "license.pem"));
    const text = sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes }).replace(
      'jwks = "file:jwks.json"\n',
      `feed = "${server.url}/v1/entitlements"\n`,
    );
    fs.writeFileSync(path.join(home, "stripe.key"), "sk_test_of_the_shop");
    const whole = `${text}\n[stripe]\napi_key = "file:stripe.key"\n`;
    gateway = await startPontage(whole, { dir: home, args: ["--role", "gateway,facilitator"] });
  });
  after(async () => {
    await gateway?.stop();
    if (home) fs.rmSync(home, { recursive: true, force: true });
  });
  const open = async () => (await fetch(`${gateway.url}/docs/a`, { headers: bearer((await issue("all")).license) })).status;

  test("says so, and opens with its public half", async () => {
    assert.equal(gateway.events("licenses.private_key").length, 1);
    assert.equal(await open(), 200);
  });
  test("and goes on so when it reads its configuration anew, which it does without the shop's secrets", async () => {
    fs.writeFileSync(path.join(home, "stripe.key"), "sk_test_another");
    process.kill(gateway.pid, "SIGHUP");
    await until("the reload", () => gateway.events("config.reloaded").length === 1);
    assert.deepEqual(gateway.events("config.needs_restart"), []);
    assert.equal(await open(), 200);
  });
});

describe("a gateway apart from the issuer", () => {
  let gateway, home;
  const apart = (feed) =>
    sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes }).replace(
      /\[license\][^]*/,
      `[license]\nissuer = "https://api.example.com"\njwks = "file:jwks.json"\nfeed = "${feed}"\n`,
    );
  before(async () => {
    home = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
    fs.copyFileSync(path.join(dir, "jwks.json"), path.join(home, "jwks.json"));
    gateway = await startPontage(apart(`${server.url}/v1/entitlements`), { dir: home });
  });
  after(async () => {
    await gateway?.stop();
    if (home) fs.rmSync(home, { recursive: true, force: true });
  });
  const at = (where, license) => fetch(gateway.url + where, { headers: bearer(license) });

  test("opens with public keys alone, and hears of a revocation within five seconds", async () => {
    const { license, id } = await issue("all");
    assert.equal((await at("/docs/a", license)).status, 200);
    assert.equal((await cli("license", "revoke", id)).code, 0);
    const refused = await until("the revocation", async () => {
      const answer = await at("/docs/a", license);
      return answer.status === 200 ? undefined : answer;
    });
    assert.equal((await refused.json()).code, "license_revoked");
  });

  test("keeps what it has heard, and serves on while the issuer is away", async () => {
    const { license, id } = await issue("all");
    const good = await issue("all");
    assert.equal((await cli("license", "revoke", id)).code, 0);
    await until("the revocation", async () => (await at("/docs/a", license)).status === 401);
    await gateway.stop();
    gateway = await startPontage(apart("http://127.0.0.1:9/v1/entitlements"), { dir: home });
    assert.equal((await at("/docs/a", license)).status, 401, "revoked, from the first request on");
    assert.equal((await at("/docs/a", good.license)).status, 200);
    await until("a word of it", () => gateway.events("licenses.issuer_not_heard").length > 0);
  });

  // The issuer's books come from a backup: they end before what the gateway has heard.
  test("goes on with an issuer whose books were restored once a person has let it forget", async () => {
    const { license, id } = await issue("all");
    const file = path.join(home, "pontage.db");
    const change = (sql) => {
      const books = new DatabaseSync(file, { timeout: 5_000 });
      books.exec(sql);
      books.close();
    };
    const feed = `${server.url}/v1/entitlements`;
    await gateway.stop();
    change("UPDATE entitlement_head SET seq = seq + 1000, hash = 'of lines that are lost'");
    gateway = await startPontage(apart(feed), { dir: home });
    await until("the refusal", () => gateway.events("licenses.issuer_not_heard").length > 0);
    assert.equal((await at("/docs/a", license)).status, 200);
    await gateway.stop();
    // As docs/guides/sell-licenses.md has it.
    change("DELETE FROM entitlement; DELETE FROM entitlement_head;");
    gateway = await startPontage(apart(feed), { dir: home });
    assert.equal((await cli("license", "revoke", id)).code, 0);
    await until("the revocation", async () => (await at("/docs/a", license)).status === 401);
  });

  // A domain that moves, or one shop after another: both number their lines from 1.
  test("an issuer who takes another's place is heard from his first line on, in each process of the store", async () => {
    const shop = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
    const next = await openIssuer({ routes: kRoutes.replace("api.example.com", "new.example.com"), beside: issuer });
    const of = (one, host) =>
      apart(`${one.server.url}/v1/entitlements`)
        .replace(`"file:jwks.json"`, `"${one.server.url}/.well-known/jwks.json"`)
        .replace("api.example.com", host);
    const running = [];
    try {
      for (let n = 0; n < 3; n += 1) {
        const { id } = await issue("all");
        assert.equal((await cli("license", "revoke", id)).code, 0);
      }
      const early = await startPontage(of(issuer, "api.example.com"), { dir: shop });
      running.push(early);
      const file = path.join(shop, "pontage.db");
      const heads = () => {
        const books = new DatabaseSync(file, { readOnly: true, timeout: 5_000 });
        const rows = books.prepare("SELECT issuer, seq FROM entitlement_head").all();
        books.close();
        return rows;
      };
      await until("the first issuer's lines", () => heads()[0]?.seq >= 3);
      await early.stop();
      running.pop();
      for (let n = 0; n < 2; n += 1) running.push(await startPontage(of(next, "new.example.com"), { dir: shop }));
      const { license, id } = await next.issue("all");
      const says = () => Promise.all(running.map(async (one) => (await fetch(`${one.url}/docs/a`, { headers: bearer(license) })).status));
      assert.deepEqual(await says(), [200, 200]);
      assert.equal((await next.cli("license", "revoke", id)).code, 0);
      await until("the revocation", async () => (await says()).every((status) => status === 401));
      assert.deepEqual(heads().map((row) => row.issuer), ["https://new.example.com"]);
    } finally {
      for (const one of running) await one.stop();
      await next.close();
      fs.rmSync(shop, { recursive: true, force: true });
    }
  });

  test("an issuer whose clock is ahead is not fresh for as long as it is", async () => {
    const shop = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
    fs.copyFileSync(path.join(dir, "jwks.json"), path.join(shop, "jwks.json"));
    const key = crypto.createPrivateKey(fs.readFileSync(path.join(dir, "license.pem")));
    const [{ kid }] = JSON.parse(fs.readFileSync(path.join(dir, "jwks.json"))).keys;
    const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const kAhead = 86_400;
    let asked = 0;
    const ahead = http.createServer((request, answer) => {
      asked += 1;
      if (asked > 1) return answer.destroy();
      const iat = Math.floor(Date.now() / 1000) + kAhead;
      const said = { iss: "https://api.example.com", iat, from: 0, to: 1, prev_hash: "", hash: "h1", snapshot: true, entries: [] };
      const text = `${base64({ alg: "EdDSA", kid, typ: "ent+jwt" })}.${base64(said)}`;
      const signed = `${text}.${crypto.sign(null, Buffer.from(text), key).toString("base64url")}`;
      return answer.writeHead(200, { "content-type": "application/jose" }).end(signed);
    });
    await new Promise((resolve) => ahead.listen(0, "127.0.0.1", resolve));
    const feed = `http://127.0.0.1:${ahead.address().port}/v1/entitlements`;
    let running = await startPontage(apart(feed), { dir: shop });
    const age = async () => Number(/^pontage_license_feed_age_seconds (-?\d+)$/m.exec(await (await fetch(`${running.metricsUrl}/metrics`)).text())[1]);
    try {
      await until("him", async () => (await age()) >= 0);
      await until("his silence", async () => (await age()) >= 2, 10_000);
      await running.stop();
      running = await startPontage(apart(feed), { dir: shop });
      assert.ok((await age()) >= 2, "after a restart");
      // As a release before this one wrote it down: nobody knows when he was heard.
      await running.stop();
      const books = new DatabaseSync(path.join(shop, "pontage.db"), { timeout: 5_000 });
      books.exec(`UPDATE entitlement_head SET as_of_ms = ${Date.now() + kAhead * 1000}`);
      books.close();
      running = await startPontage(apart(feed), { dir: shop });
      assert.equal(await age(), -1);
    } finally {
      await running.stop();
      ahead.closeAllConnections();
      ahead.close();
      fs.rmSync(shop, { recursive: true, force: true });
    }
  });

  test("billing 24: a feed that is rolled back, forged or cut off is not believed, also across a restart", async () => {
    const { license, id } = await issue("all");
    const next = await issue("all");
    let spoil = (text) => text;
    let first;
    const between = http.createServer(async (request, answer) => {
      const heard = await fetch(server.url + request.url.replace(/wait=\d+/, "wait=1"));
      const text = await heard.text();
      first ??= text;
      answer.writeHead(heard.status, { "content-type": "application/jose" }).end(spoil(text));
    });
    await new Promise((resolve) => between.listen(0, "127.0.0.1", resolve));
    const feed = `http://127.0.0.1:${between.address().port}/v1/entitlements`;
    await gateway.stop();
    const other = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
    fs.copyFileSync(path.join(dir, "jwks.json"), path.join(other, "jwks.json"));
    let apartly = await startPontage(apart(feed), { dir: other });
    const says = async (one) => (await fetch(`${apartly.url}/docs/a`, { headers: bearer(one.license) })).status;
    try {
      await until("the feed", () => first !== undefined);
      assert.equal(await says({ license }), 200);
      assert.equal((await cli("license", "revoke", id)).code, 0);
      await until("the revocation", async () => (await says({ license })) === 401);
      const spoilt = {
        "rolled back": () => first,
        "forged": (text) => {
          const [head, body, tag] = text.split(".");
          const said = JSON.parse(Buffer.from(body, "base64url"));
          const line = { seq: said.to + 1, lic: id, st: "active", exp: 9_999_999_999, plan: "all", gen: 1 };
          return [head, Buffer.from(JSON.stringify({ ...said, to: line.seq, entries: [...said.entries, line] })).toString("base64url"), tag].join(".");
        },
        "cut off": (text) => text.slice(0, text.length / 2),
      };
      for (const [what, how] of Object.entries(spoilt)) {
        const before = apartly.events("licenses.issuer_not_heard").length;
        spoil = how;
        await until(`it is told: ${what}`, () => apartly.events("licenses.issuer_not_heard").length > before, 15_000);
        assert.equal(await says({ license }), 401, what);
        assert.equal(await says(next), 200, what);
      }
      // What it had heard is in its own store.
      spoil = spoilt["rolled back"];
      await apartly.stop();
      apartly = await startPontage(apart(feed), { dir: other });
      assert.equal(await says({ license }), 401, "after a restart");
      // And it goes on when the feed is itself again.
      spoil = (text) => text;
      assert.equal((await cli("license", "revoke", next.id)).code, 0);
      await until("the next revocation", async () => (await says(next)) === 401, 15_000);
    } finally {
      await apartly.stop();
      fs.rmSync(other, { recursive: true, force: true });
      between.closeAllConnections();
      between.close();
      gateway = undefined;
    }
  });

  test("the issuer publishes his keys and a signed feed", async () => {
    const jwks = await (await fetch(`${server.url}/.well-known/jwks.json`)).json();
    assert.deepEqual(jwks, JSON.parse(fs.readFileSync(path.join(dir, "jwks.json"))));
    const feed = await fetch(`${server.url}/v1/entitlements?since=0`);
    assert.equal(feed.headers.get("content-type"), "application/jose");
    const [head, body, signature] = (await feed.text()).split(".");
    const key = crypto.createPublicKey({ key: jwks.keys[0], format: "jwk" });
    assert.ok(crypto.verify(null, Buffer.from(`${head}.${body}`), key, Buffer.from(signature, "base64url")));
    const said = JSON.parse(Buffer.from(body, "base64url"));
    assert.ok(said.snapshot && said.entries.length > 0 && said.to >= said.entries.length);
    const bad = await fetch(`${server.url}/v1/entitlements?since=x`);
    assert.equal(bad.status, 400);
    assert.equal((await bad.json()).pointer, "/since");
    assert.equal((await fetch(`${server.url}/v1/entitlements?since=999999999`)).status, 409);
  });
});
