// Licenses against implementations that are not ours: npm `jose` for JWTs, Python's `cryptography` for Fernet
// (src/crypto/fernet_oracle_test.cc has its thousand payloads).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import * as jose from "jose";
import * as config from "../rig/src/config.mjs";
import { openIssuer } from "../rig/src/issuer.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";

const kIssuer = "https://api.example.com";
const kFernetKey = Buffer.alloc(32, 7).toString("base64url") + "=";
const kOldFernetKey = Buffer.alloc(32, 9).toString("base64url") + "=";
const kRoutes = `
[[product]]
name = "yield"
price = "$0.05"
[[product]]
name = "seed"
price = "$0.05"
[[plan]]
name = "pro"
product = ["yield"]
tier = "professional"
[[plan]]
name = "old"
product = ["seed"]
tier = "starter"
format = "fernet"
[[route]]
match = "GET /yield/*"
upstream = "api"
product = "yield"
[[route]]
match = "GET /seed/*"
upstream = "api"
product = "seed"
[license]
issuer = "${kIssuer}"
signing_key = "file:license.pem"
jwks = "file:jwks.json"
fernet_keys = ["env:FERNET_KEY", "env:FERNET_KEY_OLD"]
grace_days = 0
`;
const kEnv = {
  PONTAGE_EVM_KEY: config.evmKey("facilitator"),
  FERNET_KEY: kFernetKey,
  FERNET_KEY_OLD: kOldFernetKey,
};

let issuer, chain, upstream, server, dir, issue, key, kid, jwks;
before(async () => {
  issuer = await openIssuer({ routes: kRoutes, env: kEnv });
  ({ chain, upstream, server, dir, issue } = issuer);
  key = await jose.importPKCS8(fs.readFileSync(path.join(dir, "license.pem"), "utf8"), "EdDSA");
  jwks = JSON.parse(fs.readFileSync(path.join(dir, "jwks.json"), "utf8"));
  kid = jwks.keys[0].kid;
});
after(() => issuer?.close());

async function ask(where, license) {
  const answer = await fetch(server.url + where, { headers: { authorization: `Bearer ${license}` } });
  const text = await answer.text();
  return { status: answer.status, id: answer.headers.get("x-pontage-license"), code: answer.status === 200 ? "" : JSON.parse(text).code };
}
const part = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");

describe("billing 21: npm jose and ours", () => {
  const claims = () => {
    const now = Math.floor(Date.now() / 1_000);
    return { iss: kIssuer, aud: ["gw"], sub: "cus_1", jti: `lic_${crypto.randomBytes(16).toString("hex")}`, iat: now, nbf: now, exp: now + 3_600, lic: { product: ["yield"], plan: "pro", gen: 1 } };
  };
  const made = (header, payload = claims(), by = key) => new jose.SignJWT(payload).setProtectedHeader(header).sign(by);

  test("jose verifies ours, by the published set", async () => {
    const set = jose.createRemoteJWKSet(new URL(`${server.url}/.well-known/jwks.json`));
    for (let i = 0; i < 10; ++i) {
      const { license, id, expires_at } = await issue("pro");
      const { payload, protectedHeader } = await jose.jwtVerify(license, set, { issuer: kIssuer, audience: "gw", typ: "lic+jwt", algorithms: ["EdDSA"] });
      assert.equal(payload.jti, id);
      assert.equal(payload.exp * 1_000, Date.parse(expires_at));
      assert.equal(protectedHeader.kid, await jose.calculateJwkThumbprint(jwks.keys[0]));
    }
  });

  test("we verify jose's, under both names of the algorithm that a key of this kind has", async () => {
    for (let i = 0; i < 100; ++i) {
      const payload = claims();
      const answer = await ask("/yield/a", await made({ alg: "EdDSA", kid, typ: "lic+jwt" }, payload));
      assert.deepEqual(answer, { status: 200, id: payload.jti, code: "" });
    }
  });

  test("what must not pass does not: none, HS256 with the public key, an unknown kid, crit, doubled keys", async () => {
    const good = { alg: "EdDSA", kid, typ: "lic+jwt" };
    const secret = Buffer.from(jwks.keys[0].x, "base64url");
    const other = (await jose.generateKeyPair("EdDSA", { crv: "Ed25519" })).privateKey;
    const signed = async (header, payload) => {
      const text = `${part(header)}.${part(payload)}`;
      return `${text}.${crypto.sign(null, Buffer.from(text), key).toString("base64url")}`;
    };
    const twice = JSON.stringify(claims()).replace('"sub":', '"sub":"cus_2","sub":');
    const bad = {
      "alg none": `${part({ alg: "none", kid, typ: "lic+jwt" })}.${part(claims())}.`,
      "alg none with a signature": await signed({ alg: "none", kid, typ: "lic+jwt" }, claims()),
      "HS256 with the public key": await made({ alg: "HS256", kid, typ: "lic+jwt" }, claims(), secret),
      "HS256 with the set's text": await made({ alg: "HS256", kid, typ: "lic+jwt" }, claims(), Buffer.from(JSON.stringify(jwks))),
      "an unknown kid": await made({ ...good, kid: "other" }, claims(), other),
      "our kid over another key": await made(good, claims(), other),
      "no kid": await made({ alg: "EdDSA", typ: "lic+jwt" }),
      "an unknown crit": await signed({ ...good, crit: ["exp"], exp: 1 }, claims()),
      "an embedded key": await signed({ ...good, jwk: jwks.keys[0] }, claims()),
      "a URL of keys": await signed({ ...good, jku: `${server.url}/.well-known/jwks.json` }, claims()),
      "a doubled member in the header": await signed(`{"alg":"EdDSA","alg":"none","kid":"${kid}","typ":"lic+jwt"}`, claims()),
      "a doubled claim": await signed(good, twice),
      "another typ": await made({ ...good, typ: "JWT" }),
      "another issuer": await made(good, { ...claims(), iss: "https://evil.example.com" }),
      "another audience": await made(good, { ...claims(), aud: ["other"] }),
    };
    for (const [what, license] of Object.entries(bad)) {
      assert.deepEqual(await ask("/yield/a", license), { status: 401, id: null, code: "license_invalid" }, what);
    }
    assert.equal((await ask("/yield/a", await signed(good, claims()))).status, 200, "and the same signer passes with nothing wrong");
  });

  test("billing 20: a license has one spelling: spare bits, inner newline, other alphabet, padding", async () => {
    const token = await made({ alg: "EdDSA", kid, typ: "lic+jwt" });
    const [head, body, signature] = token.split(".");
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let passed = 0;
    for (const last of alphabet) passed += (await ask("/yield/a", token.slice(0, -1) + last)).status === 200 ? 1 : 0;
    assert.equal(passed, 1);
    assert.equal((await ask("/yield/a", `${token}=`)).status, 401);
    assert.equal((await ask("/yield/a", [head, body, Buffer.from(signature, "base64url").toString("base64")].join("."))).status, 401);
    assert.equal((await ask("/yield/a", `${head}.${body.slice(0, 8)} ${body.slice(8)}.${signature}`)).status, 401);
  });
});

describe("billing 19: Python's cryptography and ours", () => {
  const python = (code, ...args) => execFileSync("python3", ["-c", `import sys, json\nfrom cryptography.fernet import Fernet\n${code}`, ...args], { encoding: "utf8" }).trim();
  const theirs = (payload, by = kFernetKey) => python("print(Fernet(sys.argv[1]).encrypt(sys.argv[2].encode()).decode())", by, JSON.stringify(payload));
  const zoneless = (hours) => new Date(Date.now() + hours * 3_600_000).toISOString().slice(0, -1);
  const payload = (more = {}) => ({ product: "seed", tier: "starter", customer_id: "cus_1", issued_at: zoneless(-1), expires_at: zoneless(1), jti: `lic_${crypto.randomBytes(16).toString("hex")}`, ...more });

  test("theirs decrypts ours: the first seed's members and jti, no more", async () => {
    const { license, id, expires_at } = await issue("old");
    assert.match(license, /^gAAAA[\w-]+=*$/);
    const said = JSON.parse(python("print(Fernet(sys.argv[1]).decrypt(sys.argv[2].encode()).decode())", kFernetKey, license));
    assert.deepEqual(Object.keys(said).sort(), ["customer_id", "expires_at", "issued_at", "jti", "product", "tier"]);
    assert.equal(said.product, "seed");
    assert.equal(said.tier, "starter");
    assert.equal(said.customer_id, "cus_test");
    assert.equal(said.jti, id);
    assert.equal(Date.parse(said.expires_at), Date.parse(expires_at));
    assert.equal((await ask("/seed/a", license)).id, id);
    assert.equal((await ask("/yield/a", license)).code, "wrong_product");
  });

  test("ours reads theirs: zone-less times are UTC, whatever zone this machine is in", async () => {
    const one = payload();
    assert.equal((await ask("/seed/a", theirs(one))).id, one.jti);
    assert.equal((await ask("/seed/a", theirs(payload({ expires_at: zoneless(-0.01) })))).code, "license_expired");
    assert.equal((await ask("/seed/a", theirs(payload({ issued_at: "yesterday" })))).code, "license_invalid");
  });

  test("a list of keys for rotation: the first encrypts, all verify, others do not", async () => {
    assert.equal((await ask("/seed/a", theirs(payload(), kOldFernetKey))).status, 200);
    const stranger = Buffer.alloc(32, 8).toString("base64url") + "=";
    assert.equal((await ask("/seed/a", theirs(payload(), stranger))).code, "license_invalid");
  });

  test("billing 20, 26: other spellings that theirs accepts are refused, and a revocation is by the id inside", async () => {
    const { license, id } = await issue("old");
    const accepts = (text) => {
      try {
        return python("print(Fernet(sys.argv[1]).decrypt(sys.argv[2].encode()).decode())", kFernetKey, text).length > 0;
      } catch {
        return false;
      }
    };
    const spelled = [license.replaceAll("-", "+").replaceAll("_", "/"), `${license}=`, `${license.slice(0, 40)}!!${license.slice(40)}`].filter((text) => text !== license);
    for (const text of spelled) assert.equal((await ask("/seed/a", text)).status, 401, text.slice(0, 20));
    assert.ok(spelled.some(accepts), "which is why");
    // The same content under another vector and time is another text of the same license.
    const content = JSON.parse(python("print(Fernet(sys.argv[1]).decrypt(sys.argv[2].encode()).decode())", kFernetKey, license));
    const again = theirs(content);
    assert.notEqual(again, license);
    assert.equal((await ask("/seed/a", again)).id, id);
    await run(["license", "revoke", id, "--config", path.join(dir, "pontage.toml")], { cwd: dir, env: kEnv });
    for (let i = 0; i < 50 && (await ask("/seed/a", again)).status === 200; ++i) await new Promise((resolve) => setTimeout(resolve, 100));
    for (const text of [license, again]) assert.equal((await ask("/seed/a", text)).code, "license_revoked");
  });

  test("the start says that whoever verifies can forge; roles apart refuse the format unless they are told to", async () => {
    assert.match(server.events("licenses.shared_key")[0].detail, /whoever verifies can forge/);
    const toml = sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes });
    const other = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
    for (const name of ["license.pem", "jwks.json"]) fs.copyFileSync(path.join(dir, name), path.join(other, name));
    try {
      for (const role of ["gateway", "sales"]) {
        await assert.rejects(startPontage(toml, { dir: other, env: kEnv, args: ["--role", role] }), /allow_shared_key/);
      }
      const apart = await startPontage(`${toml}\nallow_shared_key = true\n`, { dir: other, env: kEnv, args: ["--role", "gateway"] });
      assert.equal((await fetch(`${apart.url}/seed/a`, { headers: { "x-api-key": theirs(payload()) } })).status, 200);
      assert.match(apart.events("licenses.shared_key")[0].detail, /whoever verifies can forge/);
      await apart.stop();
    } finally {
      fs.rmSync(other, { recursive: true, force: true });
    }
  });
});
