// The card rail from the price list to the call: checkout at Stripe's double, events in any order and number, the
// license on the success page and by mail, and what ends it.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import * as config from "../rig/src/config.mjs";
import { run } from "../rig/src/pontage.mjs";
import { event, openShop, sign, until } from "../rig/src/shop.mjs";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

let sandbox, upstream, shop, server, api, action, post, get, buy, mailsTo, subscriptionOf;
before(async () => {
  sandbox = await startSandbox();
  upstream = await startUpstream();
  shop = await openShop({ sandbox, upstream: upstream.url });
  ({ api, action, post, get, buy, mailsTo, subscriptionOf } = shop);
  server = await shop.start();
});
after(async () => {
  await shop?.close();
  await upstream?.stop();
  await sandbox?.stop();
});

describe("buying a subscription", () => {
  test("gives a license on the page and by mail, which opens what asked for a payment", async () => {
    const unpaid = await fetch(`${server.url}/v1/a`);
    assert.equal(unpaid.status, 402);
    const { plans } = await unpaid.json();
    assert.equal(plans.find((one) => one.plan === "pro").checkout, `${server.url}/billing/checkout`);
    const { license, plan, expires_at, session } = await buy("pro", "ann@example.com");
    assert.equal(plan, "pro");
    assert.equal((await get("/v1/a", license)).status, 200);
    const subscription = await api("GET", `/v1/subscriptions/${await subscriptionOf(session)}`);
    const end = subscription.items.data[0].current_period_end;
    assert.equal(Date.parse(expires_at) / 1000, end + 3 * 86_400, "what was paid for, and the grace");
    const [mail, ...more] = await until("the mail", async () => {
      const all = await mailsTo("ann@example.com");
      return all.length > 0 ? all : undefined;
    });
    assert.equal(more.length, 0);
    const full = await shop.mail(mail.id);
    assert.ok(full.text.split("\n").includes(license), "alone on a line");
    const page = await fetch(`${server.url}/billing/success?session_id=${session}`, { headers: { accept: "text/html" } });
    const html = await page.text();
    assert.ok(html.includes(license) && html.includes("curl") && html.includes("mcpServers"));
  });

  test("asked again, in any order and number of events, is one license and one mail", async () => {
    await action("faults", { duplicate: "3", shuffle: "7" });
    const { license, session } = await buy("pro", "bob@example.com");
    await action("faults", { duplicate: "1", shuffle: "" }).catch(() => {});
    const again = await Promise.all(
      Array.from({ length: 8 }, () =>
        fetch(`${server.url}/billing/success?session_id=${session}`, { headers: { accept: "application/json" } }).then((one) => one.json()),
      ),
    );
    for (const one of again) if (one.state === "ready") assert.equal(one.license, license);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    assert.equal((await mailsTo("bob@example.com")).length, 1);
  });

  test("two checkouts of one buyer are one customer at Stripe", async () => {
    const opened = await Promise.all(["pro", "week", "pro"].map((plan) => post("/billing/checkout", { plan, email: "Cy@Example.com " })));
    for (const one of opened) assert.equal(one.status, 200);
    const { data } = await api("GET", "/v1/customers", { email: "cy@example.com" });
    assert.equal(data.length, 1);
  });

  test("whose customer was deleted at Stripe, or is under another address there by now, is a new one", async () => {
    const customerOf = async (email) => (await api("GET", "/v1/customers", { email })).data[0]?.id;
    await buy("week", "dot@example.com");
    const deleted = await customerOf("dot@example.com");
    await api("DELETE", `/v1/customers/${deleted}`);
    const opened = await Promise.all(["pro", "week"].map((plan) => post("/billing/checkout", { plan, email: "dot@example.com" })));
    assert.deepEqual(opened.map((one) => one.status), [200, 200]);
    const { data } = await api("GET", "/v1/customers", { email: "dot@example.com" });
    assert.equal(data.length, 1, "of two at once");
    assert.notEqual(data[0].id, deleted);
    await api("POST", `/v1/customers/${data[0].id}`, { email: "mallory@evil.example" });
    const { session } = await buy("pro", "dot@example.com");
    const bought = shop.rows("SELECT email, customer FROM license WHERE subscription = ?", await subscriptionOf(session));
    assert.deepEqual(bought, [{ email: "dot@example.com", customer: await customerOf("dot@example.com") }]);
    assert.deepEqual(await mailsTo("mallory@evil.example"), []);
  });

  test("says what is wrong with a request", async () => {
    for (const [body, pointer] of [
      [{ plan: "nope" }, "/plan"],
      [{}, "/plan"],
      [{ plan: "pro", email: "no address" }, "/email"],
      [{ plan: 7 }, "/plan"],
    ]) {
      const answer = await post("/billing/checkout", body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.equal((await answer.json()).pointer, pointer);
    }
    const form = await fetch(`${server.url}/billing/checkout`, { method: "POST", redirect: "manual", body: new URLSearchParams({ plan: "pro" }) });
    assert.equal(form.status, 303);
    assert.ok(form.headers.get("location").startsWith(sandbox.stripe));
    assert.equal((await fetch(`${server.url}/billing/success?session_id=../x`)).status, 400);
    assert.equal((await fetch(`${server.url}/billing/success?session_id=cs_test_none`)).status, 404);
  });
});

describe("buying once", () => {
  test("gives a license for the plan's days", async () => {
    const { license, expires_at } = await buy("week", "dee@example.com");
    assert.equal((await get("/v1/a", license)).status, 200);
    const days = (Date.parse(expires_at) - Date.now()) / 86_400_000;
    assert.ok(Math.abs(days - 10) < 0.1, `${days} days, the grace with them`);
  });
  test("follows the buyer to another address", async () => {
    const { session } = await buy("week", "old@example.com");
    const { customer } = await api("GET", `/v1/checkout/sessions/${session}`);
    await api("POST", `/v1/customers/${customer}`, { email: "new@example.com" });
    await until("the new address", () => shop.rows("SELECT email FROM license WHERE email = 'new@example.com'").length === 1);
    await post("/billing/resend", { email: "new@example.com" });
    await until("the mail", async () => (await mailsTo("new@example.com")).length > 0);
  });
  test("what is not paid yet gives none, until it is", async () => {
    const { url } = await (await post("/billing/checkout", { plan: "week", email: "eve@example.com" })).json();
    const paid = await fetch(url, { method: "POST", redirect: "manual", body: new URLSearchParams({ outcome: "async" }) });
    const back = paid.headers.get("location");
    const ask = async () => (await fetch(back, { headers: { accept: "application/json" } })).json();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    assert.deepEqual(await ask(), { state: "pending" });
    const page = await (await fetch(back, { headers: { accept: "text/html" } })).text();
    assert.match(page, /<meta http-equiv="refresh" content="2;url=\/billing\/success\?session_id=cs_\w+&amp;look=1">/);
    const session = new URL(back).searchParams.get("session_id");
    await action("async", { session, outcome: "succeeded" });
    await until("the license", async () => (await ask()).state === "ready");
  });
});

describe("what ends a license", () => {
  const refusedWith = (license, code) =>
    until(code, async () => {
      const answer = await get("/v1/a", license);
      return answer.status === 200 ? undefined : (await answer.json()).code === code;
    });
  const paymentOf = async (session) => {
    const subscription = await subscriptionOf(session);
    const { data } = await api("GET", "/v1/invoices", { subscription, status: "paid" });
    const payments = await api("GET", "/v1/invoice_payments", { invoice: data[0].id });
    return payments.data[0].payment.payment_intent;
  };

  test("a full refund revokes, a part of it changes nothing", async () => {
    const { license, session } = await buy("pro", "fay@example.com");
    const payment_intent = await paymentOf(session);
    await api("POST", "/v1/refunds", { payment_intent, amount: "500" });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    assert.equal((await get("/v1/a", license)).status, 200);
    await api("POST", "/v1/refunds", { payment_intent });
    await refusedWith(license, "license_revoked");
  });

  test("a dispute suspends, won restores", async () => {
    const { license, session } = await buy("pro", "gus@example.com");
    const subscription = await subscriptionOf(session);
    const dispute = await action("dispute", { subscription });
    await refusedWith(license, "license_suspended");
    await action("dispute", { dispute: dispute.id, close: "won" });
    await until("access again", async () => (await get("/v1/a", license)).status === 200);
  });

  test("cancelled now is over; paused is suspended, and comes back", async () => {
    const paused = await buy("pro", "hal@example.com");
    await action("pause", { subscription: await subscriptionOf(paused.session) });
    await refusedWith(paused.license, "license_suspended");
    await action("resume", { subscription: await subscriptionOf(paused.session) });
    await until("access again", async () => (await get("/v1/a", paused.license)).status === 200);
    const cancelled = await buy("pro", "ida@example.com");
    await api("DELETE", `/v1/subscriptions/${await subscriptionOf(cancelled.session)}`);
    await refusedWith(cancelled.license, "license_expired");
    const page = await fetch(`${server.url}/billing/success?session_id=${cancelled.session}`, { headers: { accept: "text/html" } });
    assert.match(await page.text(), /Your license for the plan pro has ended\./);
  });

  test("what the operator revoked no event revives", async () => {
    const { license, session } = await buy("pro", "jo@example.com");
    const out = await run(["license", "revoke", license, "--config", path.join(shop.dir, "pontage.toml")], {
      cwd: shop.dir,
      env: { PONTAGE_EVM_KEY: config.evmKey("facilitator"), STRIPE_SECRET_KEY: "x", STRIPE_WEBHOOK_SECRET: "x", RESEND_API_KEY: "x" },
    });
    assert.equal(out.code, 0, out.stderr);
    await refusedWith(license, "license_revoked");
    await api("POST", `/v1/subscriptions/${await subscriptionOf(session)}`, { "metadata[x]": "y" });
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    assert.equal((await get("/v1/a", license)).status, 401);
  });
});

describe("the webhook", () => {
  const signed = (body, at) => sign(body, shop.secret, at);

  test("believes what is signed now, and says the same about everything else", async () => {
    const body = event("some.future.type");
    const good = await shop.deliver(body);
    assert.equal(good.status, 200);
    const now = Math.floor(Date.now() / 1000);
    const bad = {
      "no header": null,
      "another secret": sign(body, "whsec_other"),
      "another body": signed(`${body} `),
      old: signed(body, now - 310),
      early: signed(body, now + 90),
      garbage: "v1=zz",
    };
    const said = new Set();
    for (const [what, header] of Object.entries(bad)) {
      const answer = await shop.deliver(body, header);
      assert.equal(answer.status, 400, what);
      const { code, title, detail } = await answer.json();
      said.add(JSON.stringify([code, title, detail]));
    }
    assert.equal(said.size, 1);
  });
  test("refuses what is no event, and what is too long", async () => {
    for (const body of ["{}", "[]", "null", '{"object":"event"}', "{"]) {
      assert.equal((await shop.deliver(body)).status, 400, body);
    }
    const large = JSON.stringify({ pad: "x".repeat(1 << 20) });
    assert.equal((await shop.deliver(large)).status, 413);
  });
  test("takes one event once, of any number at once", async () => {
    const body = event("customer.subscription.updated", { id: "sub_none", object: "subscription" });
    const answers = await Promise.all(Array.from({ length: 32 }, () => shop.deliver(body)));
    assert.ok(answers.every((one) => one.status === 200));
  });
});

describe("a buyer who comes back", () => {
  test("reaches his invoices with the license, and nobody else's", async () => {
    const { license } = await buy("pro", "kim@example.com");
    const answer = await post("/billing/portal", { license });
    assert.equal(answer.status, 200, await answer.clone().text());
    assert.ok((await answer.json()).url.startsWith(sandbox.stripe));
    const form = await fetch(`${server.url}/billing/portal`, { method: "POST", redirect: "manual", body: new URLSearchParams({ license }) });
    assert.equal(form.status, 303);
    const bad = await post("/billing/portal", { license: `${license}x` });
    assert.ok(bad.status >= 400 && bad.status < 500);
    assert.equal((await bad.json()).pointer, "/license");
    const without = await (await post("/billing/portal", {})).json();
    assert.deepEqual([without.code, without.pointer], ["license_invalid", "/license"]);
    assert.match(without.detail, /missing/);
  });
  test("sees a license that was reissued on no page, and reaches nothing with the text before", async () => {
    const { license, session, plan } = await buy("pro", "pam@example.com");
    const cli = (...args) => run(["license", ...args, "--config", path.join(shop.dir, "pontage.toml")], { cwd: shop.dir, env: { ...shop.keys, PONTAGE_EVM_KEY: config.evmKey("facilitator") } });
    const portal = async (text) => {
      const answer = await post("/billing/portal", { license: text });
      const { code, pointer } = await answer.json();
      return [answer.status, code, pointer];
    };
    const id = shop.rows("SELECT id FROM license WHERE email = ?", "pam@example.com")[0].id;
    const calm = JSON.parse((await cli("reissue", id, "--overlap", "1h", "--json")).stdout);
    assert.deepEqual((await Promise.all([license, calm.license].map(portal))).map(([status]) => status), [200, 200]);
    const again = JSON.parse((await cli("reissue", id, "--json")).stdout);
    for (const old of [license, calm.license]) assert.deepEqual(await portal(old), [401, "license_revoked", "/license"]);
    assert.equal((await portal(again.license))[0], 200);

    const said = await shop.bought(session);
    assert.equal(said.license, undefined);
    assert.deepEqual([said.plan, said.resend_url], [plan, `${server.url}/billing/resend`]);
    const page = await (await fetch(`${server.url}/billing/success?session_id=${session}`, { headers: { accept: "text/html" } })).text();
    assert.ok(!page.includes("eyJ") && page.includes('action="/billing/resend"'));
    assert.equal((await cli("revoke", id)).code, 0);
    assert.deepEqual(await portal(again.license), [401, "license_revoked", "/license"]);
  });
  test("sees a license on its page for a day", async () => {
    const { license, session } = await buy("pro", "pat@example.com");
    const age = (hours) => shop.change("UPDATE license SET issued_ms = issued_ms - ? WHERE email = ?", hours * 3_600_000, "pat@example.com");
    await age(23);
    assert.ok((await shop.bought(session)).license);
    await age(2);
    assert.equal((await shop.bought(session)).license, undefined);
    const page = await (await fetch(`${server.url}/billing/success?session_id=${session}`, { headers: { accept: "text/html" } })).text();
    assert.ok(!page.includes("eyJ") && page.includes("was sent by mail"));
    assert.equal((await get("/v1/a", license)).status, 200);
  });
  test("is sent his license again, and nobody learns who has one", async () => {
    const { license } = await buy("pro", "lou@example.com");
    const bodies = new Set();
    for (const email of ["lou@example.com", "nobody@example.com", "not an address", ""]) {
      const answer = await post("/billing/resend", { email });
      assert.equal(answer.status, 200);
      bodies.add(await answer.text());
    }
    assert.equal(bodies.size, 1);
    await until("both mails", async () => (await mailsTo("lou@example.com")).length === 2);
    // Whose text was replaced within the hour is sent the one that counts.
    const id = shop.rows("SELECT id FROM license WHERE email = ?", "lou@example.com")[0].id;
    const { stdout } = await run(["license", "reissue", id, "--json", "--config", path.join(shop.dir, "pontage.toml")], { cwd: shop.dir, env: { ...shop.keys, PONTAGE_EVM_KEY: config.evmKey("facilitator") } });
    for (let i = 0; i < 2; ++i) await post("/billing/resend", { email: "lou@example.com" });
    const brings = async (text) => (await mailsTo("lou@example.com")).filter((mail) => JSON.stringify(mail).includes(text)).length;
    await until("the third", async () => (await brings(JSON.parse(stdout).license)) === 1);
    assert.equal(await brings(license), 2);
    assert.equal((await mailsTo("lou@example.com")).length, 3);
  });
  test("sees what there is to buy, as a page and as JSON", async () => {
    const json = await (await fetch(`${server.url}/billing`, { headers: { accept: "application/json" } })).json();
    assert.deepEqual(json.plans.map((one) => [one.plan, one.price]), [["pro", "$29/month"], ["week", "$9"]]);
    const page = await fetch(`${server.url}/billing`, { headers: { accept: "text/html" } });
    assert.match(page.headers.get("content-security-policy"), /default-src 'none'/);
    assert.match(await page.text(), /\$29\/month/);
  });
});

describe("a stranger who loads pages of sessions that are none", () => {
  test("holds up neither a buyer's license nor his checkout, and one id is asked about once", async () => {
    const none = `${server.url}/billing/success?session_id=cs_test_`;
    const before = server.events("stripe.call_failed").length;
    for (let i = 0; i < 5; ++i) assert.equal((await fetch(`${none}same`)).status, 404);
    assert.equal(server.events("stripe.call_failed").length - before, 1);
    const page = await shop.checkout("pro", "max@example.com");
    const asked = [];
    const flood = setInterval(() => asked.push(fetch(`${none}${Math.random().toString(36).slice(2)}`).then((one) => one.status)), 20);
    try {
      await new Promise((resolve) => setTimeout(resolve, 4_000));
      const session = await shop.press(page);
      const subscription = await subscriptionOf(session);
      const of = "SELECT status FROM license WHERE subscription = ?";
      await until("the license", () => shop.rows(of, subscription).length > 0, 5_000);
      assert.equal((await post("/billing/checkout", { plan: "week", email: "ned@example.com" })).status, 200);
    } finally {
      clearInterval(flood);
    }
    const statuses = new Set(await Promise.all(asked));
    assert.deepEqual([...statuses].filter((one) => one !== 404 && one !== 200), []);
  });
});

// Last: it moves the clock of the double, and so what everybody else has paid for.
describe("a renewal", () => {
  test("each paid period has its invoice and the file of it, on the page and by mail; the license stays", async () => {
    const { license, session, invoice_url, invoice_pdf } = await buy("pro", "ivy@example.com");
    assert.ok(invoice_url.startsWith(sandbox.stripe) && invoice_pdf.startsWith(sandbox.stripe));
    const first = await until("the mail", async () => (await mailsTo("ivy@example.com"))[0]);
    const textOf = async ({ id }) => (await shop.mail(id)).text;
    assert.ok((await textOf(first)).includes(invoice_pdf));
    await action("advance", { seconds: String(32 * 86_400) });
    const receipt = await until("the mail of the renewal", async () => (await mailsTo("ivy@example.com")).find((one) => one.id !== first.id), 20_000);
    const invoices = await api("GET", "/v1/invoices", { subscription: await subscriptionOf(session), status: "paid" });
    assert.equal(invoices.data.length, 2);
    const text = await textOf(receipt);
    assert.ok(text.includes(invoices.data[0].invoice_pdf) && !text.includes(license));
    const page = await (await fetch(`${server.url}/billing/success?session_id=${session}`, { headers: { accept: "text/html" } })).text();
    assert.ok(page.includes(invoices.data[0].invoice_pdf) && page.includes(license));
  });
});

describe("a shop whose licenses are claimed", () => {
  let claims;
  before(async () => {
    await server.stop(); // its endpoint would hear of what is sold here, too
    claims = await openShop({ sandbox, upstream: upstream.url, license: 'delivery = "claim"', plans: {} });
    await claims.start();
  });
  after(() => claims?.close());
  const claim = (fields, accept = "application/json") =>
    fetch(`${claims.url}/billing/claim`, {
      method: "POST",
      headers: { "content-type": "application/json", accept },
      body: JSON.stringify(fields),
    });

  test("mails and shows a link, which shows the license once", async () => {
    const said = await claims.buy("pro", "joy@example.com");
    assert.equal(said.license, undefined);
    const mail = await until("the mail", async () => (await mailsTo("joy@example.com"))[0]);
    const { text } = await shop.mail(mail.id);
    assert.ok(!/^eyJ/m.test(text), "no license in the mail");
    const link = new URL(/http\S+\/billing\/claim\?token=\S+/.exec(text)[0]);
    const token = link.searchParams.get("token");

    // What follows links, opens nothing: a button has to be pressed.
    for (const url of [link, said.claim_url]) {
      const page = await fetch(url, { headers: { accept: "text/html" } });
      assert.equal(page.status, 200);
      assert.match(await page.text(), /<form method="post" action="\/billing\/claim">/);
    }
    const { license } = await (await claim({ token })).json();
    assert.equal((await fetch(`${claims.url}/v1/a`, { headers: { authorization: `Bearer ${license}` } })).status, 200);
    const again = await claim({ token });
    assert.equal(again.status, 404);
    assert.equal((await again.json()).pointer, "/token");

    const session_id = said.session;
    const both = await Promise.all([claim({ session_id }), claim({ session_id })]);
    assert.deepEqual(both.map((one) => one.status).sort(), [200, 404]);
    const shown = await both.find((one) => one.status === 200).json();
    assert.equal(shown.license, license);

    // Nor does the page of another buyer, once his license was reissued.
    const other = await claims.buy("pro", "jim@example.com");
    claims.change("UPDATE license SET generation = 2 WHERE email = ?", "jim@example.com");
    assert.deepEqual([(await claims.bought(other.session)).claim_url, (await claim({ session_id: other.session })).status], [undefined, 404]);
    assert.equal((await claim({})).status, 400);
    assert.equal((await claim({ token: "clm_x" })).status, 404);
  });
});

// The first seed's form: whoever asks for his license again gets the text that he has.
describe("a license in Fernet's form", () => {
  const kRoutes = `
[[plan]]
name = "week"
price = "$9"
days = 7
format = "fernet"
[[route]]
match = "GET /v1/*"
upstream = "api"
price = "$0.001"
plans = ["week"]
`;
  let old, account;
  before(async () => {
    account = await startSandbox(); // or the shop beside it would sell the same
    old = await openShop({ sandbox: account, upstream: upstream.url, routes: kRoutes, plans: { week: { unit_amount: "900" } }, license: 'fernet_keys = ["env:FERNET_KEY"]', sections: '[console]\noperator_key = "file:operator.key"\n' });
    await old.start({ FERNET_KEY: `${Buffer.alloc(32, 5).toString("base64url")}=` });
  });
  after(async () => {
    await old?.close();
    await account?.stop();
  });

  test("is one text: on the page, by mail, and sent again", async () => {
    const { license, session } = await old.buy("week", "kim@example.com");
    assert.match(license, /^gAAAA/);
    assert.equal((await old.get("/v1/a", license)).status, 200);
    const again = await (await fetch(`${old.url}/billing/success?session_id=${session}`, { headers: { accept: "application/json" } })).json();
    assert.equal(again.license, license);
    await old.post("/billing/resend", { email: "kim@example.com" });
    const mails = await until("both mails", async () => {
      const all = await old.mailsTo("kim@example.com");
      return all.length > 1 ? all : undefined;
    });
    for (const one of mails) assert.ok((await old.mail(one.id)).text.split("\n").includes(license), "alone on a line");
    // The operator who has it in hand finds whose it is.
    const asked = async (where) => (await fetch(`${old.url}/admin/v1/${where}`, { headers: { "X-Admin-Key": fs.readFileSync(path.join(old.dir, "operator.key"), "utf8").trim() } })).json();
    assert.equal((await asked(`customers?q=${license}`)).data[0].email, "kim@example.com");
    assert.equal((await asked(`licenses?license=${license}`)).data[0].plan, "week");
  });
});
