// Keys that sign licenses change while everything runs; and the gateway, which has public ones alone, lives apart from
// who issues: other process, other database, nothing between them but HTTP.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import zlib from "node:zlib";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";
import * as config from "../rig/src/config.mjs";
import { freePort } from "../rig/src/nginx.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kIssuer = "https://api.example.com";
const kSales = `issuer = "${kIssuer}"\nsigning_key = "file:license.pem"\njwks = "file:jwks.json"\ngrace_days = 0\n`;
const kMail = '[mail]\nprovider = "smtp"\nhost = "127.0.0.1"\nport = 9\nfrom = "Example <keys@example.com>"\n';
const kPlans = `
[[plan]]
name = "all"
price = "$29/month"
`;
const kRoutes = `${kPlans}
[[route]]
match = "GET /docs/*"
upstream = "api"
price = "$0.001"
plans = ["all"]
`;

let chain, upstream;
const homes = [];
before(async () => {
  chain = await rig.up();
  upstream = await startUpstream();
});
after(async () => {
  await upstream?.stop();
  await chain?.stop();
  for (const dir of homes) fs.rmSync(dir, { recursive: true, force: true });
});

function home() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
  homes.push(dir);
  return dir;
}
async function issuerHome() {
  const dir = home();
  const init = await run(["init", "--dir", dir]);
  assert.equal(init.code, 0, init.stderr);
  return dir;
}
const allInOne = () =>
  sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: `${kRoutes}[license]\n${kSales}${kMail}` });
const salesAlone = (listen) => `
[server]
listen = "${listen}"
public_url = "http://api.example.com"
${kPlans}[license]
${kSales}`;
const gatewayAlone = (issuer, more = "") =>
  sellerConfig({
    rpc: chain.rpc,
    upstream: upstream.url,
    routes: `${kRoutes}[license]
issuer = "${kIssuer}"
jwks = "${issuer}/.well-known/jwks.json"
feed = "${issuer}/v1/entitlements"
${more}`,
  });

const cliIn = (dir) => async (...args) => {
  const out = await run([...args, "--config", path.join(dir, "pontage.toml"), "--json"], {
    cwd: dir,
    env: { PONTAGE_EVM_KEY: config.evmKey("facilitator") },
  });
  return { ...out, said: out.stdout ? JSON.parse(out.stdout) : undefined };
};
async function issueIn(dir, ...more) {
  const out = await cliIn(dir)("license", "issue", "--plan", "all", "--customer", "cus_test", ...more);
  assert.equal(out.code, 0, out.stderr);
  return out.said;
}
const kidOf = (license) => JSON.parse(Buffer.from(license.split(".")[0], "base64url")).kid;
async function ask(url, license) {
  const answer = await fetch(`${url}/docs/a`, { headers: { authorization: `Bearer ${license}` } });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, code: answer.status === 200 ? "" : JSON.parse(text).code };
}
const jwksOf = async (url) => (await fetch(`${url}/.well-known/jwks.json`)).json();
const until = (label, look, withinMs = 5_000) => rig.until(look, { label, withinMs, everyMs: 50 });

// Asks with every license of `licenses`, which may grow, until stopped. Counts what was not 200.
function caller(url, licenses) {
  const seen = { calls: 0, rejected: [] };
  let on = true;
  const done = Promise.all(
    Array.from({ length: 4 }, async (_, n) => {
      for (let i = n; on; ++i) {
        const answer = await ask(url, licenses[i % licenses.length]);
        ++seen.calls;
        if (answer.status !== 200) seen.rejected.push(answer);
        await new Promise((resolve) => setTimeout(resolve, 2));
      }
    }),
  );
  return { seen, stop: () => ((on = false), done) };
}

describe("license rotate, all in one process", () => {
  let server, dir;
  before(async () => {
    dir = await issuerHome();
    server = await startPontage(allInOne(), { dir });
  });
  after(() => server?.stop());

  test("billing 25: a rotation rejects not one license, and new ones have the new key", async () => {
    const licenses = [(await issueIn(dir)).license, (await issueIn(dir)).license];
    const old = kidOf(licenses[0]);
    const calls = caller(server.url, licenses);
    const rotating = cliIn(dir)("license", "rotate");
    // Issued while the new key waits for its time.
    licenses.push((await issueIn(dir)).license);
    const out = await rotating;
    assert.equal(out.code, 0, out.stderr);
    const fresh = (await issueIn(dir)).license;
    licenses.push(fresh);
    await until("calls with the new license", () => calls.seen.calls > 200, 20_000);
    await calls.stop();
    assert.deepEqual(calls.seen.rejected, []);

    assert.notEqual(kidOf(fresh), old);
    assert.equal(out.said.kid, kidOf(fresh));
    assert.equal(out.said.state, "signing");
    assert.deepEqual(out.said.keys.map((key) => key.state).sort(), ["signing", "verify-only"]);
    const jwks = await until("the announced end", async () => {
      const set = await jwksOf(server.url);
      return set.keys.length === 2 && set.keys.some((key) => key.exp) ? set : undefined;
    });
    const announced = jwks.keys.find((key) => key.kid === old);
    assert.ok(announced.exp * 1_000 > Date.now() + 30 * 86_400_000, "as long as what it signed, and longer");
    assert.equal(jwks.keys.find((key) => key.kid === kidOf(fresh)).exp, undefined);
    assert.deepEqual(JSON.parse(fs.readFileSync(path.join(dir, "jwks.json"), "utf8")), jwks, "the file for others, too");
    const feed = await (await fetch(`${server.url}/v1/entitlements?since=0`)).text();
    assert.equal(kidOf(feed), kidOf(fresh));
    assert.equal(fs.statSync(path.join(dir, "license.pem")).mode & 0o777, 0o600);
    assert.equal(fs.existsSync(path.join(dir, "license.pem.next")), false);
    assert.equal((await cliIn(dir)("license", "verify", licenses[0])).code, 0);
  });

  test("a time that is none is a slip of whoever asked, and nothing is made", async () => {
    const out = await cliIn(dir)("license", "rotate", "--after", "xyz");
    assert.equal(out.code, 2);
    assert.match(out.stderr, /--after xyz.*"10m"/);
    assert.equal(fs.existsSync(path.join(dir, "license.pem.next")), false);
  });

  test("a staged key is published before it signs, and one rotation waits for the other", async () => {
    const out = await cliIn(dir)("license", "rotate", "--after", "1h");
    assert.equal(out.code, 0, out.stderr);
    assert.equal(out.said.state, "staged");
    assert.equal(fs.statSync(path.join(dir, "license.pem.next")).mode & 0o777, 0o600);
    await until("its publication", async () => (await jwksOf(server.url)).keys.some((key) => key.kid === out.said.kid));
    assert.equal(kidOf((await issueIn(dir)).license), out.said.signing, "the old one signs");
    assert.notEqual(out.said.signing, out.said.kid);
    const again = await cliIn(dir)("license", "rotate");
    assert.equal(again.code, 1);
    assert.match(again.stderr, /under way/);
  });

  test("a key that became known to others is refused at once, and everybody gets a new license by mail", async () => {
    const ann = await issueIn(dir, "--email", "ann@example.com");
    const bob = await issueIn(dir, "--email", "bob@example.com");
    const gone = await issueIn(dir, "--email", "gone@example.com");
    await cliIn(dir)("license", "revoke", gone.id);
    assert.equal((await ask(server.url, ann.license)).status, 200);
    const out = await cliIn(dir)("license", "rotate", "--compromised");
    assert.equal(out.code, 0, out.stderr);
    await until("the refusal", async () => (await ask(server.url, ann.license)).code === "license_invalid");
    const fresh = await issueIn(dir);
    assert.equal(kidOf(fresh.license), out.said.kid);
    assert.equal((await ask(server.url, fresh.license)).status, 200);
    const db = new DatabaseSync(path.join(dir, "pontage.db"), { readOnly: true });
    const mails = db.prepare("SELECT recipient, license FROM mail_outbox WHERE kind = 'key_rotation'").all();
    const audit = db.prepare("SELECT verb, subject FROM audit WHERE verb LIKE 'key.%' ORDER BY seq").all().map((row) => [row.verb, row.subject]);
    db.close();
    assert.deepEqual(audit.slice(-2), [["key.rotate", out.said.kid], ["key.revoke", kidOf(ann.license)]]);
    assert.deepEqual(mails.map((mail) => mail.recipient).sort(), ["ann@example.com", "bob@example.com"]);
    assert.ok(mails.some((mail) => mail.license === bob.id));
    assert.equal((await cliIn(dir)("license", "show", ann.id)).said.generation, 2);
    const shown = await jwksOf(server.url);
    assert.ok(!shown.keys.some((key) => key.kid === kidOf(ann.license)));
    assert.equal(shown.revoked.length, 1, "its own word against itself");
    assert.ok(out.said.reissued >= 2);
  });
});

describe("roles apart: a gateway with public keys alone", () => {
  let sales, gateway, dir, where, port;
  const startSales = async () => (sales = await startPontage(salesAlone(`127.0.0.1:${port}`), { dir }));
  const issuer = () => `http://127.0.0.1:${port}`;
  before(async () => {
    port = await freePort();
    dir = await issuerHome();
    where = home();
    await startSales();
    gateway = await startPontage(gatewayAlone(issuer()), { dir: where });
  });
  after(async () => {
    await gateway?.stop();
    await sales?.stop();
  });

  test("fetches them, and nothing that signs is in its process or its folder", async () => {
    const { license } = await issueIn(dir);
    assert.equal((await ask(gateway.url, license)).status, 200);
    assert.deepEqual(fs.readdirSync(where).filter((name) => /pem|jwks/.test(name)), []);
    assert.equal((await fetch(`${gateway.url}/v1/entitlements`)).status, 404);
  });

  test("billing 23: hears of a revocation within five seconds", async () => {
    const { license, id } = await issueIn(dir);
    assert.equal((await ask(gateway.url, license)).status, 200);
    await cliIn(dir)("license", "revoke", id);
    await until("the revocation", async () => (await ask(gateway.url, license)).code === "license_revoked");
  });

  test("billing 25: learns a new key before it is needed: through a rotation it rejects nothing", async () => {
    const licenses = [(await issueIn(dir)).license];
    const calls = caller(gateway.url, licenses);
    const out = await cliIn(dir)("license", "rotate", "--after", "5s");
    assert.equal(out.code, 0, out.stderr);
    licenses.push((await issueIn(dir)).license);
    assert.equal(kidOf(licenses[1]), out.said.kid);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    await calls.stop();
    assert.deepEqual(calls.seen.rejected, []);
    assert.ok(calls.seen.calls > 100);
  });

  test("serves on while sales is killed, and begins again without it, with what it has heard", async () => {
    const good = await issueIn(dir);
    const bad = await issueIn(dir);
    await cliIn(dir)("license", "revoke", bad.id);
    await until("the revocation", async () => (await ask(gateway.url, bad.license)).status === 401);
    const calls = caller(gateway.url, [good.license]);
    await sales.kill();
    // Of a key that it knows, though nobody can be asked about it.
    const later = await issueIn(dir);
    assert.equal((await ask(gateway.url, later.license)).status, 200);
    await calls.stop();
    assert.deepEqual(calls.seen.rejected, []);
    await gateway.kill();
    gateway = await startPontage(gatewayAlone(issuer()), { dir: where });
    assert.equal((await ask(gateway.url, good.license)).status, 200);
    assert.equal((await ask(gateway.url, bad.license)).code, "license_revoked", "from its first request");
    await startSales();
    await cliIn(dir)("license", "revoke", good.id);
    await until("the revocation after its return", async () => (await ask(gateway.url, good.license)).status === 401, 8_000);
  });

  test("a key that became known to others is refused within seconds here, too", async () => {
    const old = await issueIn(dir);
    assert.equal((await ask(gateway.url, old.license)).status, 200);
    const out = await cliIn(dir)("license", "rotate", "--compromised");
    assert.equal(out.code, 0, out.stderr);
    await until("its end", async () => (await ask(gateway.url, old.license)).status === 401, 10_000);
    const fresh = await issueIn(dir);
    await until("the new key", async () => (await ask(gateway.url, fresh.license)).status === 200, 5_000);
    assert.equal((await ask(gateway.url, old.license)).status, 401);
  });

  test("the feed is compressed for who takes it, and tagged", async () => {
    for (let i = 0; i < 12; ++i) await cliIn(dir)("license", "revoke", (await issueIn(dir)).id);
    const body = await new Promise((resolve, reject) => {
      http
        .get(`${issuer()}/v1/entitlements?since=0`, { headers: { "accept-encoding": "gzip" } }, (answer) => {
          const parts = [];
          answer.on("data", (part) => parts.push(part));
          answer.on("end", () => resolve({ headers: answer.headers, bytes: Buffer.concat(parts) }));
        })
        .on("error", reject);
    });
    assert.equal(body.headers["content-encoding"], "gzip");
    assert.match(body.headers.vary, /accept-encoding/i);
    const plain = zlib.gunzipSync(body.bytes).toString();
    assert.equal(plain.split(".").length, 3);
    assert.ok(body.bytes.length < plain.length);
    const again = await fetch(`${issuer()}/v1/entitlements?since=0`, { headers: { "if-none-match": body.headers.etag } });
    assert.equal(again.status, 304);
  });
});

describe("what a gateway does not believe", () => {
  test("a set that drops a key before its end; and it asks for an unknown key once a minute", async () => {
    const dir = await issuerHome();
    const set = JSON.parse(fs.readFileSync(path.join(dir, "jwks.json"), "utf8"));
    const other = JSON.parse(fs.readFileSync(path.join(await issuerHome(), "jwks.json"), "utf8"));
    let shown = set;
    let asked = 0;
    const web = http.createServer((request, answer) => {
      asked += request.url === "/.well-known/jwks.json" ? 1 : 0;
      answer.writeHead(request.url === "/.well-known/jwks.json" ? 200 : 404, { "content-type": "application/json" });
      answer.end(JSON.stringify(shown));
    });
    await new Promise((resolve) => web.listen(0, "127.0.0.1", resolve));
    fs.writeFileSync(path.join(dir, "pontage.toml"), salesAlone("127.0.0.1:0"));
    const { license } = await issueIn(dir);
    const url = `http://127.0.0.1:${web.address().port}`;
    const gateway = await startPontage(
      sellerConfig({
        rpc: chain.rpc,
        upstream: upstream.url,
        routes: `${kRoutes}[license]\nissuer = "${kIssuer}"\njwks = "${url}/.well-known/jwks.json"\n`,
      }),
    );
    try {
      assert.equal((await ask(gateway.url, license)).status, 200);
      assert.equal(asked, 1);
      shown = other;
      const strange = license.split(".");
      strange[0] = Buffer.from(JSON.stringify({ alg: "EdDSA", kid: "nobody's", typ: "lic+jwt" })).toString("base64url");
      for (let i = 0; i < 5; ++i) assert.equal((await ask(gateway.url, strange.join("."))).status, 401);
      assert.equal(asked, 2, "five strangers made it ask once");
      assert.match(gateway.events("licenses.keys_not_heard").at(-1).detail, /drops the key/);
      assert.match(await (await fetch(`${gateway.metricsUrl}/metrics`)).text(), /license_keys_refused_total 1/);
      assert.equal((await ask(gateway.url, license)).status, 200, "what was believed stays");
      shown = { keys: [...set.keys, ...other.keys] };
      await until("the next look", () => asked > 2, 10_000);
      assert.equal((await ask(gateway.url, license)).status, 200);
    } finally {
      await gateway.stop();
      web.close();
    }
  });
});
