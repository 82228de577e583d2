// Upstreams spared and passed by: how many at once, who is down, who stands in, and that nobody pays for
// what cannot be done.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { ask, books, during, payHeader, sign } from "../rig/src/pay.mjs";
import { freePort } from "../rig/src/nginx.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { startRawServer } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";
import http from "node:http";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const statuses = (answers) => answers.map((one) => one.status);

let chain;
before(async () => (chain = await rig.up()));
after(() => chain?.stop());

const up = (name, url, more = "") => `[[upstream]]\nname = "${name}"\nurl = ${JSON.stringify(url)}\n${more}\n`;
const route = (match, upstream, price = "free", more = "") => `[[route]]\nmatch = "${match}"\nupstream = "${upstream}"\nprice = "${price}"\n${more}\n`;
const start = (...sections) =>
  startPontage(sellerConfig({ rpc: chain.rpc, upstream: "http://127.0.0.1:9", routes: "", server: "threads = 3", sections: sections.join("") }));
const metric = async (server, name) => {
  const text = await (await fetch(`${server.metricsUrl}/metrics`)).text();
  return Number(new RegExp(`^${name.replace(/[{}"]/g, "\\$&")} (\\S+)$`, "m").exec(text)?.[1] ?? 0);
};

describe("max_in_flight", () => {
  let upstream, server, running, most, release;
  before(async () => {
    running = most = 0;
    const waiting = [];
    upstream = await startUpstream(async (req, res) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => waiting.push(resolve));
      running -= 1;
      res.end("done");
    });
    release = () => waiting.splice(0).forEach((go) => go());
    server = await start(
      up("narrow", upstream.url, `max_in_flight = 3\nmax_waiting = 4\nwait_timeout = "400ms"`),
      up("queue", upstream.url, `max_in_flight = 2\nmax_waiting = 50\nwait_timeout = "20s"`),
      route("/narrow/*", "narrow"),
      route("/queue/*", "queue"),
      route("/paid/*", "narrow", "$0.001"),
      route("/first/*", "narrow", "$0.001", `settle = "before"`),
    );
  });
  after(async () => {
    release();
    await server?.stop();
    await upstream?.stop();
  });

  test("so many at once, so many wait their turn, the others are 503 at once and the waiting ones in time", async () => {
    most = 0;
    const begun = Date.now();
    const all = Array.from({ length: 12 }, () => ask(`${server.url}/narrow/a`).then((one) => ({ ...one, ms: Date.now() - begun })));
    await rig.until(() => running === 3, { label: "three at work" });
    const refused = (await Promise.race([Promise.all(all.map((p) => Promise.race([p, sleep(1_200).then(() => null)])))])).filter(Boolean);
    assert.deepEqual(statuses(refused), Array(9).fill(503));
    assert.ok(refused.every((one) => one.code === "upstream_busy" && Number(one.headers.get("retry-after")) >= 1));
    assert.equal(refused.filter((one) => one.ms < 350).length, 5, `${refused.map((one) => one.ms)}`);
    release();
    assert.equal(statuses(await Promise.all(all)).filter((status) => status === 200).length, 3);
    assert.equal(most, 3);
    assert.ok((await metric(server, `pontage_upstream_refused_total{code="upstream_busy",upstream="narrow"}`)) >= 9);
    assert.equal(await metric(server, `pontage_upstream_in_flight{upstream="narrow"}`), 0);
  });

  test("a line moves on, in all loops, and all are served", async () => {
    most = 0;
    const all = Array.from({ length: 20 }, (_, n) => ask(`${server.url}/queue/${n}`, { connection: "close" }));
    const pump = setInterval(release, 10);
    assert.deepEqual(statuses(await Promise.all(all)), Array(20).fill(200));
    clearInterval(pump);
    assert.equal(most, 2);
  });

  test("clients that hang up in the line leave it", async () => {
    const gone = Array.from({ length: 10 }, () => {
      const abort = new AbortController();
      const asked = fetch(`${server.url}/queue/gone`, { signal: abort.signal }).catch(() => {});
      setTimeout(() => abort.abort(), 150);
      return asked;
    });
    await Promise.all(gone);
    release();
    const pump = setInterval(release, 10);
    assert.equal((await ask(`${server.url}/queue/after`)).status, 200);
    clearInterval(pump);
    await rig.until(async () => (await metric(server, `pontage_upstream_in_flight{upstream="queue"}`)) === 0, { label: "all places given back" });
  });

  for (const path of ["/paid/a", "/first/a"]) {
    test(`a paid call that finds no place is 503 before anything is reserved, and its payment stays good: ${path}`, async () => {
      const headers = await sign(server.url + path);
      const others = Array.from({ length: 3 }, () => ask(`${server.url}/narrow/a`));
      await rig.until(() => running === 3, { label: "three at work" });
      const rows = (await books(server)).length;
      const { value, gained } = await during({ chain, upstream }, () => ask(server.url + path, headers));
      assert.deepEqual([value.status, value.code, value.receipt, gained], [503, "upstream_busy", undefined, 0n]);
      assert.equal((await books(server)).length, rows);
      release();
      await Promise.all(others);
      const pump = setInterval(release, 10);
      const again = await during({ chain, upstream }, () => ask(server.url + path, headers));
      clearInterval(pump);
      assert.deepEqual([again.value.status, again.gained, again.runs], [200, 1000n, 1]);
    });
  }

  test("a place is given back when the upstream's answer has ended, not when its payment has settled", async () => {
    const slow = await rig.up({ blockTime: 2 });
    const one = await startUpstream();
    const own = await startPontage(sellerConfig({
      rpc: slow.rpc, upstream: one.url,
      routes: route("/paid/*", "api", "$0.001") + route("/free/*", "api"),
      sections: "",
    }).replace(`url = "${one.url}"`, `url = "${one.url}"\nmax_in_flight = 1\nmax_waiting = 0`));
    try {
      const headers = await sign(`${own.url}/paid/a`);
      const paid = ask(`${own.url}/paid/a`, headers);
      await rig.until(() => one.count("/paid/a") === 1, { label: "the work" });
      await sleep(100);
      assert.equal((await ask(`${own.url}/free/a`)).status, 200);
      assert.equal((await paid).status, 200);
    } finally {
      await own.stop();
      await one.stop();
      await slow.stop();
    }
  });
});

describe("an upstream that is down", () => {
  test("after some connects that fail it is 503 upstream_down before anything is reserved, and used again within a second of its return", async () => {
    const port = await freePort();
    const server = await start(
      up("api2", `http://127.0.0.1:${port}`, "max_connect_failures = 3"),
      route("/free/*", "api2"), route("/paid/*", "api2", "$0.001"), route("/first/*", "api2", "$0.001", `settle = "before"`),
    );
    let upstream;
    try {
      const first = [];
      for (let n = 0; n < 5; n += 1) first.push(await ask(`${server.url}/free/a`));
      assert.deepEqual(first.map((one) => one.code), [...Array(3).fill("upstream_unreachable"), ...Array(2).fill("upstream_down")]);
      assert.deepEqual([first[4].status, first[4].headers.get("retry-after")], [503, "1"]);
      const kept = {};
      for (const path of ["/paid/a", "/first/a"]) {
        kept[path] = await sign(server.url + path);
        const had = await rig.tokenBalance(chain.rpc, "payee");
        const { status, code } = await ask(server.url + path, kept[path]);
        assert.deepEqual([status, code], [503, "upstream_down"], path);
        assert.equal(await rig.tokenBalance(chain.rpc, "payee"), had);
      }
      // Also by the request that finds out whether it is back: it connects before it pays.
      await sleep(600);
      const trial = await ask(`${server.url}/first/a`, kept["/first/a"]);
      assert.deepEqual([trial.status, trial.code], [503, "upstream_down"]);
      assert.deepEqual(await books(server), []);
      assert.equal(await metric(server, `pontage_upstream_down{address="127.0.0.1:${port}",upstream="api2"}`), 1);

      upstream = http.createServer((req, res) => res.end("back")).listen(port, "127.0.0.1");
      const back = Date.now();
      await rig.until(async () => (await ask(`${server.url}/free/a`)).status === 200, { label: "used again" });
      assert.ok(Date.now() - back < 1_000, `${Date.now() - back} ms`);
      for (const path of ["/paid/a", "/first/a"]) assert.equal((await ask(server.url + path, kept[path])).status, 200, path);
      assert.deepEqual([server.events("upstream.down").length, server.events("upstream.up").length], [1, 1]);
      assert.equal(await metric(server, `pontage_upstream_down{address="127.0.0.1:${port}",upstream="api2"}`), 0);
    } finally {
      await server.stop();
      upstream?.closeAllConnections();
      upstream?.close();
    }
  });

  test("answers of 500 and above in a row, where max_errors says so; one good answer and it counts anew", async () => {
    let status = 500;
    const upstream = await startUpstream((req, res) => {
      res.statusCode = status;
      res.end();
    });
    const server = await start(up("api2", upstream.url, `max_errors = 3\ndown_for = "300ms"`), route("/e/*", "api2"), up("api3", upstream.url), route("/n/*", "api3"), route("/p/*", "api2", "$0.001"));
    try {
      const say = async (next) => {
        status = next;
        return (await ask(`${server.url}/e/a`)).status;
      };
      assert.deepEqual([await say(500), await say(502), await say(404), await say(500), await say(500), await say(503)], [500, 502, 404, 500, 500, 503]);
      assert.equal((await ask(`${server.url}/e/a`)).code, "upstream_down");
      const headers = await sign(`${server.url}/p/a`);
      assert.equal((await ask(`${server.url}/p/a`, headers)).code, "upstream_down");
      await sleep(350);
      // One request finds out, the others do not wait for it.
      const runs = upstream.requests.length;
      const all = await Promise.all(Array.from({ length: 10 }, () => ask(`${server.url}/e/a`)));
      assert.equal(upstream.requests.length - runs, 1, `${statuses(all)}`);
      await sleep(350);
      assert.equal(await say(200), 200);
      assert.equal(await say(500), 500);
      assert.equal((await ask(`${server.url}/p/a`, headers)).status, 500);
      for (let n = 0; n < 10; n += 1) assert.equal((await ask(`${server.url}/n/a`)).status, 500, "off by default");
    } finally {
      await server.stop();
      await upstream.stop();
    }
  });
});

describe("several URLs of one upstream", () => {
  let dead, second, server;
  before(async () => {
    dead = `http://127.0.0.1:${await freePort()}`;
    second = await startUpstream();
    server = await start(up("pair", [dead, second.url], "max_connect_failures = 2"), route("/free/*", "pair"), route("/paid/*", "pair", "$0.001"));
  });
  after(async () => {
    await server?.stop();
    await second?.stop();
  });

  test("a connect that fails goes on to the next one: free, with a body, and paid, which runs once", async () => {
    assert.equal((await ask(`${server.url}/free/a`)).status, 200);
    const posted = await ask(`${server.url}/free/a`, {}, { method: "POST", body: "all of it" });
    assert.equal(posted.status, 200);
    assert.equal(second.requests.at(-1).body.toString(), "all of it");
    const headers = await sign(`${server.url}/paid/a`);
    const { value, gained, runs } = await during({ chain, upstream: second }, () => ask(`${server.url}/paid/a`, headers));
    assert.deepEqual([value.status, gained, runs], [200, 1000n, 1]);
    assert.ok((await metric(server, `pontage_upstream_retries_total{upstream="pair"}`)) >= 2);
    assert.equal(server.events("upstream.down").length, 1, "and the first one is left alone then");
  });

  test("the first one is asked again once it is back", async () => {
    const { port } = new URL(dead);
    const first = http.createServer((req, res) => res.end("first")).listen(Number(port), "127.0.0.1");
    try {
      await rig.until(async () => (await ask(`${server.url}/free/a`)).text === "first", { label: "the first one" });
    } finally {
      first.closeAllConnections();
      await new Promise((resolve) => first.close(resolve));
    }
  });

  test("with all of them gone it is an error, and a payment is not charged", async () => {
    const none = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`];
    const own = await start(up("gone", none), route("/paid/*", "gone", "$0.001"));
    try {
      const headers = await sign(`${own.url}/paid/a`);
      const had = await rig.tokenBalance(chain.rpc, "payee");
      assert.deepEqual([(await ask(`${own.url}/paid/a`, headers)).status], [502]);
      assert.equal(await rig.tokenBalance(chain.rpc, "payee"), had);
      assert.equal((await books(own))[0].state, "voided");
    } finally {
      await own.stop();
    }
  });
});

describe("retries", () => {
  let raw, server;
  before(async () => {
    raw = await startRawServer();
    server = await start(up("raw", raw.url), route("/free/*", "raw"), route("/paid/*", "raw", "$0.001"));
  });
  after(async () => {
    await server?.stop();
    await raw?.stop();
  });
  const good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  // The first `times` requests are read and their connection dies.
  const dies = (times) => {
    raw.heads.length = 0;
    raw.onRequest = (socket) => (raw.heads.length <= times ? socket.destroy() : socket.write(good));
  };

  test("an unpaid GET or HEAD whose connection dies is sent once more, and not twice", async () => {
    for (const method of ["GET", "HEAD"]) {
      dies(1);
      assert.equal((await ask(`${server.url}/free/a`, {}, { method })).status, 200, method);
      assert.equal(raw.heads.length, 2);
    }
    dies(9);
    assert.equal((await ask(`${server.url}/free/a`)).status, 502);
    assert.equal(raw.heads.length, 2);
  });

  test("any other method is not sent again: it may have been done", async () => {
    for (const [method, body] of [["POST", "x"], ["POST", undefined], ["DELETE", undefined], ["PUT", "x"]]) {
      dies(1);
      assert.equal((await ask(`${server.url}/free/a`, {}, { method, body })).status, 502, method);
      assert.equal(raw.heads.length, 1, method);
    }
  });

  // Every request over a connection that was used before is read, and the connection reset.
  const resetsPooled = () => {
    raw.heads.length = 0;
    raw.onRequest = (socket, head, nth) => (nth === 1 ? socket.write(good) : socket.resetAndDestroy());
  };

  test("a pooled connection that is reset after the request was read: once more for nothing, never for a payment", async () => {
    for (const method of ["GET", "HEAD"]) {
      resetsPooled();
      // So that there are several in each pool.
      await Promise.all(Array.from({ length: 12 }, (_, n) => ask(`${server.url}/free/${n}`)));
      for (let n = 0; n < 6; n += 1) {
        const unpaid = await ask(`${server.url}/free/once-more-${method}-${n}`, {}, { method });
        assert.equal(unpaid.status, 200, `${method} ${n}`);
        assert.ok(raw.heads.filter((head) => head.includes(`/free/once-more-${method}-${n} `)).length <= 2);
        const path = `/paid/never-${method}-${n}`;
        const headers = await sign(server.url + path);
        await fetch(server.url + path, { method, headers });
        assert.equal(raw.heads.filter((head) => head.includes(`${path} `)).length, 1, `${method} ${n}`);
      }
    }
  });

  test("a paid run is never sent again, GET or not; it is not charged", async () => {
    dies(1);
    const headers = await sign(`${server.url}/paid/a`);
    const had = await rig.tokenBalance(chain.rpc, "payee");
    assert.equal((await ask(`${server.url}/paid/a`, headers)).status, 502);
    assert.equal(raw.heads.length, 1);
    assert.equal(await rig.tokenBalance(chain.rpc, "payee"), had);
  });
});
