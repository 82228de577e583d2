// The operator's pages as a person with a telephone sees them: "did that person's payment go through?", from the
// login to the answer in two taps, without a line of script; then money back, and what must not work.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, test } from "node:test";
import { startChromium } from "../rig/src/chromium.mjs";
import { freePort } from "../rig/src/nginx.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoutes = `
[[plan]]
name = "pro"
price = "$29/month"
[[route]]
match = "GET /v1/*"
upstream = "api"
price = "$0.001"
plans = ["pro"]
`;
const kMostBytes = 50 * 1024;
const kMostMs = 300;
const kReadKey = "r-Zo3dK0v8Qm1xW7uT";
// Where pictures go, for people: PTG_SHOTS=build/shots ./dev test e2e
const kShots = process.env.PTG_SHOTS;

let sandbox, upstream, server, browser, dir, stripe, operator;
const pages = []; // {what, bytes, ms} of each page that was looked at

async function api(method, where, form = {}) {
  const answer = await fetch(stripe + where, {
    method,
    headers: { authorization: "Bearer sk_test_x", "content-type": "application/x-www-form-urlencoded" },
    body: method === "GET" ? undefined : new URLSearchParams(form),
  });
  const json = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(json));
  return json;
}

before(async () => {
  [sandbox, upstream, browser] = await Promise.all([startSandbox(), startUpstream(), startChromium()]);
  stripe = sandbox.stripe;
  dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
  assert.equal((await run(["init", "--dir", dir])).code, 0);
  operator = fs.readFileSync(path.join(dir, "operator.key"), "utf8").trim();
  const product = await api("POST", "/v1/products", { name: "pro" });
  await api("POST", "/v1/prices", {
    product: product.id, currency: "usd", lookup_key: "pro", unit_amount: "2900", "recurring[interval]": "month",
  });
  const port = await freePort();
  const hook = await api("POST", "/v1/webhook_endpoints", {
    url: `http://127.0.0.1:${port}/webhooks/stripe`,
    "enabled_events[0]": "*",
    api_version: "2026-10-28.endive",
  });
  const toml = sellerConfig({
    rpc: sandbox.rpc,
    upstream: upstream.url,
    routes: kRoutes,
    server: `public_url = "http://127.0.0.1:${port}"`,
    sections: `
[license]
issuer = "https://api.example.com"
signing_key = "file:license.pem"
[stripe]
api_key = "env:STRIPE_SECRET_KEY"
webhook_secret = ["env:STRIPE_WEBHOOK_SECRET"]
api_base = "${stripe}"
[mail]
provider = "resend"
api_key = "env:RESEND_API_KEY"
api_base = "${sandbox.mailbox}"
from = "Example <keys@example.com>"
[console]
operator_key = "file:operator.key"
session_key = "file:session.key"
[[console.key]]
name = "looker"
key = "env:READ_KEY"
scopes = ["read"]
`,
  }).replace('listen = "127.0.0.1:0"', `listen = "127.0.0.1:${port}"`);
  server = await startPontage(toml, {
    dir,
    env: { STRIPE_SECRET_KEY: "sk_test_x", STRIPE_WEBHOOK_SECRET: hook.secret, RESEND_API_KEY: "re_x", READ_KEY: kReadKey },
  });
  await Promise.all(["ann@example.com", "bob@example.com"].map(buy));
  // Mails leave a second behind what they are about; the page that shows them is looked at below.
  await until("both mails", async () => {
    const answer = await fetch(`${server.url}/admin/v1/outbox?state=sent`, { headers: { "X-Admin-Key": operator } });
    return (await answer.json()).data.length === 2;
  });
});
after(async () => {
  await browser?.stop();
  await server?.stop();
  await upstream?.stop();
  await sandbox?.stop();
  if (dir) fs.rmSync(dir, { recursive: true, force: true });
});

// As a person does: checkout, the card, and back to us.
async function buy(email) {
  const opened = await fetch(`${server.url}/billing/checkout`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ plan: "pro", email }),
  });
  assert.equal(opened.status, 200, await opened.clone().text());
  const { url } = await opened.json();
  const paid = await fetch(url, { method: "POST", redirect: "manual", body: new URLSearchParams({ outcome: "paid" }) });
  await until("the license", async () => {
    const answer = await fetch(paid.headers.get("location"), { headers: { accept: "application/json" } });
    return (await answer.json()).state === "ready";
  });
}

async function until(what, ask, withinMs = 10_000) {
  const end = Date.now() + withinMs;
  for (;;) {
    const got = await ask();
    if (got) return got;
    assert.ok(Date.now() < end, `${what} within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

// A telephone without script, unless it is said otherwise. What it complained of, and whether it asked anybody
// else for anything, is judged when it is put away.
async function onPhone(work, options = {}) {
  const page = await browser.page({ script: false, ...options });
  const seen = async (what, led) => {
    // What a busy machine made slow is looked at again, where looking changes nothing.
    for (let again = 0; led.ms > kMostMs && again < 3 && !/order|refused|wrong/.test(what); ++again) {
      const next = await page.leads(() => page.call("Page.reload"));
      led = { bytes: led.bytes, ms: Math.min(led.ms, next.ms) };
    }
    pages.push({ what, ...led });
    if (kShots) await page.screenshot(path.join(kShots, `${what.replaceAll(/\W+/g, "_")}.png`));
  };
  try {
    await work(page, seen);
    assert.deepEqual(page.requests.filter(({ url }) => !url.startsWith(server.url) && !url.startsWith("data:")), []);
    assert.deepEqual(page.complaints.filter((said) => !options.forgives?.test(said)), []);
  } finally {
    await page.close();
  }
}

async function logIn(page, key = operator, where = "/admin") {
  await page.open(server.url + where);
  await page.type(key);
  return page.leads(() => page.tap("button"));
}

describe("who paid", () => {
  test("from the login to a customer's last payment in two taps", () =>
    onPhone(async (page, seen) => {
      await seen("login", await page.open(`${server.url}/admin`));
      assert.match(await page.url(), /\/admin\/login$/);
      await page.type(operator); // the cursor is there already
      await seen("home", await page.leads(() => page.tap("button"))); // one
      await page.type("ann@example.com"); // and here
      await seen("customer", await page.leads(() => page.tap(".find button"))); // two
      assert.match(await page.url(), /\/admin\/customers\/cus_\w+$/);
      // It is the first thing there, and in view without a swipe.
      const said = await page.ask("(() => { const e = document.querySelector('h1').nextElementSibling; return { text: e.innerText, end: e.getBoundingClientRect().bottom }; })()");
      assert.match(said.text, /^✓ Paid \$29\.00\n/);
      assert.match(said.text, /just now|\d min ago/);
      assert.ok(said.end < 844, `it ends at ${said.end} px`);
      assert.match(await page.text(), /Period ends\s+in \d+ days/);
    }));

  test("by every name that the customer has", () =>
    onPhone(async (page) => {
      await logIn(page);
      const books = new DatabaseSync(path.join(dir, "pontage.db"), { readOnly: true });
      const license = books.prepare("SELECT id, customer, subscription, email FROM license WHERE email = 'bob@example.com'").get();
      const invoice = books.prepare("SELECT id FROM invoice WHERE customer = ?").get(license.customer);
      books.close();
      for (const name of [license.id, license.customer, license.subscription, invoice.id, " BOB@Example.com "]) {
        await page.open(`${server.url}/admin`);
        await page.type(name, "#q");
        await page.leads(() => page.tap(".find button"));
        assert.match(await page.text(), /bob@example\.com\n✓ Paid \$29\.00/, name);
      }
      await page.type("example.com", "#q");
      await page.leads(() => page.tap(".find button"));
      assert.match(await page.text(), /Nobody is known by that\./);
    }));

  test("each page looks well", () =>
    onPhone(async (page, seen) => {
      await logIn(page);
      for (const [where, says] of Object.entries({
        "": /Latest payments[\s\S]*\$29\.00/,
        "/customers": /ann@example\.com[\s\S]*bob@example\.com|bob@example\.com[\s\S]*ann@example\.com/,
        "/payments": /\$29\.00[\s\S]*paid/,
        "/events": /checkout\.session\.completed/,
        "/outbox": /ann@example\.com[\s\S]*sent/,
        "/commands": /Orders/,
        "/drift": /Stripe and our books/,
        "/audit": /(?=[^]*The chain holds)[^]*console\.login/,
        "/issue": /pro/,
      })) {
        await seen(`page ${where || "home"}`, await page.open(`${server.url}/admin${where}`));
        assert.match(await page.text(), says, where);
        // Nothing sticks out to the side.
        assert.ok((await page.ask("document.documentElement.scrollWidth")) <= 390, where);
        // Whatever can be filled in has a name, for who does not see it.
        assert.equal(await page.ask("[...document.querySelectorAll('input:not([type=hidden]):not([hidden]),select')].filter((e) => !e.labels.length).length"), 0, where);
      }
      await page.open(`${server.url}/admin/events`);
      await seen("event", await page.leads(() => page.tap("a.row")));
      assert.match(await page.text(), /\[redacted\]/);
      assert.doesNotMatch(await page.text(), /@example\.com/);
    }));

  test("and in the dark, and on a desk", async () => {
    for (const options of [{ dark: true }, { width: 1280, height: 800 }]) {
      await onPhone(async (page, seen) => {
        await logIn(page);
        await page.type("ann@example.com");
        await seen(options.dark ? "customer dark" : "customer wide", await page.leads(() => page.tap(".find button")));
        const [ink, paper] = await page.ask("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor].map((c) => Number(c.match(/\\d+/)[0]))");
        assert.equal(ink > paper, options.dark === true);
      }, options);
    }
  });
});

// The license of this address, on the telephone.
async function openLicense(page, email) {
  await page.type(email, "#q");
  await page.leads(() => page.tap(".find button"));
  return page.leads(() => page.tap('a.row[href^="/admin/licenses/"]'));
}
async function fold(page, verb) {
  const nth = await page.ask(`[...document.querySelectorAll('summary')].findIndex((e) => e.innerText === ${JSON.stringify(verb)})`);
  assert.notEqual(nth, -1, `${verb} is not there`);
  await page.ask(`document.querySelectorAll('summary')[${nth}].setAttribute('id', 'wanted')`);
  await page.tap("#wanted");
}
const inForm = (verb, what) => `form[action$="/${verb}"] ${what}`;

describe("doing", () => {
  test("money goes back when it was typed twice, and not else", () =>
    onPhone(async (page, seen) => {
      await logIn(page);
      await seen("license", await openLicense(page, "ann@example.com"));
      const license = await page.url();
      const refund = async (amount, confirm) => {
        await fold(page, "Refund");
        if (amount) await page.type(amount, inForm("refund", "[name=amount]"));
        await page.type(confirm, inForm("refund", "[name=confirm]"));
        await page.type("asked nicely", inForm("refund", "[name=reason]"));
        if (kShots) await page.screenshot(path.join(kShots, "refund_form.png"));
        return page.leads(() => page.tap(inForm("refund", "button")));
      };
      for (const [amount, confirm] of [["5.00", "50.00"], ["5.00", "all"], ["", "5.00"], ["", "yes"]]) {
        await seen("refund refused", await refund(amount, confirm));
        assert.match(await page.text(), /nothing was paid back: it was not confirmed/);
        await page.leads(() => page.tap("main p a"));
        assert.equal(await page.url(), license, "back leads back");
      }
      assert.deepEqual((await api("GET", "/v1/refunds")).data, []);
      await seen("order", await refund("5.00", "5"));
      assert.match(await page.url(), /\/admin\/commands\/cmd_/);
      const { data } = await api("GET", "/v1/refunds");
      assert.deepEqual(data.map(({ amount }) => amount), [500]);
      // The page looks again by itself until Stripe has said so.
      await until("the refund", async () => /✓ Done/.test(await page.text().catch(() => "")));
      await page.open(`${server.url}/admin`);
      await page.type("ann@example.com", "#q");
      await page.leads(() => page.tap(".find button"));
      assert.match(await page.text(), /✓ Paid \$29\.00[\s\S]*Refund of \$5\.00 succeeded/);
      await page.open(`${server.url}/admin/audit`);
      assert.match(await page.text(), /license\.refund[\s\S]*asked nicely/);
    }, { forgives: /status of 400/ }));

  test("a license is extended, issued and revoked", () =>
    onPhone(async (page, seen) => {
      await logIn(page);
      await openLicense(page, "bob@example.com");
      const license = await page.url();
      await fold(page, "Extend");
      await page.type("10", inForm("extend", "[name=days]"));
      await page.type("he was ill", inForm("extend", "[name=reason]"));
      await page.leads(() => page.tap(inForm("extend", "button")));
      await until("the extension", async () => /✓ Done/.test(await page.text().catch(() => "")));
      await page.open(license);
      await fold(page, "Revoke");
      await page.type("a test", inForm("revoke", "[name=reason]"));
      await page.type("no", inForm("revoke", "[name=confirm]"));
      await page.leads(() => page.tap(inForm("revoke", "button")));
      assert.match(await page.text(), /nothing was revoked/);
      await page.open(license);
      await fold(page, "Revoke");
      await page.type("a test", inForm("revoke", "[name=reason]"));
      await page.type("revoke", inForm("revoke", "[name=confirm]"));
      await page.leads(() => page.tap(inForm("revoke", "button")));
      assert.match(await page.text(), /✓ Done/);
      await page.open(license);
      assert.match(await page.text(), /Status\s+revoked/);
      await page.open(`${server.url}/admin/issue`);
      await page.type("cus_by_hand", "[name=customer]");
      await page.leads(() => page.tap("main form button"));
      await until("the license", async () => /✓ Done/.test(await page.text().catch(() => "")));
      await seen("issued", { bytes: 0, ms: 0 });
      const text = (await page.text()).match(/eyJ[\w.-]+/)?.[0];
      assert.ok(text, "the license stands there");
      assert.equal((await fetch(`${server.url}/v1/a`, { headers: { authorization: `Bearer ${text}` } })).status, 200);
    }, { forgives: /status of 400/ }));

  test("a key that may only read has no buttons, and none of their forms is taken", () =>
    onPhone(async (page) => {
      await logIn(page, kReadKey);
      await openLicense(page, "ann@example.com");
      assert.equal(await page.ask("document.querySelectorAll('main form[method=post]').length"), 0);
      const { csrf, cookie } = await tokenOf(page);
      const where = new URL(await page.url()).pathname;
      const answer = await post(`${where}/extend`, { csrf, key: "k1", days: "1", reason: "x" }, cookie);
      assert.equal(answer.status, 403);
      assert.match(await answer.text(), /your key may not do this/);
    }));
});

async function tokenOf(page) {
  const csrf = await page.ask("document.querySelector('[name=csrf]').value");
  const [{ name, value }] = await page.cookies();
  return { csrf, cookie: `${name}=${value}` };
}
const post = (where, form, cookie, headers = {}) =>
  fetch(server.url + where, {
    method: "POST",
    redirect: "manual",
    headers: { ...(cookie && { cookie }), ...headers },
    body: new URLSearchParams(form),
  });

describe("what must not work", () => {
  test("forms without the session's token, with another's, or sent by another site", () =>
    onPhone(async (page) => {
      await logIn(page);
      await openLicense(page, "ann@example.com");
      const where = `${new URL(await page.url()).pathname}/extend`;
      const { csrf, cookie } = await tokenOf(page);
      const form = { key: "k2", days: "1", reason: "x" };
      assert.equal((await post(where, form, cookie)).status, 403);
      assert.equal((await post(where, { ...form, csrf: "" }, cookie)).status, 403);
      assert.equal((await post(where, { ...form, csrf: "0".repeat(64) }, cookie)).status, 403);
      for (const site of ["cross-site", "same-site", "none"]) {
        assert.equal((await post(where, { ...form, csrf }, cookie, { "sec-fetch-site": site })).status, 403);
      }
      // Without a session it leads to the login, whatever else is there.
      const led = await post(where, { ...form, csrf });
      assert.equal(led.headers.get("location"), "/admin/login");
      assert.match(await (await get("/admin/commands", cookie)).text(), /Orders/);
      assert.doesNotMatch(await (await get("/admin/commands?state=requested", cookie)).text(), /license\.extend/);
      const other = await post("/admin/login", { key: operator });
      const theirs = other.headers.get("set-cookie").split(";")[0];
      assert.equal((await post(where, { ...form, csrf }, theirs)).status, 403);
      assert.equal((await post(where, { ...form, csrf }, cookie)).status, 303, "its own is taken");
    }));

  test("a session that was logged out, or was idle for too long", () =>
    onPhone(async (page) => {
      await logIn(page);
      const { cookie } = await tokenOf(page);
      assert.equal((await get("/admin", cookie)).status, 200);
      await page.leads(() => page.tap("footer button"));
      assert.match(await page.url(), /\/admin\/login$/);
      assert.deepEqual(await page.cookies(), []);
      const gone = await get("/admin", cookie);
      assert.equal(gone.headers.get("location"), "/admin/login");

      // Half an hour later, on the way to a page: back there behind the login.
      await logIn(page);
      const books = new DatabaseSync(path.join(dir, "pontage.db"));
      books.exec("PRAGMA busy_timeout = 5000; UPDATE console_session SET seen_ms = seen_ms - 30 * 60000");
      books.close();
      await page.open(`${server.url}/admin/payments?rail=card`);
      assert.match(await page.url(), /\/admin\/login\?next=/);
      await page.type(operator);
      await page.leads(() => page.tap("button"));
      assert.match(await page.url(), /\/admin\/payments\?rail=card$/);
    }));

  test("a wrong key, and many of them", () =>
    onPhone(async (page, seen) => {
      await seen("wrong key", await logIn(page, "not the key at all"));
      assert.match(await page.text(), /This is not the key\./);
      assert.deepEqual(await page.cookies(), []);
      const statuses = [];
      for (let i = 0; i < 12; ++i) statuses.push((await post("/admin/login", { key: `wrong ${i}` })).status);
      assert.ok(statuses.includes(429), statuses.join(" "));
      // Whoever guesses has to wait even where he guesses right.
      assert.equal((await post("/admin/login", { key: operator })).status, 429);
    }, { forgives: /status of 401/ }));

  test("what the pages say of themselves", async () => {
    const answer = await get("/admin/login");
    const header = (name) => answer.headers.get(name);
    assert.match(header("content-security-policy"), /^default-src 'none'; style-src 'sha256-[^']+'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'$/);
    assert.equal(header("x-frame-options"), "DENY");
    assert.equal(header("x-content-type-options"), "nosniff");
    assert.equal(header("referrer-policy"), "no-referrer");
    assert.equal(header("cache-control"), "no-store");
    assert.doesNotMatch(await answer.text(), /<script|javascript:| on\w+=/);
  });
});

test("no page weighs more than 50 KiB or takes more than 300 ms", () => {
  assert.ok(pages.length > 15);
  for (const { what, bytes, ms } of pages) {
    assert.ok(bytes <= kMostBytes, `${what}: ${bytes} bytes`);
    // An order waits for the worker of sales, and no longer than two seconds.
    assert.ok(ms <= (/order|refused|wrong/.test(what) ? 2_500 : kMostMs), `${what}: ${Math.round(ms)} ms`);
  }
  const most = (key) => pages.reduce((a, b) => (a[key] > b[key] && a.what !== "order" ? a : b));
  console.log(`heaviest: ${most("bytes").what}, ${most("bytes").bytes} bytes; slowest: ${most("ms").what}, ${Math.round(most("ms").ms)} ms`);
});

function get(where, cookie) {
  return fetch(server.url + where, { redirect: "manual", headers: cookie ? { cookie } : {} });
}
