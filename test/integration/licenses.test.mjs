// Licenses: issued by hand, shown in a header, judged by the gateway without asking anybody, and ended beside a
// running server.
import assert from "node:assert/strict";
import crypto from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { decode, sign } from "../rig/src/pay.mjs";
import { openIssuer } from "../rig/src/issuer.mjs";
import { run, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { onTerminal } from "../rig/src/terminal.mjs";

const kRoutes = `
[[product]]
name = "yield"
price = "$0.05"
[[product]]
name = "docs"
price = "$0.01"
[[plan]]
name = "pro"
product = ["yield"]
tier = "professional"
price = "$29/month"
[[plan]]
name = "all"
price = "$290/year"
limits = { monthly = 1000 }
[[plan]]
name = "small"
limits = { monthly = 3 }
[[route]]
match = "GET /small/*"
upstream = "api"
price = "$0.001"
plans = ["small"]
[[route]]
match = "GET /paced/*"
upstream = "api"
price = "$0.001"
plans = ["small"]
rate = "1/h"
[[route]]
match = "GET /yield/*"
upstream = "api"
product = "yield"
plans = ["pro", "all"]
free = "1/day"
[[route]]
match = "GET /docs/*"
upstream = "api"
product = "docs"
plans = ["all"]
[[route]]
match = "GET /plain/*"
upstream = "api"
price = "$0.001"
[[route]]
match = "GET /free/*"
upstream = "api"
price = "free"
[license]
issuer = "https://api.example.com"
signing_key = "file:license.pem"
jwks = "file:jwks.json"
grace_days = 0
`;

let issuer, upstream, server, dir, cli, issue;
before(async () => {
  issuer = await openIssuer({ routes: kRoutes, server: `trusted_proxies = ["127.0.0.0/8"]` });
  ({ upstream, server, dir, cli, issue } = issuer);
});
after(() => issuer?.close());

const get = (where, headers = {}) => fetch(server.url + where, { headers });
const bearer = (license) => ({ authorization: `Bearer ${license}` });
const until = (label, look, withinMs = 5_000) => rig.until(look, { label, withinMs, everyMs: 50 });

describe("a license in a header", () => {
  test("opens its product's routes, both ways it may be shown, and pays for nothing", async () => {
    const { license, id, expires_at } = await issue("pro");
    assert.match(license, /^[\w-]+\.[\w-]+\.[\w-]+$/);
    assert.ok(Math.abs(Date.parse(expires_at) - Date.now() - 30 * 86_400_000) < 60_000);
    for (const headers of [bearer(license), { "x-api-key": license }, { ...bearer(license), "x-api-key": license }]) {
      for (let i = 0; i < 3; ++i) {
        const answer = await get("/yield/a", headers);
        assert.equal(answer.status, 200, await answer.text());
        assert.equal(answer.headers.get("x-pontage-license"), id);
        assert.equal(answer.headers.get("payment-response"), null);
        assert.match(answer.headers.get("cache-control") ?? "", /private|no-store/);
      }
    }
    const last = upstream.requests.at(-1);
    assert.equal(last.headers.authorization, undefined, "the license stays here");
    assert.equal(last.headers["x-api-key"], undefined);
  });

  test("does not use up the free calls of its client's address", async () => {
    const { license } = await issue("pro");
    for (let i = 0; i < 3; ++i) assert.equal((await get("/yield/b", bearer(license))).status, 200);
    assert.equal((await get("/yield/b")).status, 200, "the one that is free");
    assert.equal((await get("/yield/b")).status, 402);
  });

  test("opens nothing else: 403 with the offer of what does", async () => {
    const { license } = await issue("pro");
    const answer = await get("/docs/a", bearer(license));
    assert.equal(answer.status, 403);
    const said = await answer.json();
    assert.equal(said.code, "wrong_product");
    assert.deepEqual(said.plans, [{ plan: "all", price: "$290/year" }]);
    assert.ok(said.accepts.length > 0, "and of a single call");
    assert.ok(decode(answer.headers.get("payment-required")).accepts.length > 0);
    const plain = await get("/plain/a", bearer(license));
    assert.equal(plain.status, 403);
    assert.equal((await plain.json()).code, "wrong_product");
  });

  test("of a plan without products opens the routes that name the plan", async () => {
    const { license } = await issue("all", "--days", "7");
    assert.equal((await get("/docs/a", bearer(license))).status, 200);
    assert.equal((await get("/yield/a", bearer(license))).status, 200);
    const plain = await get("/plain/a", bearer(license));
    assert.equal(plain.status, 403);
    assert.equal((await plain.json()).code, "wrong_plan");
  });

  test("is not asked for on free routes, and no license is the offer with its plans", async () => {
    assert.equal((await get("/free/a", bearer("x"))).status, 200);
    const unpaid = await get("/docs/a");
    assert.equal(unpaid.status, 402);
    assert.deepEqual((await unpaid.json()).plans, [{ plan: "all", price: "$290/year" }]);
  });

  test("that is none is 401 with the reason", async () => {
    const { license } = await issue("all");
    const [head, body, signature] = license.split(".");
    const forged = JSON.parse(Buffer.from(body, "base64url"));
    forged.exp += 1;
    const bad = {
      "a model key": "sk-ant-api03-abcdef",
      "cut off": license.slice(0, -1),
      "another content": [head, Buffer.from(JSON.stringify(forged)).toString("base64url"), signature].join("."),
      "no signature": `${Buffer.from('{"alg":"none"}').toString("base64url")}.${body}.`,
      "with padding": `${license}=`,
    };
    for (const [what, text] of Object.entries(bad)) {
      const answer = await get("/docs/a", bearer(text));
      assert.equal(answer.status, 401, what);
      assert.match(answer.headers.get("www-authenticate"), /^Bearer/);
      const said = await answer.json();
      assert.equal(said.code, "license_invalid", what);
      assert.ok(said.detail.length > 10, what);
      assert.ok(!JSON.stringify(said).includes(text), "it is not repeated");
    }
    const two = await get("/docs/a", { ...bearer(license), "x-api-key": "something else" });
    assert.equal(two.status, 401);
    assert.ok(!server.lines.some((line) => line.includes(signature)), "nor logged");
  });

  // 16 spellings of one signature pass in other libraries.
  test("has one spelling", async () => {
    const { license } = await issue("all");
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let passed = 0;
    for (const last of alphabet) {
      const answer = await get("/docs/a", bearer(license.slice(0, -1) + last));
      await answer.arrayBuffer();
      passed += answer.status === 200 ? 1 : 0;
    }
    assert.equal(passed, 1);
  });
});

describe("a license beside a payment", () => {
  const paid = async (where, license) => {
    const payment = await sign(server.url + where);
    return get(where, { ...payment, ...bearer(license) });
  };
  test("that covers wins, and the answer says that the payment is unused", async () => {
    const { license } = await issue("all");
    const answer = await paid("/docs/both", license);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("payment-response"), null);
    assert.equal(answer.headers.get("x-pontage-payment"), "unused");
  });
  test("that does not is passed over", async () => {
    const { license } = await issue("pro");
    const answer = await paid("/docs/other", license);
    assert.equal(answer.status, 200, await answer.text());
    assert.ok(answer.headers.get("payment-response"));
  });
});

describe("the command", () => {
  test("shows, verifies and explains itself", async () => {
    const { license, id } = await issue("pro", "--email", "Ann@Example.com");
    const shown = JSON.parse((await cli("license", "show", id, "--json")).stdout);
    assert.equal(shown.status, "active");
    assert.equal(shown.email, "ann@example.com");
    assert.equal(JSON.parse((await cli("license", "show", license, "--json")).stdout).id, id);
    const good = await cli("license", "verify", license, "--json");
    assert.equal(good.code, 0, good.stderr);
    assert.equal(JSON.parse(good.stdout).id, id);
    const bad = await cli("license", "verify", `${license}x`, "--json");
    assert.equal(bad.code, 4);
    const newer = JSON.parse((await cli("license", "reissue", id, "--json")).stdout).license;
    const verdict = async (text) => {
      const { code, stdout } = await cli("license", "verify", text, "--json");
      return [code, JSON.parse(stdout).valid ?? JSON.parse(stdout).error.code];
    };
    assert.deepEqual(await verdict(license), [4, "license_revoked"], "the books here know of a newer one");
    assert.deepEqual(await verdict(newer), [0, true]);
    assert.equal((await cli("license", "revoke", id)).code, 0);
    assert.deepEqual(await verdict(newer), [4, "license_revoked"]);
    const none = await cli("license", "show", "lic_0", "--json");
    assert.equal(none.code, 5);
    const plan = await cli("license", "issue", "--plan", "nope", "--customer", "c");
    assert.equal(plan.code, 2);
    assert.match(plan.stderr, /nope[^]*pro, all/);
  });

  test("says what a license has called", async () => {
    const { license, id } = await issue("all");
    const show = async (...how) => (await cli("license", "show", id, ...how)).stdout;
    assert.equal(JSON.parse(await show("--json")).usage, undefined, "nothing yet");
    for (const where of ["/docs/a", "/docs/b", "/yield/a"]) assert.equal((await get(where, bearer(license))).status, 200);
    const usage = await until("its calls", async () => {
      const { usage } = JSON.parse(await show("--json"));
      return usage?.today === 3 ? usage : undefined;
    }, 15_000);
    assert.equal(usage.month, 3);
    const today = new Date().toISOString().slice(0, 10);
    assert.deepEqual(usage.days, [{ day: today, calls: 3 }]);
    assert.deepEqual(usage.routes, [{ route: "GET /docs/*", calls: 2 }, { route: "GET /yield/*", calls: 1 }]);
  });

  test("signs what others can check with the published key", async () => {
    const { license } = await issue("pro");
    const [head, body, signature] = license.split(".");
    const { kid, alg } = JSON.parse(Buffer.from(head, "base64url"));
    assert.equal(alg, "EdDSA");
    const jwk = JSON.parse(fs.readFileSync(path.join(dir, "jwks.json"))).keys.find((key) => key.kid === kid);
    const key = crypto.createPublicKey({ key: jwk, format: "jwk" });
    assert.ok(crypto.verify(null, Buffer.from(`${head}.${body}`), key, Buffer.from(signature, "base64url")));
  });

  test("a revocation bites within five seconds, however the license is spelled or seen before", async () => {
    const { license, id } = await issue("all");
    assert.equal((await get("/docs/a", bearer(license))).status, 200);
    const out = await cli("license", "revoke", id, "--reason", "lost");
    assert.equal(out.code, 0, out.stderr);
    const refused = await until("the revocation", async () => {
      const answer = await get("/docs/a", bearer(license));
      return answer.status === 200 ? undefined : answer;
    });
    assert.equal(refused.status, 401);
    assert.equal((await refused.json()).code, "license_revoked");
    assert.equal(JSON.parse((await cli("license", "show", id, "--json")).stdout).status, "revoked");
  });

  test("what no gateway would take is not issued, and says which option", async () => {
    const buyer = (customer, email) => cli("license", "issue", "--plan", "all", "--customer", customer, ...(email ? ["--email", email] : []));
    for (const customer of ["", "x".repeat(201), "two\nlines"]) {
      const refused = await buyer(customer);
      assert.equal(refused.code, 2, customer);
      assert.match(refused.stderr, /--customer.*1 to 200 characters on one line/);
    }
    for (const email of ["not an email\r\nBcc: x@y.example", "nobody", "a@b@c"]) {
      const refused = await buyer("cus_test", email);
      assert.equal(refused.code, 2, email);
      assert.match(refused.stderr, /--email.*name@example\.com/);
    }
    const { license } = JSON.parse((await buyer("x".repeat(200), " Ann@Example.com")).stdout);
    assert.equal((await get("/docs/a", bearer(license))).status, 200);
  });

  test("a license that was revoked keeps its reason when it is revoked again", async () => {
    const { id } = await issue("all");
    assert.equal((await cli("license", "revoke", id, "--reason", "lost")).code, 0);
    const again = await cli("license", "revoke", id);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stderr, /was revoked already/);
    assert.equal(JSON.parse(again.stdout).reason, "lost");
    const [{ audit }] = JSON.parse((await cli("explain", id, "--json")).stdout).licenses;
    assert.deepEqual(audit.map((row) => row.verb), ["license.revoke", "license.issue"]);
  });

  test("a reissued license has a new text, and the old one ends", async () => {
    const { license, id } = await issue("all");
    const again = await cli("license", "reissue", id, "--json");
    assert.equal(again.code, 0, again.stderr);
    const fresh = JSON.parse(again.stdout);
    assert.equal(fresh.id, id);
    assert.notEqual(fresh.license, license);
    await until("the end of the old text", async () => (await get("/docs/a", bearer(license))).status === 401);
    assert.equal((await get("/docs/a", bearer(fresh.license))).status, 200);
  });

  test("billing 27: the old text of a calm reissue ends with its overlap, and both use one limit", async () => {
    const { license, id } = await issue("small");
    const again = await cli("license", "reissue", id, "--overlap", "4s", "--json");
    assert.equal(again.code, 0, again.stderr);
    const fresh = JSON.parse(again.stdout);
    const ends = Date.parse(fresh.old_until);
    assert.ok(ends - Date.now() <= 4_000 && ends - Date.now() > 1_000, fresh.old_until);
    // Three calls a month, by whichever text.
    for (const one of [license, fresh.license, license]) assert.equal((await get("/small/c", bearer(one))).status, 200);
    for (const one of [license, fresh.license]) assert.equal((await get("/small/c", bearer(one))).status, 429);
    await until("the end of the overlap", async () => (await get("/small/c", bearer(license))).status === 401);
    assert.ok(Date.now() >= ends);
    assert.equal((await get("/small/c", bearer(fresh.license))).status, 429);
    for (const [overlap, what] of [["721h", "too long"], ["soon", "no time"], ["1y", "no unit"], ["1x", "no unit either"]]) {
      const refused = await cli("license", "reissue", id, "--overlap", overlap);
      assert.equal(refused.code, 2, what);
      assert.match(refused.stderr, /--overlap .*"24h"/);
    }
  });

  test("explain tells the whole history of a license, by its id and by its texts", async () => {
    const { license, id } = await issue("all", "--email", "Ann@Example.com");
    for (const where of ["/docs/h", "/docs/i", "/yield/h"]) assert.equal((await get(where, bearer(license))).status, 200);
    const again = JSON.parse((await cli("license", "reissue", id, "--reason", "seen in a log", "--json")).stdout);
    assert.equal((await cli("license", "revoke", id, "--reason", "lost")).code, 0);
    const explain = async (name) => {
      const out = await cli("explain", name);
      assert.equal(out.code, 0, out.stderr);
      assert.ok(!out.stdout.includes(license.split(".")[2]) && !out.stdout.includes(again.license), "no text in it");
      const { licenses } = JSON.parse(out.stdout);
      assert.equal(licenses.length, 1);
      return licenses[0];
    };
    const told = await until("its calls", async () => {
      const one = await explain(id);
      return one.usage.today === 3 ? one : undefined;
    }, 15_000);
    const shown = JSON.parse((await cli("license", "show", id, "--json")).stdout);
    for (const [key, value] of Object.entries(shown)) assert.deepEqual(told[key], value, key);
    assert.deepEqual([told.status, told.generation, told.revoked_by, told.email], ["revoked", 2, "operator", "ann@example.com"]);
    assert.deepEqual(told.usage.routes, [{ route: "GET /docs/*", calls: 2 }, { route: "GET /yield/*", calls: 1 }]);
    assert.deepEqual(told.history.map((line) => line.what), ["license.issue", "license.reissue", "license.revoke"]);
    const [first, second, third] = told.history;
    assert.match(first.detail, /^by cli:\S+, status active, plan all, expires_at \S+, generation 1$/);
    assert.match(second.detail, /^by cli:\S+, generation 1 -> 2, reason: seen in a log$/);
    assert.match(third.detail, /^by cli:\S+, status active -> revoked, reason: lost$/);
    assert.ok(first.at <= second.at && second.at <= third.at);
    assert.deepEqual(told.audit.map((row) => row.verb), ["license.revoke", "license.reissue", "license.issue"]);
    assert.deepEqual([told.purchase, told.orders, told.refunds, told.invoices, told.mails, told.more], [null, [], [], [], [], []]);
    for (const text of [license, again.license]) assert.deepEqual(await explain(text), told);

    const seen = await onTerminal(["explain", license, "--config", path.join(dir, "pontage.toml")], { cwd: dir });
    assert.equal(seen.code, 0, seen.text);
    assert.match(seen.text, new RegExp(`${id}: revoked, plan all\\n  customer     cus_test\\n  email        ann@example.com\\n`));
    assert.match(seen.text, /\n {2}generation {3}2\n/);
    assert.match(seen.text, /\n {2}history\n.* license\.issue .*\n.* license\.reissue .*\n.* license\.revoke .*\n {2}calls by route.*\n {4}GET \/docs\/\* {2}2\n/);
    assert.ok(!seen.text.includes(license));
  });

  test("explain reads the store that the console's configuration names", async () => {
    const { id } = await issue("all");
    const other = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
    try {
      const toml = fs.readFileSync(path.join(dir, "pontage.toml"), "utf8").replace(/file:(license|jwks)/g, `file:${dir}/$1`);
      const file = path.join(other, "pontage.toml");
      const books = `sqlite:${path.join(dir, "pontage.db")}`;
      fs.writeFileSync(file, `${toml}\n[console]\nsales_store = "${books}"\nledger_store = "${books}"\n`);
      const out = await run(["explain", id, "--config", file], { cwd: other });
      assert.equal(out.code, 0, out.stderr);
      assert.equal(JSON.parse(out.stdout).licenses[0].id, id);
      assert.ok(!fs.existsSync(path.join(other, "pontage.db")), "and makes none of its own");
    } finally {
      fs.rmSync(other, { recursive: true, force: true });
    }
  });

  test("explain of a license that is not in the books: exit 5, and the text is not repeated", async () => {
    const { license } = await issue("all");
    const at = license.lastIndexOf(".") + 1;
    const forged = `${license.slice(0, at)}${license[at] === "A" ? "B" : "A"}${license.slice(at + 1)}`;
    for (const name of ["lic_0", forged, license.slice(0, license.lastIndexOf(".")), "a.b.c", `gAAAAA${"x".repeat(199)}`]) {
      const none = await cli("explain", name);
      assert.equal(none.code, 5, name);
      const { error } = JSON.parse(none.stdout);
      assert.equal(error.code, "not_found");
      assert.match(none.stderr, /the books have nothing under (lic_0|this text).*a license's id or text/);
      if (name !== "lic_0") assert.ok(!(none.stderr + none.stdout).includes(name));
    }
    assert.match((await cli("explain", "req_0")).stderr, /nothing under req_0 .*a license's id or text; a call that a license opened is only counted/);
  });

  test("what was revoked before a server began is refused from its first request", async () => {
    const { license, id } = await issue("all");
    assert.equal((await cli("license", "revoke", license)).code, 0);
    const other = await startPontage(fs.readFileSync(path.join(dir, "pontage.toml"), "utf8"), { dir });
    try {
      const answer = await fetch(`${other.url}/docs/a`, { headers: bearer(license) });
      assert.equal(answer.status, 401);
      assert.equal((await answer.json()).code, "license_revoked");
    } finally {
      await other.stop();
    }
    assert.ok(id);
  });
});

describe("limits of a plan", () => {
  test("are counted: what is beyond them is 429 with the offer, and a payment is taken instead", async () => {
    const { license } = await issue("small");
    const left = [];
    for (let i = 0; i < 3; ++i) {
      const answer = await get("/small/a", bearer(license));
      assert.equal(answer.status, 200, await answer.text());
      assert.match(answer.headers.get("ratelimit-policy"), /^"monthly";q=3;w=\d+$/);
      left.push(Number(/^"monthly";r=(\d+);t=\d+$/.exec(answer.headers.get("ratelimit"))[1]));
    }
    assert.deepEqual(left, [2, 1, 0]);
    const beyond = await get("/small/a", bearer(license));
    assert.equal(beyond.status, 429);
    assert.ok(Number(beyond.headers.get("retry-after")) > 0);
    const said = await beyond.json();
    assert.equal(said.code, "quota_exceeded");
    assert.ok(said.accepts.length > 0);
    const paid = await get("/small/a", { ...(await sign(`${server.url}/small/a`)), ...bearer(license) });
    assert.equal(paid.status, 200, await paid.text());
    assert.ok(paid.headers.get("payment-response"));
  });

  const asked = (where, headers) => get("/forward-auth", { "x-original-uri": where, "x-original-method": "GET", ...headers });
  for (const [how, call] of Object.entries({ "asked of us": get, "asked about by a proxy": asked })) {
    test(`${how}: what the route's rate refuses uses up nothing of a license, and is none of its calls`, async () => {
      const { license, id } = await issue("small");
      const headers = { ...bearer(license), "x-forwarded-for": how === "asked of us" ? "198.51.100.1" : "198.51.100.2" };
      const first = await call("/paced/a", headers);
      assert.deepEqual([first.status, first.headers.get("x-pontage-license")], [200, id]);
      assert.match(first.headers.get("ratelimit"), /^"rate";r=0;t=\d+, "monthly";r=2;t=\d+$/);
      for (let i = 0; i < 3; ++i) {
        const fast = await call("/paced/a", headers);
        assert.deepEqual([fast.status, (await fast.json()).code], [429, "rate_limited"]);
        assert.equal(fast.headers.get("x-pontage-license"), null);
        assert.equal(fast.headers.get("ratelimit-policy"), '"rate";q=1;w=3600');
      }
      const elsewhere = await call("/small/a", headers);
      assert.equal(elsewhere.status, 200);
      assert.match(elsewhere.headers.get("ratelimit"), /^"monthly";r=1;/);
      const usage = await until("its calls", async () => {
        const { usage } = JSON.parse((await cli("license", "show", id, "--json")).stdout);
        return usage?.routes.length === 2 ? usage : undefined;
      }, 15_000);
      assert.deepEqual(usage.routes, [{ route: "GET /paced/*", calls: 1 }, { route: "GET /small/*", calls: 1 }]);
    });
  }

  test("exactly as many pass as are left, of any number at once", async () => {
    const { license } = await issue("small");
    const answers = await Promise.all(Array.from({ length: 60 }, () => get("/small/b", bearer(license))));
    const passed = answers.filter((answer) => answer.status === 200).length;
    assert.equal(passed, 3);
    assert.ok(answers.every((answer) => answer.status === 200 || answer.status === 429));
    await Promise.all(answers.map((answer) => answer.arrayBuffer()));
  });
});
