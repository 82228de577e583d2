// `pontage stripe setup` and the prices it leaves behind: what is made, what is kept, and what somebody changed at Stripe
// meanwhile.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { run } from "../rig/src/pontage.mjs";
import { startSandbox } from "../rig/src/sandbox.mjs";
import { openShop } from "../rig/src/shop.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

// Plans under names of their own: one account keeps the products of every shop.
const kOther = (...names) =>
  `${names.map((name) => `[[plan]]\nname = "${name}"\nprice = "$29/month"\n`).join("")}[[route]]\nmatch = "GET /v1/*"\nupstream = "api"\nprice = "$0.001"\nplans = ["${names[0]}"]\n`;

let sandbox, upstream;
before(async () => {
  sandbox = await startSandbox();
  upstream = await startUpstream();
});
after(async () => {
  await upstream?.stop();
  await sandbox?.stop();
});

// Stripe's double with somebody in between, who refuses what `refuses` says.
async function startBetween() {
  const between = { refuses: () => false };
  const server = http.createServer(async (request, answer) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    if (between.refuses(request)) {
      const error = { type: "invalid_request_error", message: "This key may not do that." };
      answer.writeHead(403, { "content-type": "application/json" }).end(JSON.stringify({ error }));
      return;
    }
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !["host", "connection", "content-length"].includes(name)));
    const body = pieces.length > 0 ? Buffer.concat(pieces) : undefined;
    const heard = await fetch(sandbox.stripe + request.url, { method: request.method, headers, body });
    answer.writeHead(heard.status, { "content-type": "application/json" }).end(await heard.text());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  between.url = `http://127.0.0.1:${server.address().port}`;
  between.stop = () => {
    server.closeAllConnections();
    server.close();
  };
  return between;
}

// A shop that nothing was made for yet; `setup` runs the command.
async function openBare(more = {}) {
  const shop = await openShop({ sandbox, upstream: upstream.url, plans: {}, ...more });
  const file = path.join(shop.dir, "pontage.toml");
  fs.writeFileSync(file, shop.toml);
  await shop.api("DELETE", `/v1/webhook_endpoints/${shop.hook.id}`);
  // The portal that an earlier shop of this account has made would be kept.
  const { data } = await shop.api("GET", "/v1/billing_portal/configurations", { active: "true" });
  for (const { id } of data) await shop.api("POST", `/v1/billing_portal/configurations/${id}`, { active: "false" });
  const setup = async (...args) => {
    const { code, stdout, stderr } = await run(["stripe", "setup", "--config", file, ...args], { cwd: shop.dir, env: shop.keys });
    return { code, stderr, ...JSON.parse(stdout) };
  };
  const endpoints = async () => {
    const { data } = await shop.api("GET", "/v1/webhook_endpoints", { limit: "100" });
    return data.filter((one) => one.url.startsWith(shop.url)).map((one) => one.id);
  };
  return { ...shop, file, setup, endpoints };
}

describe("stripe setup", () => {
  test("makes an endpoint again that was deleted at Stripe", async () => {
    const shop = await openBare();
    try {
      assert.equal((await shop.setup()).code, 0);
      const [first, ...none] = await shop.endpoints();
      assert.deepEqual(none, []);
      assert.equal((await shop.setup()).code, 0);
      assert.deepEqual(await shop.endpoints(), [first], "there is one");
      await shop.api("DELETE", `/v1/webhook_endpoints/${first}`);
      assert.equal((await shop.setup()).code, 0);
      const [second] = await shop.endpoints();
      assert.ok(second && second !== first, "and not the answer that Stripe gave before");
    } finally {
      await shop.close();
    }
  });

  test("that fails tells what it has made; the endpoint is the last, and its secret is told whatever fails after it", async () => {
    const between = await startBetween();
    const shop = await openBare({ stripeBase: between.url, routes: kOther("half") });
    try {
      between.refuses = ({ method, url }) => method === "POST" && url.startsWith("/v1/billing_portal/configurations");
      const refused = await shop.setup();
      assert.equal(refused.code, 4, refused.stderr);
      assert.match(refused.error.detail, /may not do that/);
      assert.deepEqual(refused.steps.map((one) => one.what), ["product", "price"]);
      assert.deepEqual(await shop.endpoints(), [], "or its secret would be lost");

      let made = false;
      between.refuses = ({ method, url }) => {
        const of = url.startsWith("/v1/webhook_endpoints");
        if (of && method === "POST") made = true;
        return of && method === "GET" && made;
      };
      const half = await shop.setup();
      assert.equal(half.code, 4, half.stderr);
      assert.match(half.webhook_secret, /^whsec_/);
      between.refuses = () => false;
      const whole = await shop.setup();
      assert.equal(whole.code, 0, whole.stderr);
      assert.ok(whole.steps.every((one) => one.action === "kept"), JSON.stringify(whole.steps));
    } finally {
      await shop.close();
      between.stop();
    }
  });

  test("more plans than Stripe's portal offers: ten products, those of one product together, and it says so", async () => {
    const shop = await openBare({ routes: kOther(...Array.from({ length: 11 }, (_, i) => `many${i}`), "monthly", "yearly") });
    try {
      const product = (await shop.api("POST", "/v1/products", { name: "one" })).id;
      for (const plan of ["monthly", "yearly"]) {
        const interval = plan === "monthly" ? "month" : "year";
        const price = await shop.api("POST", "/v1/prices", { product, currency: "usd", unit_amount: "2900", "recurring[interval]": interval });
        const named = `name = "${plan}"\nprice = "$29/${interval}"\nstripe_price = "${price.id}"\n`;
        const toml = fs.readFileSync(shop.file, "utf8").replace(`name = "${plan}"\nprice = "$29/month"\n`, named);
        fs.writeFileSync(shop.file, toml);
      }
      const done = await shop.setup();
      assert.equal(done.code, 0, done.stderr);
      const portal = done.steps.find((one) => one.what === "portal_configuration");
      assert.equal(portal.action, "made");
      assert.match(portal.detail, /10 products of 12/);
      const { features } = await shop.api("GET", `/v1/billing_portal/configurations/${portal.id}`);
      const offered = features.subscription_update.products.map((one) => one.product);
      assert.equal(new Set(offered).size, 10);
    } finally {
      await shop.close();
    }
  });
});

describe("stripe setup, once more", () => {
  const step = (done, what) => done.steps.find((one) => one.what === what);
  test("changes what the portal offers with the price list, and nothing else of it", async () => {
    const shop = await openBare({ routes: kOther("grows") });
    try {
      const made = step(await shop.setup(), "portal_configuration");
      assert.equal(made.action, "made");
      const portal = async () => {
        const { features, ...rest } = await shop.api("GET", `/v1/billing_portal/configurations/${made.id}`);
        return { ...rest, features, offered: features.subscription_update.products.flatMap((one) => one.prices) };
      };
      const first = await portal();
      assert.equal(first.offered.length, 1);
      // By hand, at Stripe.
      await shop.api("POST", `/v1/billing_portal/configurations/${made.id}`, { "features[subscription_pause][enabled]": "true" });
      const write = (from, to) => fs.writeFileSync(shop.file, fs.readFileSync(shop.file, "utf8").replace(from, to));
      write("$29/month", "$39/month");
      const dry = await shop.setup("--dry-run");
      assert.equal(step(dry, "price").action, "would replace");
      const raised = await shop.setup();
      assert.equal(raised.code, 0, raised.stderr);
      assert.deepEqual(step(raised, "portal_configuration"), { what: "portal_configuration", name: "portal", id: made.id, action: "changed", detail: "" });
      const second = await portal();
      assert.deepEqual(second.offered, [step(raised, "price").id], "nobody changes to the old price any more");
      assert.equal(second.features.subscription_pause.enabled, true);
      write('[[plan]]\nname = "grows"', '[[plan]]\nname = "added"\nprice = "$99/month"\n[[plan]]\nname = "grows"');
      const more = await shop.setup();
      assert.equal(step(more, "portal_configuration").action, "changed", more.stderr);
      assert.equal((await portal()).offered.length, 2);
      const again = await shop.setup();
      assert.ok(again.steps.every((one) => one.action === "kept"), JSON.stringify(again.steps));
      // And back to what it was at first, within the day for which Stripe repeats answers.
      write('[[plan]]\nname = "added"\nprice = "$99/month"\n', "");
      assert.equal(step(await shop.setup("--dry-run"), "portal_configuration").action, "would change");
      assert.equal(step(await shop.setup(), "portal_configuration").action, "changed");
      assert.deepEqual((await portal()).offered, second.offered);
    } finally {
      await shop.close();
    }
  });

  test("makes a portal again that was put out of use, and tells an endpoint to hear what it lacks", async () => {
    const shop = await openBare({ routes: kOther("again") });
    try {
      const first = await shop.setup();
      const portal = step(first, "portal_configuration").id;
      await shop.api("POST", `/v1/billing_portal/configurations/${portal}`, { active: "false" });
      const [endpoint] = await shop.endpoints();
      const heard = async () => (await shop.api("GET", `/v1/webhook_endpoints/${endpoint}`)).enabled_events;
      const all = await heard();
      for (let i = 0; i < 2; ++i) {
        await shop.api("POST", `/v1/webhook_endpoints/${endpoint}`, { "enabled_events[0]": "invoice.paid", "enabled_events[1]": "payout.paid" });
        assert.equal(step(await shop.setup("--dry-run"), "webhook_endpoint").action, "would change");
        const second = await shop.setup();
        assert.equal(step(second, "webhook_endpoint").action, "changed", second.stderr);
        assert.deepEqual((await heard()).sort(), [...all, "payout.paid"].sort(), "and what somebody else wants stays");
        if (i === 0) assert.ok(step(second, "portal_configuration").action === "made" && step(second, "portal_configuration").id !== portal);
      }
      await shop.api("POST", `/v1/webhook_endpoints/${endpoint}`, { "enabled_events[0]": "*" });
      assert.equal(step(await shop.setup(), "webhook_endpoint").action, "kept");
    } finally {
      await shop.close();
    }
  });

  test("its portal is the one that buyers come to; without it, the account's", async () => {
    const own = await startSandbox();
    const shop = await openShop({ sandbox: own, upstream: upstream.url });
    try {
      const file = path.join(shop.dir, "pontage.toml");
      fs.writeFileSync(file, shop.toml);
      const { code, stdout, stderr } = await run(["stripe", "setup", "--config", file, "--json"], { cwd: shop.dir, env: shop.keys });
      assert.equal(code, 0, stdout + stderr);
      const { id } = step(JSON.parse(stdout), "portal_configuration");
      await shop.start();
      const { license } = await shop.buy("pro", "ann@example.com");
      const opened = async () => {
        const { url } = await (await shop.post("/billing/portal", { license })).json();
        const { data } = await shop.api("GET", "/v1/events", { type: "billing_portal.session.created" });
        assert.equal(url, data[0].data.object.url);
        return data[0].data.object.configuration;
      };
      assert.equal(await opened(), id);
      await shop.api("POST", `/v1/billing_portal/configurations/${id}`, { active: "false" });
      const account = await opened();
      assert.equal((await shop.api("GET", `/v1/billing_portal/configurations/${account}`)).is_default, true);
    } finally {
      await shop.close();
      await own.stop();
    }
  });
});

describe("a price that changes at Stripe while we sell", () => {
  test("archived, with another in its place: the next buyer gets that; without one he hears it", async () => {
    const own = await startSandbox(); // its prices are told apart by the plan's name alone
    const shop = await openShop({ sandbox: own, upstream: upstream.url });
    try {
      await shop.start();
      const amount = async (url) => (await shop.api("GET", `/v1/checkout/sessions/${url.match(/cs_\w+/)[0]}`)).amount_total;
      assert.equal(await amount(await shop.checkout("pro")), 2900);
      const { product } = await shop.api("GET", `/v1/prices/${shop.prices.pro}`);
      const dearer = { product, currency: "usd", unit_amount: "3900", "recurring[interval]": "month", lookup_key: "pro", transfer_lookup_key: "true" };
      const next = await shop.api("POST", "/v1/prices", dearer);
      await shop.api("POST", `/v1/prices/${shop.prices.pro}`, { active: "false" });
      assert.equal(await amount(await shop.checkout("pro")), 3900);
      await shop.api("POST", `/v1/prices/${next.id}`, { active: "false" });
      const refused = await shop.post("/billing/checkout", { plan: "pro" });
      assert.equal(refused.status, 409);
      const { pointer, expected } = await refused.json();
      assert.equal(pointer, "/plan");
      assert.match(expected, /price/);
    } finally {
      await shop.close();
      await own.stop();
    }
  });
});
