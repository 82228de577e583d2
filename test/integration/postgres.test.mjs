// The books in PostgreSQL: one gateway, several on one database, a node that dies, a database that dies.
// The server is a real one; each test has a database of its own.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { ask, books, offersOf, payHeader, paymentV1, sign } from "../rig/src/pay.mjs";
import { fetchV1, fetchV2, receiptOf } from "../rig/src/peers.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { createDatabase, databaseUrl, serverUrl, startPostgres } from "../rig/src/postgres.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoutes = '[[route]]\nmatch = "GET /paid/*"\nprice = "$0.001"\n';
const kTables = ["node", "outbox", "outgoing_transaction", "pending_settlement", "reservation"];
const kVersion = fs.readdirSync(path.resolve(import.meta.dirname, "../../migrations")).length;
const kClosed = ["settled", "expired", "voided"];

let chain;
before(async () => {
  serverUrl(); // Without one this file fails.
  chain = await rig.up();
});
after(() => chain?.stop());

const balance = () => rig.tokenBalance(chain.rpc, "payee");

// Things of one test, ended in the order opposite to their making.
function Things(t) {
  const ends = [];
  t.after(async () => {
    const failed = [];
    for (const end of ends.reverse()) await Promise.resolve().then(end).catch((error) => failed.push(error));
    assert.deepEqual(failed, []);
  });
  const things = {
    ends,
    database: async (options) => {
      const made = await createDatabase(options);
      ends.push(made.drop);
      return made;
    },
    folder: () => {
      const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-pg-test-"));
      ends.push(() => fs.rmSync(dir, { recursive: true, force: true }));
      return dir;
    },
    upstream: async (handler) => {
      const made = await startUpstream(handler);
      ends.push(made.stop);
      return made;
    },
    config: (store, upstream, more) => sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, store, ...more }),
    pontage: async (toml, options) => {
      const made = await startPontage(toml, options);
      ends.push(made.stop);
      return made;
    },
    // `count` gateways on one database, started at the same time.
    nodes: (count, store, upstream) =>
      Promise.all(Array.from({ length: count }, () => things.pontage(things.config(store, upstream)))),
  };
  return things;
}

const rowOf = async (server, resource) => (await books(server, "--limit", "1000")).find((row) => row.resource === resource);
const command = (server, ...args) => run([...args, "--config", server.file], { cwd: server.dir, env: { PONTAGE_EVM_KEY: rig.evmKey("facilitator") } });

describe("store.url", () => {
  for (const scheme of ["postgresql", "postgres"]) {
    test(`${scheme}:// is brought up to date at the start, and official clients buy`, async (t) => {
      const it = Things(t);
      const database = await it.database();
      const upstream = await it.upstream();
      const server = await it.pontage(it.config(database.url.replace("postgresql:", `${scheme}:`), upstream));
      assert.deepEqual(server.events("store.migrated").map((e) => [e.engine, e.from]), [["postgresql", 0]]);
      const had = await balance();
      for (const [version, pay] of [[2, fetchV2("buyer")], [1, fetchV1("buyer")]]) {
        const answer = await pay(`${server.url}/paid/${version}`);
        assert.equal(answer.status, 200, await answer.text());
        assert.equal(receiptOf(answer).success, true);
        const row = await rig.until(async () => {
          const now = await rowOf(server, `/paid/${version}`);
          return now?.delivery === "delivered" ? now : undefined;
        });
        assert.equal(row.state, "settled");
        assert.equal(row.transaction, receiptOf(answer).transaction);
        assert.equal(row.x402Version, version);
      }
      assert.equal((await balance()) - had, 2000n);
      assert.equal(await database.count("reservation WHERE state = 'settled'"), 2);
      assert.ok(!fs.existsSync(path.join(server.dir, "pontage.db")));
    });
  }

  test("DATABASE_URL goes before it", async (t) => {
    const it = Things(t);
    const database = await it.database();
    const upstream = await it.upstream();
    const server = await it.pontage(it.config("sqlite:never.db", upstream), { env: { DATABASE_URL: database.url } });
    assert.equal((await ask(`${server.url}/paid/x`, await sign(`${server.url}/paid/x`))).status, 200);
    assert.equal(await database.count("reservation"), 1);
    assert.ok(!fs.existsSync(path.join(server.dir, "never.db")));
    const printed = await run(["config", "print", "--config", server.file], { cwd: server.dir, env: { DATABASE_URL: database.url } });
    assert.match(printed.stdout, /url = "postgresql:/);
  });

  test("three processes started at once on an empty database come up, and it is made once", async (t) => {
    const it = Things(t);
    const database = await it.database();
    const upstream = await it.upstream();
    const nodes = await it.nodes(3, database.url, upstream);
    assert.equal(nodes.flatMap((node) => node.events("store.migrated")).length, 1, "one of them made it");
    const versions = await database.rows("SELECT version FROM schema_migration ORDER BY version");
    assert.deepEqual(versions, Array.from({ length: kVersion }, (_, i) => [`${i + 1}`]));
    for (const [k, node] of nodes.entries()) {
      assert.equal((await ask(`${node.url}/paid/${k}`, await sign(`${node.url}/paid/${k}`))).status, 200);
    }
  });

  test("`pontage migrate` makes the tables, and serve finds them", async (t) => {
    const it = Things(t);
    const database = await it.database();
    const upstream = await it.upstream();
    const dir = it.folder();
    const file = path.join(dir, "pontage.toml");
    fs.writeFileSync(file, it.config(database.url, upstream));
    const migrate = () => run(["migrate", "--config", file], { cwd: dir });
    const both = await Promise.all([migrate(), migrate()]);
    assert.deepEqual(both.map((done) => done.code), [0, 0], both.map((done) => done.stderr).join());
    assert.deepEqual(both.map((done) => JSON.parse(done.stdout).from).sort((a, b) => a - b), [0, kVersion]);
    for (const table of kTables) await database.count(table);
    const server = await it.pontage(it.config(database.url, upstream));
    assert.equal(server.events("store.migrated").length, 0);
    const again = JSON.parse((await migrate()).stdout);
    assert.deepEqual([again.from, again.to], [kVersion, kVersion]);
  });

  test("a database of a newer Pontage is refused", async (t) => {
    const it = Things(t);
    const database = await it.database();
    const upstream = await it.upstream();
    const server = await it.pontage(it.config(database.url, upstream));
    await server.stop();
    await database.rows("INSERT INTO schema_migration VALUES (99, 'of tomorrow', 0, 'x')");
    await assert.rejects(it.pontage(it.config(database.url, upstream)), /newer than this program: it has migration 99/);
  });

  test("a password in the URL is shown nowhere", async (t) => {
    const it = Things(t);
    const password = "sesame-0a1b2c";
    const database = await it.database({ password });
    const upstream = await it.upstream();
    const server = await it.pontage(it.config(database.url, upstream, { server: 'log_level = "debug"' }));
    assert.equal((await ask(`${server.url}/paid/x`, await sign(`${server.url}/paid/x`))).status, 200);
    const said = [...server.lines];
    for (const args of [["config", "print"], ["config", "check"], ["payments"], ["doctor"], ["migrate"]]) {
      const done = await command(server, ...args);
      assert.equal(done.code, 0, `${args}: ${done.stderr}`);
      said.push(done.stdout, done.stderr);
    }
    const print = await command(server, "config", "print");
    assert.match(print.stdout, /url = "postgresql:\/\/postgres:\S*@/);
    // Nor when something is wrong with it.
    const dead = database.url.replace(/host=[^&]*/, "host=/nonexistent");
    const bad = database.url.replace("?", "?nonsense=1&");
    for (const url of [dead, bad]) {
      await assert.rejects(it.pontage(it.config(url, upstream)), (error) => Boolean(said.push(error.message)));
      const file = path.join(server.dir, "other.toml");
      fs.writeFileSync(file, it.config(url, upstream));
      for (const args of [["payments"], ["doctor"], ["migrate"]]) {
        const done = await run([...args, "--config", file], { cwd: server.dir, env: { PONTAGE_EVM_KEY: rig.evmKey("facilitator") } });
        assert.notEqual(done.code, 0);
        said.push(done.stdout, done.stderr);
      }
      const copy = await run(["migrate", "--from", url, "--to", database.url], { cwd: server.dir });
      assert.notEqual(copy.code, 0);
      said.push(copy.stdout, copy.stderr);
    }
    const metrics = await (await fetch(`${server.metricsUrl}/metrics`)).text();
    assert.ok(![...said, metrics].join("\n").includes(password));
  });

  test("without libpq only those who ask for PostgreSQL hear of it", async (t) => {
    const it = Things(t);
    const upstream = await it.upstream();
    const database = await it.database();
    // The loader takes this for the library and finds that it is none.
    const dir = it.folder();
    fs.writeFileSync(path.join(dir, "libpq.so.5"), "no library");
    const env = { LD_LIBRARY_PATH: dir };
    const server = await it.pontage(it.config("sqlite:pontage.db", upstream), { env });
    assert.equal((await fetch(`${server.url}/paid/x`)).status, 402);
    await assert.rejects(it.pontage(it.config(database.url, upstream), { env }), /libpq\.so\.5 is not installed.*apt-get install libpq5/);
  });

  test("a database that is not there stops the start with its reason", async (t) => {
    const it = Things(t);
    const upstream = await it.upstream();
    const none = databaseUrl(serverUrl(), "ptg_never_made");
    await assert.rejects(it.pontage(it.config(none, upstream)), /cannot connect to PostgreSQL: .*"ptg_never_made" does not exist/);
  });
});

describe("two gateways on one PostgreSQL", () => {
  let database, upstream, nodes;
  before(async () => {
    database = await createDatabase();
    upstream = await startUpstream();
    const toml = sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, store: database.url });
    nodes = await Promise.all([startPontage(toml), startPontage(toml)]);
  });
  after(async () => {
    for (const node of nodes ?? []) await node.stop();
    await upstream?.stop();
    await database?.drop();
  });

  test("the same payment 25 and 25 times at once runs once and is settled once", async () => {
    const [a, b] = nodes.map((node) => `${node.url}/paid/same`);
    // Named for neither: version 1 has no resource in its payment.
    const headers = await sign(a, paymentV1);
    const had = await balance();
    const answers = await Promise.all(Array.from({ length: 50 }, (_, k) => ask(k % 2 ? a : b, headers)));
    const served = answers.filter((answer) => answer.status === 200);
    assert.equal(served.length, 1, JSON.stringify(answers.map((answer) => answer.status)));
    assert.equal(upstream.count("/paid/same"), 1);
    assert.equal((await balance()) - had, 1000n);
    for (const answer of answers) {
      if (answer.status === 200) continue;
      assert.ok([402, 409].includes(answer.status), `${answer.status} ${answer.text}`);
      assert.ok(["payment_already_used", "payment_in_flight"].includes(answer.code), answer.code);
      assert.equal(answer.headers.get("payment-required"), null, "nobody is asked to sign again");
    }
    assert.equal(await database.count("reservation WHERE resource = '/paid/same'"), 1);
    assert.equal(await database.count("outgoing_transaction WHERE state <> 'mined'"), 0);
  });

  test("20 different payments over both are all served", async () => {
    const had = await balance();
    const payments = await Promise.all(
      Array.from({ length: 20 }, async (_, k) => {
        const url = `${nodes[k % 2].url}/paid/many-${k}`;
        return { url, headers: await sign(url) };
      }),
    );
    const answers = await Promise.all(payments.map(({ url, headers }) => ask(url, headers)));
    assert.deepEqual(answers.map((answer) => answer.status), Array(20).fill(200), answers.find((a) => a.status !== 200)?.text);
    await rig.eachHasItsTransfer(chain.rpc, answers.map((answer) => answer.receipt.transaction));
    assert.equal((await balance()) - had, 20_000n);
  });

  test("a payment used at one is used at the other", async () => {
    const [a, b] = nodes.map((node) => `${node.url}/paid/elsewhere`);
    const headers = await sign(a, paymentV1);
    const first = await ask(a, headers);
    assert.equal(first.status, 200);
    await rig.until(async () => (await rowOf(nodes[0], "/paid/elsewhere")).delivery === "delivered");
    const second = await ask(b, headers);
    assert.equal(second.status, 402);
    assert.equal(second.code, "payment_already_used");
    assert.equal(second.receipt.transaction, first.receipt.transaction);
    assert.equal(second.headers.get("payment-required"), null);
    assert.equal(upstream.count("/paid/elsewhere"), 1);
    const other = await ask(`${nodes[1].url}/paid/another`, headers);
    assert.equal(other.status, 402);
    assert.equal(upstream.count("/paid/another"), 0);
  });
});

test("what a killed node had begun is finished by the other one", { timeout: 120_000 }, async (t) => {
  const it = Things(t);
  const database = await it.database();
  const held = new Promise((resolve) => it.ends.push(resolve));
  const upstream = await it.upstream(async (req, res) => {
    if (req.url === "/paid/working") await held;
    res.setHeader("content-type", "application/json").end(JSON.stringify({ key: req.headers["idempotency-key"] }));
  });
  const [a, b] = await it.nodes(2, database.url, upstream);
  const had = await balance();
  const working = await sign(`${a.url}/paid/working`, paymentV1);
  const settling = await sign(`${a.url}/paid/settling`, paymentV1);
  // No block comes, so settling waits for its receipt.
  await rig.rpcCall(chain.rpc, "evm_setAutomine", false);
  const lost = Promise.all([
    fetch(`${a.url}/paid/working`, { headers: working }).catch((error) => error),
    fetch(`${a.url}/paid/settling`, { headers: settling }).catch((error) => error),
  ]);
  await rig.until(() => upstream.count("/paid/working") === 1);
  await rig.until(async () => (await rowOf(b, "/paid/settling"))?.stage === "answered");
  await rig.until(async () => (await database.count("outgoing_transaction WHERE state = 'broadcast'")) === 1);
  await a.kill();
  const killed = Date.now();
  for (const one of await lost) assert.ok(one instanceof Error);
  const key = upstream.requests.find((request) => request.url === "/paid/settling").headers["idempotency-key"];
  const busy = await ask(`${b.url}/paid/settling`, settling);
  assert.ok([409, 503].includes(busy.status), `${busy.status} ${busy.text}`);
  await rig.rpcCall(chain.rpc, "evm_setAutomine", true);
  await rig.rpcCall(chain.rpc, "anvil_mine", "0x1");

  const closed = (resource) =>
    rig.until(
      async () => {
        const row = await rowOf(b, resource);
        return kClosed.includes(row.state) ? row : undefined;
      },
      { withinMs: 60_000, everyMs: 250, label: `closed: ${resource}` },
    );
  assert.equal((await closed("/paid/working")).state, "expired", "nobody was served, nobody pays");
  const row = await closed("/paid/settling");
  // It beat every 5 s and is dead after 20: what is taken earlier was taken from a living node.
  assert.ok(Date.now() - killed > 12_000, `taken over after ${Date.now() - killed} ms`);
  assert.deepEqual([row.state, row.delivery], ["settled", "owed"]);
  assert.equal((await balance()) - had, 1000n, "charged once");
  const lapsed = await ask(`${b.url}/paid/working`, working);
  assert.deepEqual([lapsed.status, lapsed.code], [402, "payment_lapsed"]);

  const answers = await Promise.all(Array.from({ length: 10 }, () => ask(`${b.url}/paid/settling`, settling)));
  const served = answers.filter((answer) => answer.status === 200);
  assert.equal(served.length, 1, JSON.stringify(answers.map((answer) => [answer.status, answer.code])));
  assert.equal(JSON.parse(served[0].text).key, key, "the same idempotency key");
  assert.equal(served[0].receipt.transaction, row.transaction);
  await rig.until(async () => (await rowOf(b, "/paid/settling")).delivery === "delivered");
  assert.equal((await ask(`${b.url}/paid/settling`, settling)).code, "payment_already_used");
  assert.equal(upstream.count("/paid/settling"), 2);
  assert.equal((await balance()) - had, 1000n, "not charged again");
});

test("PostgreSQL is killed under load: what it kept is true, and it serves again by itself", { timeout: 120_000 }, async (t) => {
  const it = Things(t);
  const own = await startPostgres();
  it.ends.push(own.stop);
  const database = await it.database({ server: own.url });
  const upstream = await it.upstream();
  const server = await it.pontage(it.config(database.url, upstream, { x402: 'settle_timeout = "3s"' }));
  const had = await balance();
  const payments = [];
  const offers = await offersOf(`${server.url}/paid/any`);
  for (let k = 0; k < 60; k += 1) payments.push({ url: `${server.url}/paid/any`, headers: payHeader(await paymentV1(offers)), served: 0 });
  const odd = [];
  const tryIt = async (payment) => {
    const answer = await ask(payment.url, payment.headers);
    if (answer.status === 200) payment.served += 1;
    if (answer.status === 503) {
      assert.match(answer.type, /^application\/problem\+json/);
      assert.match(answer.headers.get("retry-after") ?? "none", /^\d+$/);
      assert.equal(answer.headers.get("payment-required"), null, "no fresh offer");
    } else if (![200, 402, 409].includes(answer.status)) {
      odd.push(`${answer.status} ${answer.text}`);
    }
    return answer;
  };
  // Some are served, some are at every stage, some come while it is down.
  const first = payments.slice(0, 30).map(tryIt);
  await Promise.race(first);
  await own.kill();
  const down = payments.slice(30).map(tryIt);
  await Promise.all(first);
  const refused = await Promise.all(down);
  assert.ok(refused.some((answer) => answer.status === 503), JSON.stringify(refused.map((answer) => answer.status)));
  assert.ok(refused.every((answer) => answer.status !== 200), "nothing is served without books");
  const health = await fetch(`${server.url}/healthz`);
  assert.equal(health.status, 200, "the process lives");
  const readiness = async () => (await fetch(`${server.url}/readyz`)).status;
  await rig.until(async () => (await readiness()) === 503, { label: "not ready" });
  await own.start();
  await rig.until(async () => (await readiness()) === 200, { label: "ready again" });

  await rig.until(
    async () => (await Promise.all(payments.map((payment) => (payment.served ? 200 : tryIt(payment).then(({ status, code }) => (status === 402 && ["payment_already_used", "payment_lapsed"].includes(code) ? 402 : status)))))).every((status) => status === 200 || status === 402),
    { withinMs: 60_000, everyMs: 500, label: "everybody knows his end" },
  );
  assert.deepEqual(odd, []);
  const rows = await rig.until(
    async () => {
      const all = await books(server, "--limit", "1000");
      return all.every((row) => kClosed.includes(row.state)) ? all : undefined;
    },
    { withinMs: 60_000, everyMs: 500, label: "all closed" },
  );
  const settled = rows.filter((row) => row.state === "settled").length;
  assert.equal((await balance()) - had, BigInt(settled) * 1000n, "the books are the chain's");
  const unserved = payments.filter((payment) => payment.served === 0).length;
  const served = payments.filter((payment) => payment.served === 1).length;
  assert.equal(served + unserved, 60, "nobody is served twice");
  assert.equal(settled, served, `whoever paid has his goods: ${JSON.stringify(rows.map((row) => [row.state, row.delivery, row.failure]))}`);
  const after = await ask(`${server.url}/paid/after`, await sign(`${server.url}/paid/after`));
  assert.equal(after.status, 200, after.text);
  // The restarted server knows no locks; the gateway has taken its own again.
  await rig.until(
    async () => {
      const copy = await command(server, "migrate", "--from", database.url, "--to", `sqlite:${server.dir}/copy.db`);
      return copy.code === 1 && copy.stderr.includes("a process is serving from the database");
    },
    { label: "a copy is refused again" },
  );
});

test("PostgreSQL hangs: who waits is told within seconds, and it goes on where it stopped", { timeout: 120_000 }, async (t) => {
  const it = Things(t);
  const own = await startPostgres();
  it.ends.push(own.stop);
  const database = await it.database({ server: own.url });
  const upstream = await it.upstream();
  const server = await it.pontage(it.config(database.url, upstream));
  const warm = `${server.url}/paid/first`;
  assert.equal((await ask(warm, await sign(warm))).status, 200, "everything is up");
  const url = `${server.url}/paid/slow`;
  const headers = await sign(url, paymentV1);
  own.freeze();
  const told = await ask(url, headers);
  own.thaw();
  assert.deepEqual([told.status, told.code], [503, "store_unavailable"]);
  assert.match(told.type, /^application\/problem\+json/);
  assert.match(told.headers.get("retry-after"), /^\d+$/);
  assert.equal(upstream.count("/paid/slow"), 0, "nothing runs without books");
  // The write that hung may have happened; nobody worked on it, so the payment is good again.
  const answer = await rig.until(
    async () => {
      const now = await ask(url, headers);
      return now.status === 200 ? now : undefined;
    },
    { withinMs: 20_000, everyMs: 250, label: "served after all" },
  );
  assert.equal(answer.receipt.success, true);
  assert.equal(upstream.count("/paid/slow"), 1);
});

async function stopsAllTheSame(server) {
  const began = Date.now();
  const { code } = await server.stop();
  assert.ok(Date.now() - began < 45_000, `${Date.now() - began} ms`);
  assert.equal(code, 1, "not as it should have been");
  assert.equal(server.events("server.store_hangs").length, 1);
}

test("PostgreSQL hangs: who is told to stop stops all the same", { timeout: 120_000 }, async (t) => {
  const it = Things(t);
  const own = await startPostgres();
  it.ends.push(own.stop);
  const database = await it.database({ server: own.url });
  // What was signed for the one is good at the other.
  const config = it.config(database.url, await it.upstream(), { server: 'public_url = "https://shop.example"' });
  const server = await it.pontage(config);
  const url = `${server.url}/paid/last`;
  const headers = await sign(url);
  own.freeze();
  const told = await ask(url, headers);
  assert.equal(told.status, 503, told.text);
  await stopsAllTheSame(server);
  own.thaw();
  const again = await it.pontage(config);
  const had = await balance();
  const ended = await rig.until(
    async () => {
      const now = await ask(url.replace(server.url, again.url), headers);
      return [409, 503].includes(now.status) ? undefined : now;
    },
    { withinMs: 50_000, everyMs: 500, label: "the next start closes what was left open" },
  );
  // What had left for the server when it hung may have been done there: then nobody worked on it, and it is over.
  const charged = (await balance()) - had;
  if (ended.status === 200) assert.equal(charged, 1000n);
  else assert.deepEqual([ended.status, ended.code, charged], [402, "payment_lapsed", 0n]);
});

// Whoever has asked what settles is not told that it is late while the database is at his question.
test("PostgreSQL hangs in the middle of a question: who is told to stop stops all the same", { timeout: 120_000 }, async (t) => {
  const it = Things(t);
  const own = await startPostgres();
  it.ends.push(own.stop);
  const database = await it.database({ server: own.url });
  const server = await it.pontage(it.config(database.url, await it.upstream()));
  const url = `${server.url}/paid/one`;
  assert.equal((await ask(url, await sign(url))).status, 200);
  const locked = database.rows("BEGIN; LOCK TABLE outgoing_transaction IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(100)").catch(() => {});
  const waits = async () => (await database.rows("SELECT count(*) FROM pg_locks WHERE NOT granted"))[0][0] !== "0";
  await rig.until(waits, { withinMs: 40_000, everyMs: 100, label: "the process asks by itself now and then" });
  own.freeze();
  await stopsAllTheSame(server);
  own.thaw();
  await database.drop();
  await locked;
});

test("a facilitator alone is not ready while its store is away", { timeout: 60_000 }, async (t) => {
  const it = Things(t);
  const own = await startPostgres();
  it.ends.push(own.stop);
  const database = await it.database({ server: own.url });
  const server = await it.pontage(it.config(database.url, await it.upstream()), { args: ["--role", "facilitator"] });
  const readiness = async () => (await fetch(`${server.url}/readyz`)).status;
  await rig.until(async () => (await readiness()) === 200, { label: "ready" });
  await own.kill();
  await rig.until(async () => (await readiness()) === 503, { label: "not ready", withinMs: 20_000 });
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200, "the process lives");
  await own.start();
  await rig.until(async () => (await readiness()) === 200, { label: "ready again", withinMs: 20_000 });
});
