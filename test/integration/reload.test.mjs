// The life of a running gateway: a configuration that changes under it, an orderly end, what it listens on
// and what it says of itself.
import assert from "node:assert/strict";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { books, offersOf, payHeader, payOnce, paymentV2 } from "../rig/src/pay.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { request, talk } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";

const lines = (headers) => Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// An upstream whose answers to /stream and /slow are ended by the test: `held` has their responses.
async function startHeldUpstream(name) {
  const own = { held: [] };
  const server = http.createServer((req, res) => {
    req.resume();
    if (req.url.endsWith("/stream")) {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write("data: 0\n\n");
      own.held.push(res);
    } else if (req.url.endsWith("/slow")) {
      own.held.push(res);
    } else {
      res.end(name);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  own.url = `http://127.0.0.1:${server.address().port}`;
  own.next = () => rig.until(() => own.held.shift(), { label: "the upstream is asked" });
  own.stop = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  return own;
}

let chain, one, two;
before(async () => {
  chain = await rig.up();
  one = await startHeldUpstream("one");
  two = await startHeldUpstream("two");
});
after(async () => {
  await one?.stop();
  await two?.stop();
  await chain?.stop();
});

const routes = (price, more = "") => `
[[route]]
match = "/free/*"
price = "free"
[[route]]
match = "GET /paid/*"
price = "${price}"
${more}`;
const toml = ({ upstream = one, price = "$0.001", more = "", server = "" } = {}) =>
  sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: routes(price, more), server });
const priceOf = async (server) => (await offersOf(`${server.url}/paid/x`)).v2.accepts[0].amount;
// The addresses of both main listeners; a server counts as started with its first.
const twoMains = (server) =>
  rig.until(
    () => {
      const urls = server.events("server.listening").filter((said) => said.listener === "main").map((said) => said.url);
      return urls.length === 2 ? urls : undefined;
    },
    { label: "two listeners" },
  );
const exit = (promise, ms = 10_000) => Promise.race([promise, sleep(ms).then(() => assert.fail(`it did not end within ${ms} ms`))]);

describe("a new configuration", () => {
  let server;
  before(async () => (server = await startPontage(toml())));
  after(() => server?.stop());
  const reloads = () => server.events("config.reloaded").length;
  async function change(text, { signal = true } = {}) {
    const had = reloads();
    fs.writeFileSync(server.file, text);
    if (signal) process.kill(server.pid, "SIGHUP");
    await rig.until(() => reloads() > had, { label: "reloaded" });
  }

  test("SIGHUP brings a new price, a new route and a new upstream", async () => {
    assert.equal(await priceOf(server), "1000");
    assert.equal((await fetch(`${server.url}/new`)).status, 404);
    await change(toml({ upstream: two, price: "$0.002", more: '[[route]]\nmatch = "/new"\nprice = "free"' }));
    assert.equal(await priceOf(server), "2000");
    assert.equal(await (await fetch(`${server.url}/new`)).text(), "two");
    await change(toml());
    assert.equal(await priceOf(server), "1000");
    assert.equal((await fetch(`${server.url}/new`)).status, 404);
    assert.equal(await (await fetch(`${server.url}/free/x`)).text(), "one");
  });

  test("a changed file is noticed without a signal, also one that replaces it", async () => {
    await change(toml({ price: "$0.003" }), { signal: false });
    assert.equal(await priceOf(server), "3000");
    const had = reloads();
    fs.writeFileSync(`${server.file}.new`, toml());
    fs.renameSync(`${server.file}.new`, server.file);
    await rig.until(() => reloads() > had, { label: "reloaded" });
    assert.equal(await priceOf(server), "1000");
  });

  test("a file that is still being written is not taken by its first half", async () => {
    const had = reloads();
    const refused = () => server.events("config.refused").length;
    const [whole, before] = [toml({ price: "$0.004" }), refused()];
    const at = whole.indexOf('[[route]]\nmatch = "GET /paid');
    fs.writeFileSync(server.file, whole.slice(0, at));
    for (let n = 0; n < 12; n += 1) {
      await sleep(100);
      fs.appendFileSync(server.file, `# ${n}\n`);
    }
    assert.equal(await priceOf(server), "1000", "the paid route is not gone meanwhile");
    fs.appendFileSync(server.file, whole.slice(at));
    await rig.until(() => reloads() > had, { label: "reloaded" });
    assert.equal(reloads() - had, 1);
    assert.equal(refused(), before);
    assert.equal(await priceOf(server), "4000");
    await change(toml());
  });

  test("running streams go on across it, and it does not wait for them", async () => {
    const controller = new AbortController();
    const answer = await fetch(`${server.url}/free/stream`, { signal: controller.signal });
    const reader = answer.body.getReader();
    const upstream = await one.next();
    const hear = async (wanted) => {
      let text = "";
      while (!text.includes(wanted)) {
        const { value, done } = await reader.read();
        assert.ok(!done, "the stream ended");
        text += Buffer.from(value).toString();
      }
    };
    await hear("data: 0");
    for (let n = 1; n <= 3; n += 1) {
      await change(toml({ upstream: n % 2 ? two : one, price: `$0.00${n + 1}` }));
      assert.equal(await priceOf(server), `${n + 1}000`);
      upstream.write(`data: ${n}\n\n`);
      await hear(`data: ${n}`);
    }
    upstream.end();
    assert.equal((await reader.read()).done, true);
    await change(toml());
  });

  test("under traffic everybody sees the old or the new, whole, and no error", async () => {
    const kinds = [toml(), toml({ upstream: two, price: "$0.002" })];
    let going = true;
    const seen = { names: new Set(), prices: new Set(), wrong: [] };
    const traffic = Array.from({ length: 8 }, async (_, n) => {
      while (going) {
        const path = n % 2 ? "/free/x" : "/paid/x";
        const answer = await fetch(server.url + path).catch((error) => ({ status: error.message, text: () => "" }));
        const text = await answer.text();
        if (path === "/free/x" && answer.status === 200 && ["one", "two"].includes(text)) {
          seen.names.add(text);
        } else if (path === "/paid/x" && answer.status === 402) {
          seen.prices.add(JSON.parse(text).accepts[0].maxAmountRequired);
        } else {
          seen.wrong.push(`${path} ${answer.status} ${text.slice(0, 100)}`);
        }
      }
    });
    for (let n = 1; n <= 12; n += 1) await change(kinds[n % 2]);
    going = false;
    await Promise.all(traffic);
    assert.deepEqual(seen.wrong, []);
    assert.deepEqual([...seen.names].sort(), ["one", "two"]);
    assert.deepEqual([...seen.prices].sort(), ["1000", "2000"]);
  });

  test("a broken file changes nothing and says what is wrong, with its line", async () => {
    const refusals = () => server.events("config.refused");
    const good = toml();
    const kBroken = {
      "no TOML": [good + "[[route]\n", /toml|expected|:\d+/i],
      "a price that is none": [good.replace("$0.001", "cheap"), /price.*cheap/s],
      "an unknown key": [good.replace('price = "free"', 'price = "free"\npryce = 1'), /pryce/],
      "an upstream that is not there": [good.replace('match = "/free/*"', 'match = "/free/*"\nupstream = "nobody"'), /nobody/],
      "two equal routes": [good + '[[route]]\nmatch = "/free/*"\nprice = "free"\n', /\/free\/\*/],
    };
    for (const [name, [text, why]] of Object.entries(kBroken)) {
      const had = [reloads(), refusals().length];
      fs.writeFileSync(server.file, text);
      process.kill(server.pid, "SIGHUP");
      await rig.until(() => refusals().length > had[1], { label: name });
      assert.match(refusals().at(-1).detail, why, name);
      assert.equal(reloads(), had[0], name);
      assert.equal(await priceOf(server), "1000", name);
      assert.equal(await (await fetch(`${server.url}/free/x`)).text(), "one", name);
    }
    fs.rmSync(server.file);
    await sleep(1_200);
    assert.equal(await priceOf(server), "1000", "a file that is gone changes nothing either");
    await change(good);
  });

  test("what needs a restart is named and stays", async () => {
    const had = server.events("config.needs_restart").length;
    await change(toml().replace("sqlite:pontage.db", "sqlite:other.db"));
    assert.equal(server.events("config.needs_restart").length, had + 1);
    assert.ok(!fs.existsSync(path.join(server.dir, "other.db")));
    await change(toml().replace("signer =", 'gas_cap = 400000\nconfirmations = 2\nsigner ='));
    const told = server.events("config.needs_restart");
    assert.equal(told.length, had + 2);
    assert.equal(told.at(-1).keys, "chain.*.confirmations, chain.*.gas_cap");
    await change(toml());
    assert.equal(server.events("config.needs_restart").length, had + 2, "nothing waits any more");
  });

  test("the books go on: a payment before it is used after it, a payment after it is good", async () => {
    const url = `${server.url}/paid/books`;
    const headers = payHeader(await paymentV2(await offersOf(url)));
    assert.equal((await fetch(url, { headers })).status, 200);
    const offers = await offersOf(url);
    await change(toml({ price: "$0.002" }));
    const again = await fetch(url, { headers });
    assert.equal(again.status, 402);
    assert.equal((await again.json()).code, "payment_already_used");
    const stale = await fetch(url, { headers: payHeader(await paymentV2(offers)) });
    assert.equal(stale.status, 402, "the old price buys nothing now");
    assert.equal((await payOnce(url)).status, 200);
    await change(toml());
    const rows = (await books(server)).filter((row) => row.resource === "/paid/books" && row.state === "settled");
    assert.equal(rows.length, 2);
  });
});

describe("the end", () => {
  const ask = (url) => fetch(url).then(async (answer) => ({ status: answer.status, text: await answer.text(), headers: answer.headers }));
  const refused = (url) =>
    new Promise((resolve) => {
      const socket = net.connect(Number(new URL(url).port), "127.0.0.1");
      socket.on("connect", () => resolve(socket.destroy() && false));
      socket.on("error", (error) => resolve(error.code === "ECONNREFUSED"));
    });

  test("SIGTERM lets what runs finish, on every listener; new ones are refused and it says that it is not ready", async () => {
    const server = await startPontage(toml({ server: 'drain_timeout = "20s"' }).replace('listen = "127.0.0.1:0"', 'listen = ["127.0.0.1:0", "127.0.0.1:0"]'));
    const [first, second] = await twoMains(server);
    assert.notEqual(first, second);
    assert.equal((await ask(`${server.metricsUrl}/readyz`)).status, 200);
    const idle = talk(first, request("GET /free/x"), { withinMs: 15_000 });
    const running = ask(`${first}/free/slow`);
    const answer = await one.next();
    const stopped = server.stop();
    await rig.until(() => refused(first), { label: "the first listener is closed" });
    await rig.until(() => refused(second), { label: "the second too, while the first still works" });
    assert.equal((await ask(`${server.metricsUrl}/readyz`)).status, 503);
    assert.equal((await ask(`${server.metricsUrl}/healthz`)).status, 200);
    assert.ok((await idle).closed, "idle connections are closed at once");
    answer.end("finished");
    const { status, text, headers } = await running;
    assert.deepEqual([status, text], [200, "finished"]);
    assert.equal(headers.get("connection"), "close");
    assert.deepEqual(await exit(stopped), { code: 0, signal: null });
  });

  test("paid calls that run, on all loops, are finished, charged and written down", async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-drain-"));
    const server = await startPontage(toml(), { dir });
    const url = `${server.url}/paid/slow`;
    const offers = await offersOf(url);
    const had = await rig.tokenBalance(chain.rpc, "payee");
    const running = [];
    const answers = [];
    for (let n = 0; n < 6; n += 1) {
      const headers = lines(payHeader(await paymentV2(offers)));
      running.push(talk(server.url, request("GET /paid/slow", headers), { withinMs: 15_000 }));
      answers.push(await one.next());
    }
    const stopped = server.stop();
    await rig.until(() => refused(server.url), { label: "closed" });
    for (const answer of answers) answer.end("finished");
    for (const { statuses, text } of await Promise.all(running)) {
      assert.deepEqual(statuses, [200], text);
      assert.match(text, /finished/);
    }
    assert.deepEqual(await exit(stopped), { code: 0, signal: null });
    assert.equal((await rig.tokenBalance(chain.rpc, "payee")) - had, 6000n);
    for (const row of await books(server)) assert.deepEqual([row.state, row.delivery], ["settled", "delivered"]);
    fs.rmSync(dir, { recursive: true });
  });

  test("after drain_timeout what still runs is broken off, and the exit is orderly", async () => {
    const server = await startPontage(toml({ server: 'drain_timeout = "1s"' }));
    const stream = await fetch(`${server.url}/free/stream`);
    const read = stream.text().then(() => "clean", () => "broken");
    await one.next();
    const start = Date.now();
    assert.deepEqual(await exit(server.stop()), { code: 0, signal: null });
    assert.ok(Date.now() - start > 800 && Date.now() - start < 6_000, `${Date.now() - start} ms`);
    assert.equal(await read, "broken");
  });

  for (const signal of ["SIGTERM", "SIGINT"]) {
    test(`told a second time (${signal}) it waits for nobody`, async () => {
      const server = await startPontage(toml({ server: 'drain_timeout = "10m"' }));
      const stream = await fetch(`${server.url}/free/stream`);
      const read = stream.text().then(() => "clean", () => "broken");
      await one.next();
      process.kill(server.pid, signal);
      await rig.until(() => server.events("server.draining").length, { label: "draining" });
      await sleep(200);
      process.kill(server.pid, signal);
      assert.deepEqual(await exit(server.exited), { code: 0, signal: null });
      assert.equal(await read, "broken");
      await server.stop();
    });
  }
});

describe("listeners", () => {
  async function freePort() {
    const taken = net.createServer();
    await new Promise((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address();
    await new Promise((resolve) => taken.close(resolve));
    return port;
  }

  test("PORT means every address of this machine", async () => {
    const port = await freePort();
    const server = await startPontage(toml(), { env: { PORT: `${port}` } });
    try {
      assert.ok(server.events("server.listening").some((said) => said.listener === "main" && said.address.endsWith(`:${port}`)));
      // 0.0.0.0 and this port, in the kernel's own list.
      const wanted = `00000000:${port.toString(16).toUpperCase().padStart(4, "0")}`;
      const listening = fs.readFileSync("/proc/net/tcp", "utf8").split("\n").filter((line) => / 0A /.test(line));
      assert.ok(listening.some((line) => line.includes(wanted)), wanted);
      assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
      assert.equal((await fetch(`http://127.0.0.2:${port}/healthz`)).status, 200);
    } finally {
      await server.stop();
    }
  });

  test("a taken port is said, and nothing starts", async () => {
    const taken = net.createServer();
    await new Promise((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address();
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-taken-"));
    const file = path.join(dir, "pontage.toml");
    fs.writeFileSync(file, toml().replace('listen = "127.0.0.1:0"', `listen = "127.0.0.1:${port}"`));
    const env = { PONTAGE_EVM_KEY: rig.evmKey("facilitator") };
    try {
      const { code, stderr } = await run(["serve", "--config", file], { cwd: dir, env, withinMs: 15_000 });
      assert.equal(code, 3, stderr);
      assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}.*in use`));
    } finally {
      await new Promise((resolve) => taken.close(resolve));
      fs.rmSync(dir, { recursive: true });
    }
  });

  test("health and readiness are on every listener, metrics on their own alone", async () => {
    const server = await startPontage(toml().replace('listen = "127.0.0.1:0"', 'listen = ["127.0.0.1:0", "127.0.0.1:0"]'));
    try {
      const mains = await twoMains(server);
      for (const url of [...mains, server.metricsUrl]) {
        for (const [where, word] of [["healthz", "ok\n"], ["health", "ok\n"], ["readyz", "ready\n"]]) {
          const answer = await fetch(`${url}/${where}`);
          assert.deepEqual([answer.status, await answer.text()], [200, word], `${url}/${where}`);
          assert.match(answer.headers.get("x-request-id"), /^req_/);
        }
      }
      for (const url of mains) {
        const answer = await fetch(`${url}/metrics`);
        assert.equal(answer.status, 404);
        assert.doesNotMatch(await answer.text(), /pontage_/);
        assert.equal((await fetch(`${url}/free/x`)).status, 200, "both serve the routes");
      }
      const metrics = await fetch(`${server.metricsUrl}/metrics`);
      assert.equal(metrics.status, 200);
      assert.match(await metrics.text(), /pontage_request_seconds_bucket/);
      assert.equal((await fetch(`${server.metricsUrl}/free/x`)).status, 404, "and no route is on theirs");
    } finally {
      await server.stop();
    }
  });

  test("without its chain it lives and is not ready", async () => {
    const dead = await freePort();
    const server = await startPontage(toml().replaceAll(chain.rpc, `http://127.0.0.1:${dead}`));
    try {
      assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
      const ready = await fetch(`${server.url}/readyz`);
      assert.deepEqual([ready.status, await ready.text()], [503, "not ready\n"]);
      assert.equal((await fetch(`${server.url}/free/x`)).status, 200, "what is free needs no chain");
    } finally {
      await server.stop();
    }
  });
});
