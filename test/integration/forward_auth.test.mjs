// Another proxy asks whether a request may pass: /forward-auth as such, and behind a real nginx with the
// very file that the guide shows.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { ask, books, decode, during, offersOf, payHeader, paymentV1, paymentV2 } from "../rig/src/pay.mjs";
import { fetchV1, fetchV2, receiptOf } from "../rig/src/peers.mjs";
import { freePort, startNginx } from "../rig/src/nginx.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { request, talk } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoot = path.resolve(import.meta.dirname, "../..");
const kRoutes = `
[[route]]
match = "GET /paid/*"
price = "$0.001"
[[route]]
match = "POST /paid/*"
price = "$0.002"
[[route]]
match = "GET /free/*"
price = "free"
[[route]]
match = "GET /mixed/*"
price = "free"
[[route]]
match = "POST /mixed/*"
price = "$0.003"
[[route]]
match = "GET /slow/*"
price = "free"
rate = "2/h"
`;

let chain, upstream;
let forbids = false;
before(async () => {
  chain = await rig.up();
  upstream = await startUpstream((req, res) => {
    if (forbids) {
      res.statusCode = 403;
      res.end("not you");
      return;
    }
    res.setHeader("content-type", "application/json");
    res.end(JSON.stringify({ path: req.url }));
  });
});
after(async () => {
  await upstream?.stop();
  await chain?.stop();
});

// Only /forward-auth is asked here: there is no upstream at all.
const start = ({ server, routes = kRoutes, sections = "" }) => {
  const toml = sellerConfig({ rpc: chain.rpc, upstream: "http://127.0.0.1:9", routes, server, sections });
  return startPontage(toml.replace(/\[\[upstream\]\]\nname = "api"\nurl = .*\n/, ""));
};
const kTrust = `trusted_proxies = ["127.0.0.0/8"]\npublic_url = "https://shop.example"`;

describe("as it is asked", () => {
  let server, strict;
  before(async () => {
    server = await start({ server: kTrust });
    strict = await start({ server: `public_url = "https://shop.example"` });
  });
  after(async () => {
    await server?.stop();
    await strict?.stop();
  });
  const original = (method, uri) => ({ "X-Original-Method": method, "X-Original-URI": uri });
  const forwarded = (method, uri) => ({ "X-Forwarded-Method": method, "X-Forwarded-Uri": uri });
  const kAuth = "/forward-auth";

  test("unpaid is 402 with the whole offer, for the original resource at the public address", async () => {
    for (const [where, headers, method] of [
      [kAuth, original("GET", "/paid/a?x=1"), "GET"],
      [kAuth, forwarded("GET", "/paid/a?x=1"), "GET"],
      [kAuth, forwarded("GET", "/paid/a?x=1"), "POST"],
      [`${kAuth}/paid/a?x=1`, {}, "GET"],
    ]) {
      const { status, v2, v1 } = await offersOf(server.url + where, { headers, method });
      assert.equal(status, 402);
      assert.equal(v2.resource.url, "https://shop.example/paid/a?x=1");
      assert.equal(v1.accepts[0].resource, "https://shop.example/paid/a?x=1");
      assert.equal(v2.accepts[0].amount, "1000");
    }
  });

  test("a browser gets the page, whatever stands between", async () => {
    const headers = { ...forwarded("GET", "/paid/a"), accept: "text/html", "user-agent": "Mozilla/5.0" };
    const answer = await fetch(server.url + kAuth, { headers });
    assert.equal(answer.status, 402);
    assert.match(answer.headers.get("content-type"), /^text\/html/);
  });

  test("paid is 200 with the receipt, the money has moved, and nobody's upstream was asked", async () => {
    for (const make of [paymentV2, paymentV1]) {
      const headers = original("GET", "/paid/a");
      const payment = await make(await offersOf(server.url + kAuth, { headers }));
      const { value, gained } = await during({ chain, upstream }, () => ask(server.url + kAuth, { ...headers, ...payHeader(payment) }));
      assert.equal(value.status, 200, value.text);
      assert.equal(value.text, "");
      assert.equal(value.receipt.success, true);
      assert.match(value.headers.get("cache-control"), /no-store/);
      assert.match(value.headers.get("x-request-id"), /^req_/);
      assert.equal(gained, 1000n);
    }
    const [row] = await books(server);
    assert.deepEqual([row.state, row.method, row.resource], ["settled", "GET", "/paid/a"]);
  });

  test("a used payment is told so with its receipt, and is worth nothing for another resource or method", async () => {
    const headers = original("GET", "/paid/b");
    const payment = payHeader(await paymentV2(await offersOf(server.url + kAuth, { headers })));
    assert.equal((await ask(server.url + kAuth, { ...headers, ...payment })).status, 200);
    const { value, gained } = await during({ chain, upstream }, async () => [
      await ask(server.url + kAuth, { ...headers, ...payment }),
      await ask(server.url + kAuth, { ...original("GET", "/paid/c"), ...payment }),
      await ask(`${server.url}${kAuth}/paid/c`, payment),
      await ask(server.url + kAuth, { ...original("HEAD", "/paid/b"), ...payment }),
      await ask(server.url + kAuth, { ...original("POST", "/paid/b"), ...payment }),
    ]);
    assert.deepEqual(value.map((one) => one.status), [402, 402, 402, 402, 402]);
    assert.equal(value[0].code, "payment_already_used");
    assert.equal(value[0].receipt.success, true);
    assert.equal(gained, 0n);
  });

  test("the same payment fifty times at once passes once", async () => {
    const headers = original("GET", "/paid/race");
    const payment = payHeader(await paymentV2(await offersOf(server.url + kAuth, { headers })));
    const { value, gained } = await during({ chain, upstream }, () =>
      Promise.all(Array.from({ length: 50 }, () => ask(server.url + kAuth, { ...headers, ...payment }))));
    assert.equal(value.filter((one) => one.status === 200).length, 1);
    assert.ok(value.every((one) => [200, 402, 409].includes(one.status)));
    assert.equal(gained, 1000n);
  });

  test("?deny=403 refuses with 403: the offer in the header, the status and the body in fields", async () => {
    const where = `${server.url}${kAuth}?deny=403`;
    const answer = await fetch(where, { headers: original("GET", "/paid/a") });
    assert.equal(answer.status, 403);
    assert.equal(decode(answer.headers.get("payment-required")).accepts[0].amount, "1000");
    assert.equal(answer.headers.get("x-pontage-status"), "402");
    const body = JSON.parse(answer.headers.get("x-pontage-body"));
    assert.deepEqual([body.code, body.accepts[0].maxAmountRequired], ["payment_required", "1000"]);
    const bad = await fetch(where, { headers: { ...original("GET", "/paid/a"), "PAYMENT-SIGNATURE": "%%" } });
    assert.deepEqual([bad.status, JSON.parse(bad.headers.get("x-pontage-body")).code], [403, "payment_malformed"]);
    const browser = { ...original("GET", "/paid/a"), accept: "text/html", "user-agent": "Mozilla/5.0" };
    assert.equal((await fetch(where, { headers: browser })).headers.get("x-pontage-status"), "402");
    const unknown = await fetch(where, { headers: original("GET", "/nowhere") });
    assert.deepEqual([unknown.status, unknown.headers.get("x-pontage-status")], [403, "404"]);
    const rest = await fetch(`${server.url}${kAuth}/paid/a?deny=403&x=1`);
    assert.equal(rest.status, 403);
    assert.equal(decode(rest.headers.get("payment-required")).resource.url, "https://shop.example/paid/a?x=1");
    assert.equal((await fetch(`${server.url}${kAuth}?deny=302`, { headers: original("GET", "/free/a") })).status, 400);
    assert.equal((await fetch(where, { headers: original("GET", "/free/a") })).status, 200);
  });

  test("free passes, what is not on the price list does not", async () => {
    const { value } = await during({ chain, upstream }, async () => [
      await ask(server.url + kAuth, original("GET", "/free/a")),
      await ask(server.url + kAuth, original("HEAD", "/free/a")),
      await ask(server.url + kAuth, original("GET", "/other")),
      await ask(server.url + kAuth, original("DELETE", "/free/a")),
      await ask(server.url + kAuth, original("OPTIONS", "/free/a")),
    ]);
    assert.deepEqual(value.map((one) => one.status), [200, 200, 404, 405, 405]);
    assert.match(value[0].headers.get("cache-control"), /no-store/);
  });

  test("a preflight is a method like the rest: a yes here would be one for the upstream", async () => {
    const headers = { origin: "https://page.example", "access-control-request-method": "GET" };
    const direct = await talk(server.url, request(`OPTIONS ${kAuth}/paid/a`, Object.entries(headers).map((h) => h.join(": ")).concat("Connection: close")));
    assert.deepEqual(direct.statuses, [405]);
    assert.equal((await ask(server.url + kAuth, { ...headers, ...original("OPTIONS", "/paid/a") })).status, 405);
  });

  test("a method that the proxy does not name costs what the dearest does", async () => {
    const { v2 } = await offersOf(server.url + kAuth, { headers: { "X-Original-URI": "/mixed/a" } });
    assert.equal(v2.accepts[0].amount, "3000");
  });

  test("spoofed: a stranger's X-Original-URI counts for nothing", async () => {
    assert.equal((await ask(strict.url + kAuth, original("GET", "/free/a"))).status, 400);
    assert.equal((await ask(`${strict.url}${kAuth}/paid/a`, original("GET", "/free/a"))).status, 402);
    assert.equal((await ask(`${strict.url}${kAuth}/free/a`, original("GET", "/paid/a"))).status, 200);
  });

  test("spoofed: the pair that a trusted proxy does not use must not contradict the one it does", async () => {
    for (const headers of [
      { ...forwarded("GET", "/paid/a"), ...original("GET", "/free/a") },
      { ...original("POST", "/mixed/a"), "X-Forwarded-Method": "GET" },
      { ...original("GET", "/paid/a"), "X-Original-URL": "http://shop.example/free/a" },
    ]) {
      assert.equal((await ask(server.url + kAuth, headers)).status, 400, JSON.stringify(headers));
    }
    assert.equal((await ask(`${server.url}${kAuth}/paid/a`, original("GET", "/free/a"))).status, 400);
    const twice = request(`GET ${kAuth}`, ["X-Original-URI: /free/a", "X-Original-URI: /paid/a", "X-Original-Method: GET", "Connection: close"]);
    assert.deepEqual((await talk(server.url, twice)).statuses, [400]);
  });

  test("no spelling of a paid path passes for free", async () => {
    for (const spelling of [
      "/paid/a/", "//paid//a", "/PAID/a", "/%70aid/a", "/free/../paid/a", "/free/%2e%2e/paid/a", "/free/..%2fpaid/a",
      "/free/..%5cpaid%5ca", "/free/..;/paid/a", "/free\\..\\paid\\a", "/paid;x/a", "/paid/a?x", "/./paid/a",
      "http://shop.example/paid/a", "https://shop.example//paid/a", "/paid%2fa", "/free/x%2f..%2f..%2fpaid%2fa",
      "/free/a%5Cb%2F..%2F..%2Fpaid%2Fa", "/paid%2Fa%2F..;x%2F..%2Fb",
    ]) {
      const { status } = await ask(server.url + kAuth, original("GET", spelling));
      assert.ok([400, 402, 404].includes(status), `${spelling}: ${status}`);
    }
    for (const bad of ["/free/../../paid/a", "/%", "/paid/%00", "paid/a", "*", "", "/free/%c0%afpaid"]) {
      const { status } = await ask(server.url + kAuth, original("GET", bad));
      assert.ok([400, 404].includes(status), `${bad}: ${status}`);
    }
    // Free to those who resolve them, paid to those who take them as they are: the proxy sends them on.
    for (const both of ["/paid/a/../../free/a", "/paid/a/%2e%2e/%2e%2e/free/a", "/paid/a/..;/..;/free/a", "/paid/a\\..\\..\\free\\a", "/free/a#/../../paid/a"]) {
      assert.equal((await ask(server.url + kAuth, original("GET", both))).status, 400, both);
    }
    for (const climb of ["/../healthz", "/../free/a", "/%2e%2e/free/a", "/x/../../free/a"]) {
      const { statuses } = await talk(server.url, request(`GET ${kAuth}${climb}`, ["Connection: close"]));
      assert.deepEqual(statuses, [400], climb);
    }
  });

  test("a body that is announced and kept back is not waited for", async () => {
    const raw = request(`GET ${kAuth}`, ["X-Original-URI: /free/a", "X-Original-Method: GET", "Content-Length: 1000"]);
    const begun = Date.now();
    const { statuses } = await talk(server.url, raw, { until: (text) => text.includes("\r\n\r\n") });
    assert.deepEqual(statuses, [200]);
    assert.ok(Date.now() - begun < 1_500);
  });

  test("asked for directly a route without an upstream is a clear error, and nothing is charged", async () => {
    const { status, text } = await ask(`${server.url}/paid/a`);
    assert.equal(status, 404);
    assert.match(JSON.parse(text).detail, /no upstream.*forward-auth/);
    assert.ok(server.events("config.warning").some(({ detail }) => /has no upstream: only \/forward-auth/.test(detail)));
  });

  test("rate counts the client that the proxy names", async () => {
    const from = (address) => ask(server.url + kAuth, { ...original("GET", "/slow/a"), "X-Forwarded-For": address });
    assert.equal((await from("198.51.100.1")).status, 200);
    assert.equal((await from("198.51.100.1")).status, 200);
    const third = await from("198.51.100.1");
    assert.deepEqual([third.status, third.code], [429, "rate_limited"]);
    assert.ok(Number(third.headers.get("retry-after")) > 1);
    assert.equal((await from("198.51.100.2")).status, 200);
  });

  test("a configured route wins over /forward-auth, with a warning; one with a * before it does not", async () => {
    const toml = (match) => `[[upstream]]\nname = "up"\nurl = "${upstream.url}"\n[[route]]\nmatch = "${match}"\nupstream = "up"\nprice = "free"\n`;
    const own = await start({ server: kTrust, sections: toml("/forward-auth/*") });
    const wide = await start({ server: kTrust, sections: toml("/*") });
    try {
      assert.equal(JSON.parse(await (await fetch(`${own.url}/forward-auth/x`)).text()).path, "/forward-auth/x");
      assert.ok(own.events("config.warning").some(({ detail }) => /hides the built-in path/.test(detail)));
      assert.equal((await ask(`${wide.url}/forward-auth/paid/x`)).status, 402);
      assert.equal((await ask(`${wide.url}/x`)).status, 200);
    } finally {
      await own.stop();
      await wide.stop();
    }
  });
});

describe("behind a real nginx, with the file of the guide", () => {
  let nginx, server;
  before(async () => {
    const port = await freePort();
    server = await start({ server: `trusted_proxies = ["127.0.0.1/32"]\npublic_url = "http://127.0.0.1:${port}"` });
    const site = fs
      .readFileSync(path.join(kRoot, "examples/nginx/pontage.conf"), "utf8")
      .replace("127.0.0.1:8402", new URL(server.url).host)
      .replace("127.0.0.1:9000", new URL(upstream.url).host)
      .replace("127.0.0.1:8080", `127.0.0.1:${port}`);
    nginx = await startNginx(site, port);
  });
  after(async () => {
    await nginx?.stop();
    await server?.stop();
  });

  test("the 402 reaches the client, with its header and its body", async () => {
    const { value: answer, runs } = await during({ chain, upstream }, () => fetch(`${nginx.url}/paid/a?x=1`));
    assert.equal(answer.status, 402);
    assert.match(answer.headers.get("content-type"), /^application\/json/);
    assert.match(answer.headers.get("x-request-id"), /^req_/);
    const offer = decode(answer.headers.get("payment-required"));
    assert.equal(offer.resource.url, `${nginx.url}/paid/a?x=1`);
    assert.equal(offer.accepts[0].amount, "1000");
    const body = await answer.json();
    assert.deepEqual([body.code, body.x402Version, body.accepts[0].maxAmountRequired], ["payment_required", 1, "1000"]);
    assert.equal(runs, 0);
  });

  for (const [name, wrap] of [["@x402/fetch", fetchV2], ["x402-fetch", fetchV1]]) {
    test(`the official ${name} pays a call that nginx proxies, and gets the receipt`, async () => {
      const { value: answer, gained, runs } = await during({ chain, upstream }, () => wrap("buyer")(`${nginx.url}/paid/${name}?q=%2F`));
      assert.equal(answer.status, 200, await answer.clone().text());
      assert.equal(receiptOf(answer).success, true);
      assert.equal((await answer.json()).path, `/paid/${name}?q=%2F`);
      assert.match(answer.headers.get("cache-control"), /private/);
      assert.deepEqual([gained, runs], [1000n, 1]);
      const { headers } = upstream.requests.at(-1);
      for (const field of ["payment-signature", "x-payment"]) assert.equal(headers[field], undefined);
    });
  }

  test("a paid POST: its body goes to the upstream and not to Pontage, at the price of a POST", async () => {
    const init = { method: "POST", body: "x".repeat(100_000), headers: { "content-type": "text/plain" } };
    const { value: answer, gained, runs } = await during({ chain, upstream }, () => fetchV2("buyer")(`${nginx.url}/paid/post`, init));
    assert.equal(answer.status, 200);
    assert.deepEqual([gained, runs], [2000n, 1]);
    assert.equal(upstream.requests.at(-1).body.length, 100_000);
  });

  test("HEAD is guarded and told the price", async () => {
    const { value: answer, runs } = await during({ chain, upstream }, () => fetch(`${nginx.url}/paid/a`, { method: "HEAD" }));
    assert.equal(answer.status, 402);
    assert.ok(decode(answer.headers.get("payment-required")).accepts.length > 0);
    assert.equal(runs, 0);
  });

  test("a method is judged as what it is, though nginx asks with GET", async () => {
    assert.equal((await fetch(`${nginx.url}/mixed/a`)).status, 200);
    const { v2 } = await offersOf(`${nginx.url}/mixed/a`, { method: "POST" });
    assert.equal(v2.accepts[0].amount, "3000");
    const wrong = await ask(`${nginx.url}/mixed/a`, {}, { method: "DELETE" });
    assert.deepEqual([wrong.status, wrong.headers.get("allow")], [405, "GET, HEAD, POST"]);
  });

  test("spoofed: what a client says of the original request changes nothing", async () => {
    const headers = {
      "X-Original-URI": "/free/a", "X-Original-URL": "/free/a", "X-Forwarded-Uri": "/free/a",
      "X-Original-Method": "GET", "X-Forwarded-Method": "GET", "X-Pontage-Status": "200",
    };
    const { value, runs } = await during({ chain, upstream }, async () => [
      await ask(`${nginx.url}/paid/a`, headers),
      await ask(`${nginx.url}/paid/a`, headers, { method: "POST", body: "x" }),
      await ask(`${nginx.url}/_pontage`, headers),
    ]);
    assert.deepEqual(value.map((one) => one.status), [402, 402, 404]);
    assert.equal(runs, 0);
  });

  test("what nginx and we read differently is never served free", async () => {
    const { runs } = await during({ chain, upstream }, async () => {
      for (const spelling of [
        "/paid/a/", "//paid/a", "/PAID/a", "/%70aid/a", "/free/../paid/a", "/free/%2e%2e/paid/a", "/free/..%2fpaid/a",
        "/free/..%5cpaid%5ca", "/free/..;/paid/a", "/free/..\\paid/a", "/paid;x/a", "/./paid/a", "/../paid/a", "/%",
        "http://shop.example/paid/a", "/paid/a#x", "/free/x#/../../paid/a", "/paid%00/a", "/paid/%c0%af",
        "/paid/a/../../free/a", "/paid/a/%2e%2e/%2e%2e/free/a", "/paid/a/..;/..;/free/a", "/paid/a\\..\\..\\free\\a",
        "/free/a%5Cb%2F..%2F..%2Fpaid%2Fa", "/paid%2Fa%2F..;x%2F..%2Fb",
      ]) {
        const { statuses, text } = await talk(nginx.url, request(`GET ${spelling}`, ["Connection: close"]));
        assert.equal(statuses.length, 1, spelling);
        assert.ok(statuses[0] >= 400 && statuses[0] < 500, `${spelling}: ${text.slice(0, 80)}`);
      }
    });
    assert.equal(runs, 0);
  });

  test("free passes, unknown is 404, and a used payment is told so with its receipt", async () => {
    assert.equal((await ask(`${nginx.url}/free/a`)).status, 200);
    assert.deepEqual([(await ask(`${nginx.url}/nowhere`)).status, (await ask(`${nginx.url}/nowhere`)).code], [404, "not_found"]);
    const payment = payHeader(await paymentV2(await offersOf(`${nginx.url}/paid/used`)));
    const { value, gained, runs } = await during({ chain, upstream }, async () => [
      await ask(`${nginx.url}/paid/used`, payment),
      await ask(`${nginx.url}/paid/used`, payment),
      await ask(`${nginx.url}/paid/other`, payment),
    ]);
    assert.deepEqual(value.map((one) => one.status), [200, 402, 402]);
    assert.equal(value[1].code, "payment_already_used");
    assert.equal(value[1].receipt.success, true);
    assert.equal(value[1].headers.get("payment-required"), null);
    assert.deepEqual([gained, runs], [1000n, 1]);
  });

  test("a bad payment is told what is wrong with it", async () => {
    const { status, text } = await ask(`${nginx.url}/paid/a`, { "PAYMENT-SIGNATURE": "bm90IGpzb24=" });
    assert.equal(status, 402);
    assert.deepEqual([JSON.parse(text).code, typeof JSON.parse(text).expected], ["payment_malformed", "string"]);
  });

  test("twenty different payments at once are all served", async () => {
    const { value, gained, runs } = await during({ chain, upstream }, () =>
      Promise.all(Array.from({ length: 20 }, (_, n) => fetchV2("buyer")(`${nginx.url}/paid/many/${n}`))));
    assert.ok(value.every((one) => one.status === 200 && receiptOf(one).success));
    assert.deepEqual([gained, runs], [20_000n, 20]);
  });

  test("a refusal of the upstream is its own, and not taken for one of ours", async () => {
    forbids = true;
    try {
      const answer = await ask(`${nginx.url}/free/a`);
      assert.deepEqual([answer.status, answer.text], [403, "not you"]);
    } finally {
      forbids = false;
    }
  });

  test("429 keeps its Retry-After and its limits", async () => {
    let last;
    for (let n = 0; n < 3; n += 1) last = await ask(`${nginx.url}/slow/a`);
    assert.deepEqual([last.status, last.code], [429, "rate_limited"]);
    assert.ok(Number(last.headers.get("retry-after")) > 1);
    assert.equal(last.headers.get("ratelimit-policy"), `"rate";q=2;w=3600`);
  });

  test("when Pontage is away nothing passes", async () => {
    const runs = upstream.requests.length;
    await server.kill();
    assert.equal((await ask(`${nginx.url}/free/a`)).status, 500);
    assert.equal((await ask(`${nginx.url}/paid/a`)).status, 500);
    assert.equal(upstream.requests.length, runs);
  });

  test("the guide shows this file", () => {
    const guide = fs.readFileSync(path.join(kRoot, "docs/guides/forward-auth-nginx.md"), "utf8");
    const [, shown] = /^```nginx\n([\s\S]*?)^```/m.exec(guide);
    assert.equal(shown, fs.readFileSync(path.join(kRoot, "examples/nginx/pontage.conf"), "utf8"));
  });
});
