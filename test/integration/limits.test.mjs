// `rate` and `free` of a route: who is counted as one client, what a refusal says, and that nobody pays
// for one.
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before, describe, test } from "node:test";
import { ask, books, during, offersOf, payHeader, paymentV2, sign } from "../rig/src/pay.mjs";
import { fetchV2, receiptOf } from "../rig/src/peers.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoutes = `
[[route]]
match = "/limited/*"
upstream = "api"
price = "free"
rate = "3/h"
[[route]]
match = "/quick/*"
upstream = "api"
price = "free"
rate = "2/s"
[[route]]
match = "/paid/*"
upstream = "api"
price = "$0.001"
rate = "5/h"
[[route]]
match = "/trial/*"
upstream = "api"
price = "$0.001"
free = "2/day"
[[route]]
match = "/both/*"
upstream = "api"
price = "$0.001"
free = "1/day"
rate = "3/h"
[[route]]
match = "/pace/*"
upstream = "api"
price = "$0.001"
free = "3/day"
rate = "1/s"
[[route]]
match = "/race/*"
upstream = "api"
price = "free"
rate = "20/h"
[[route]]
match = "/open/*"
upstream = "api"
price = "free"
`;

let chain, upstream, server;
const config = (routes = kRoutes) =>
  sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes, server: `threads = 3\ntrusted_proxies = ["127.0.0.0/8"]` });
before(async () => {
  chain = await rig.up();
  upstream = await startUpstream((req, res) => {
    res.setHeader("cache-control", "public, max-age=600");
    res.end("goods");
  });
  server = await startPontage(config());
});
after(async () => {
  await server?.stop();
  await upstream?.stop();
  await chain?.stop();
});
const from = (address, where, headers = {}) => ask(server.url + where, { "x-forwarded-for": address, ...headers });
const statuses = (answers) => answers.map((one) => one.status);

describe("rate", () => {
  test("so many at once, then 429 with Retry-After, the limits, and no word to the upstream", async () => {
    const { value, runs } = await during({ chain, upstream }, async () => {
      const all = [];
      for (let n = 0; n < 5; n += 1) all.push(await from("198.51.100.1", "/limited/a"));
      return all;
    });
    assert.deepEqual(statuses(value), [200, 200, 200, 429, 429]);
    assert.deepEqual(value.map((one) => one.headers.get("ratelimit-policy")), Array(5).fill(`"rate";q=3;w=3600`));
    assert.deepEqual(value.slice(0, 4).map((one) => /r=(\d+)/.exec(one.headers.get("ratelimit"))[1]), ["2", "1", "0", "0"]);
    assert.match(value[3].headers.get("ratelimit"), /^"rate";r=0;t=(3600|359\d)$/);
    const problem = JSON.parse(value[3].text);
    assert.deepEqual([value[3].type, problem.code, problem.status, problem.expected], ["application/problem+json", "rate_limited", 429, "3 requests in 3600 s"]);
    assert.ok(Math.abs(Number(value[3].headers.get("retry-after")) - 1200) <= 2);
    assert.equal(runs, 3);
  });

  test("every client has his own, an IPv6 /64 is one client, and one loop counts what another has seen", async () => {
    assert.equal((await from("198.51.100.2", "/limited/a")).status, 200);
    const one = ["2001:db8:1:1::1", "2001:db8:1:1::2", "2001:db8:1:1:ffff::", "2001:db8:1:1::3"];
    assert.deepEqual(statuses(await Promise.all(one.map((address) => from(address, "/limited/a")))).sort(), [200, 200, 200, 429]);
    assert.equal((await from("2001:db8:1:2::1", "/limited/a")).status, 200);
    assert.deepEqual(statuses(await Promise.all(["::ffff:198.51.100.3", "198.51.100.3", "198.51.100.3", "198.51.100.3"].map((a) => from(a, "/limited/a")))).sort(), [200, 200, 200, 429]);
  });

  test("twenty of a hundred at once on all loops, exactly", async () => {
    const all = await Promise.all(Array.from({ length: 100 }, () => from("198.51.100.4", "/race/a", { connection: "close" })));
    assert.equal(statuses(all).filter((status) => status === 200).length, 20);
  });

  test("what was used comes back with time", async () => {
    for (const want of [200, 200, 429]) assert.equal((await from("198.51.100.5", "/quick/a")).status, want);
    await new Promise((resolve) => setTimeout(resolve, 600));
    assert.equal((await from("198.51.100.5", "/quick/a")).status, 200);
  });

  test("a stranger's word about himself gives him no second limit", async () => {
    const strict = await startPontage(config().replace(/trusted_proxies = .*/, ""));
    try {
      const all = [];
      for (let n = 0; n < 4; n += 1) all.push(await ask(`${strict.url}/limited/a`, { "x-forwarded-for": `198.51.100.${n}`, "x-real-ip": `198.51.100.${n}` }));
      assert.deepEqual(statuses(all), [200, 200, 200, 429]);
    } finally {
      await strict.stop();
    }
  });

  test("a paid call is limited before its payment is reserved: nothing is charged for a 429, and the payment is good later", async () => {
    const headers = await sign(`${server.url}/paid/x`);
    for (let n = 0; n < 4; n += 1) assert.equal((await ask(`${server.url}/paid/x`)).status, 402);
    const rows = (await books(server)).length;
    const { value, gained, runs } = await during({ chain, upstream }, () => ask(`${server.url}/paid/x`, headers));
    assert.deepEqual([value.status, value.code, gained, runs], [429, "rate_limited", 0n, 0]);
    assert.equal((await books(server)).length, rows);
    const later = await during({ chain, upstream }, () => from("198.51.100.9", "/paid/x", headers));
    assert.deepEqual([later.value.status, later.gained, later.runs], [200, 1000n, 1]);
  });

  test("without rate and free nothing is limited and nothing is said", async () => {
    const all = await Promise.all(Array.from({ length: 50 }, () => from("198.51.100.6", "/open/a")));
    assert.ok(all.every((one) => one.status === 200 && !one.headers.has("ratelimit") && !one.headers.has("ratelimit-policy")));
  });

  test("/metrics counts what was refused", async () => {
    const text = await (await fetch(`${server.metricsUrl}/metrics`)).text();
    assert.equal(/pontage_free_calls_total\{route="\/trial\/\*"\} (\d+)/.exec(text), null, "none yet");
    assert.match(text, /pontage_rate_limited_total\{route="\/limited\/\*"\} [1-9]/);
  });
});

describe("free", () => {
  test("so many calls are asked for nothing, the next one is told the price, and paid ones go on", async () => {
    const { value, gained, runs } = await during({ chain, upstream }, async () => {
      const all = [];
      for (let n = 0; n < 3; n += 1) all.push(await from("203.0.113.1", "/trial/a"));
      return all;
    });
    assert.deepEqual(statuses(value), [200, 200, 402]);
    assert.deepEqual(value.map((one) => /r=(\d+);t=(\d+)/.exec(one.headers.get("ratelimit"))[1]), ["1", "0", "0"]);
    assert.equal(value[2].headers.get("ratelimit-policy"), `"free";q=2;w=86400`);
    assert.ok(value[2].headers.has("payment-required"));
    assert.deepEqual([gained, runs], [0n, 2]);
    const paid = await during({ chain, upstream }, () => fetchV2("buyer")(`${server.url}/trial/a`, { headers: { "x-forwarded-for": "203.0.113.1" } }));
    assert.equal(paid.value.status, 200);
    assert.equal(receiptOf(paid.value).success, true);
    assert.deepEqual([paid.gained, paid.runs], [1000n, 1]);
    const metrics = await (await fetch(`${server.metricsUrl}/metrics`)).text();
    assert.match(metrics, /pontage_free_calls_total\{route="\/trial\/\*"\} 2\n/);
  });

  test("a call that is free for one client is kept by no shared cache", async () => {
    const { status, headers } = await from("203.0.113.2", "/trial/a");
    assert.equal(status, 200);
    assert.equal(headers.get("cache-control"), "private, max-age=600");
    assert.equal((await from("203.0.113.2", "/open/a")).headers.get("cache-control"), "public, max-age=600");
  });

  test("while calls are free a payment is left unused", async () => {
    const offers = await offersOf(`${server.url}/paid/y`, { headers: { "x-forwarded-for": "203.0.113.30" } });
    offers.v2.resource.url = offers.v2.resource.url.replace("/paid/y", "/trial/a");
    const payment = payHeader(await paymentV2(offers));
    const { value, gained } = await during({ chain, upstream }, () => from("203.0.113.3", "/trial/a", payment));
    assert.deepEqual([value.status, value.receipt, gained], [200, undefined, 0n]);
  });

  test("a call that rate refuses costs no free one", async () => {
    const free = ({ headers }) => /"free";r=(\d+)/.exec(headers.get("ratelimit"))?.[1];
    const first = await from("203.0.113.6", "/pace/a");
    const second = await from("203.0.113.6", "/pace/a");
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const third = await from("203.0.113.6", "/pace/a");
    assert.deepEqual(statuses([first, second, third]), [200, 429, 200]);
    assert.deepEqual([free(first), free(second), free(third)], ["2", undefined, "1"]);
  });

  test("rate and free together: both are told", async () => {
    const answers = [];
    for (let n = 0; n < 4; n += 1) answers.push(await from("203.0.113.4", "/both/a"));
    assert.deepEqual(statuses(answers), [200, 402, 402, 429]);
    assert.equal(answers[0].headers.get("ratelimit-policy"), `"rate";q=3;w=3600, "free";q=1;w=86400`);
    assert.match(answers[0].headers.get("ratelimit"), /^"rate";r=2;t=\d+, "free";r=0;t=86400$/);
  });
});

test("a reload keeps the counts, and a larger allowance counts what was used", async () => {
  for (const want of [200, 200, 200, 429]) assert.equal((await from("203.0.113.5", "/limited/r")).status, want);
  for (const want of [200, 200, 402]) assert.equal((await from("203.0.113.5", "/trial/r")).status, want);
  const reloads = server.events("config.reloaded").length;
  fs.writeFileSync(server.file, config(kRoutes.replace("3/h", "6/h").replace("2/day", "3/day")).replaceAll(`"sqlite:pontage.db"`, `"sqlite:pontage.db"`));
  await rig.until(() => server.events("config.reloaded").length > reloads, { label: "the reload" });
  assert.equal((await from("203.0.113.5", "/limited/r")).status, 200);
  for (const want of [200, 402]) assert.equal((await from("203.0.113.5", "/trial/r")).status, want);
});

test("what is no allowance is named with its line", async () => {
  const dir = fs.mkdtempSync("/tmp/ptg-limits-");
  try {
    fs.writeFileSync(`${dir}/pontage.toml`, config(kRoutes.replace("3/h", "3 per hour").replace("2/day", "0/day")));
    const { code, stdout, stderr } = await run(["config", "check"], { cwd: dir, env: { PONTAGE_EVM_KEY: `0x${"11".repeat(32)}` } });
    assert.notEqual(code, 0);
    assert.match(stdout + stderr, /:\d+: route\.rate: found "3 per hour", expected a number and a period/);
    assert.match(stdout + stderr, /:\d+: route\.free: found "0\/day", expected a number and a period/);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});
