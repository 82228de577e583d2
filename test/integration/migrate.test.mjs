// The move from SQLite to PostgreSQL, of books that a running gateway wrote: nothing is lost on the way,
// nothing can be used again, and nobody can copy what somebody writes to.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { ask, books, paymentV1, sign } from "../rig/src/pay.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { createDatabase } from "../rig/src/postgres.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kRoutes = '[[route]]\nmatch = "GET /paid/*"\nprice = "$0.001"\n';
const kClosed = ["settled", "expired", "voided"];

describe("`pontage migrate --from --to`", () => {
  let chain, upstream, dir, source, database, payments, sold, gate;
  const ends = [];
  const balance = () => rig.tokenBalance(chain.rpc, "payee");
  const rowOf = async (server, resource) => (await books(server)).find((row) => row.resource === resource);
  const config = (store) => sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, store });
  const migrate = (from, to) => run(["migrate", "--from", from, "--to", to, "--json"], { cwd: dir });

  // A store with a life behind it: sold, owed, lapsed and voided payments, made by a running gateway.
  before(async () => {
    chain = await rig.up();
    ends.push(chain.stop);
    upstream = await startUpstream(async (req, res) => {
      if (req.url === "/paid/lapsed") await gate;
      res.writeHead(req.url === "/paid/voided" ? 500 : 200, { "content-type": "application/json" }).end('{"goods":1}');
    });
    ends.push(upstream.stop);
    dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-move-"));
    ends.push(() => fs.rmSync(dir, { recursive: true, force: true }));
    source = `sqlite:${dir}/pontage.db`;
    database = await createDatabase();
    ends.push(database.drop);
    let server = await startPontage(config(source), { dir });
    payments = {};
    for (const name of ["sold", "owed", "lapsed", "voided"]) payments[name] = await sign(`${server.url}/paid/${name}`, paymentV1);
    sold = await ask(`${server.url}/paid/sold`, payments.sold);
    assert.equal(sold.status, 200);
    assert.equal((await ask(`${server.url}/paid/voided`, payments.voided)).status, 500);
    let open;
    gate = new Promise((resolve) => (open = resolve));
    ends.push(() => open());
    await rig.rpcCall(chain.rpc, "evm_setAutomine", false);
    const lost = ["owed", "lapsed"].map((name) => ask(`${server.url}/paid/${name}`, payments[name]).catch(() => 0));
    await rig.until(async () => (await rowOf(server, "/paid/owed"))?.stage === "answered" && upstream.count("/paid/lapsed") === 1);
    await server.kill();
    await Promise.all(lost);
    await rig.rpcCall(chain.rpc, "evm_setAutomine", true);
    await rig.rpcCall(chain.rpc, "anvil_mine", "0x1");
    server = await startPontage(config(source), { dir });
    await rig.until(async () => (await books(server)).every((row) => kClosed.includes(row.state)), { withinMs: 30_000, label: "all closed" });

    const serving = await migrate(source, database.url);
    assert.equal(serving.code, 1, "a writer lives at the source");
    assert.match(serving.stderr, /a process is serving from the database.*stop every `pontage serve`/);
    assert.equal((await database.rows("SELECT 1 FROM pg_tables WHERE tablename = 'reservation'")).length, 0);
    assert.equal((await server.stop()).code, 0);
    open();
  });
  after(async () => {
    for (const end of ends.reverse()) await end();
  });

  test("a start on the empty PostgreSQL beside it says what to do", async () => {
    await assert.rejects(startPontage(config(database.url), { dir }), (error) => {
      assert.match(error.message, /the PostgreSQL database is empty and sqlite:.*pontage\.db is not/);
      assert.match(error.message, /pontage migrate --from sqlite:\S*pontage\.db --to/);
      return true;
    });
  });

  test("a source that is not there is not made", async () => {
    const done = await migrate(`sqlite:${dir}/none.db`, database.url);
    assert.notEqual(done.code, 0);
    assert.match(done.stderr, /there is no database at the source/);
    assert.ok(!fs.existsSync(path.join(dir, "none.db")));
    assert.equal((await run(["migrate", "--from", source], { cwd: dir })).code, 2);
    assert.notEqual((await migrate(source, source)).code, 0);
  });

  test("copies every row and compares", async () => {
    const done = await migrate(source, database.url);
    assert.equal(done.code, 0, done.stderr);
    const report = JSON.parse(done.stdout);
    const rows = Object.fromEntries(report.tables.map((table) => [table.name, table.rows]));
    assert.equal(rows.reservation, 4);
    assert.equal(rows.outbox, 2);
    assert.ok(rows.reservation_event >= 2 && rows.outgoing_transaction === 2);
    for (const [table, count] of Object.entries(rows)) assert.equal(await database.count(table), count, table);
    assert.equal(report.rows, Object.values(rows).reduce((a, b) => a + b));
    // Word for word the same books.
    const told = async (store) => {
      const file = path.join(dir, `${store.slice(0, 6)}.toml`);
      fs.writeFileSync(file, config(store));
      const listed = JSON.parse((await run(["payments", "--config", file], { cwd: dir })).stdout).payments;
      const histories = [];
      for (const row of listed) histories.push(JSON.parse((await run(["explain", row.id, "--config", file], { cwd: dir })).stdout));
      return { listed, histories };
    };
    assert.deepEqual(await told(database.url), await told(source));
  });

  test("refuses a target that holds rows already, and changes nothing", async () => {
    const had = await database.rows("SELECT id, updated_ms FROM reservation ORDER BY id");
    const done = await migrate(source, database.url);
    assert.equal(done.code, 1);
    assert.match(done.stderr, /the target holds rows already/);
    assert.deepEqual(await database.rows("SELECT id, updated_ms FROM reservation ORDER BY id"), had);
  });

  test("what was used stays used, what was owed is redeemed, once; a copy back is refused while it serves", async () => {
    const had = await balance();
    const server = await startPontage(config(database.url), { dir });
    try {
      const used = await ask(`${server.url}/paid/sold`, payments.sold);
      assert.deepEqual([used.status, used.code], [402, "payment_already_used"]);
      assert.equal(used.receipt.transaction, sold.receipt.transaction);
      const lapsed = await ask(`${server.url}/paid/lapsed`, payments.lapsed);
      assert.deepEqual([lapsed.status, lapsed.code], [402, "payment_lapsed"]);
      const owed = await Promise.all(Array.from({ length: 5 }, () => ask(`${server.url}/paid/owed`, payments.owed)));
      assert.equal(owed.filter((answer) => answer.status === 200).length, 1, JSON.stringify(owed.map((o) => [o.status, o.code])));
      assert.equal(await balance(), had, "nobody is charged again");
      const fresh = await ask(`${server.url}/paid/new`, await sign(`${server.url}/paid/new`));
      assert.equal(fresh.status, 200, fresh.text);
      assert.equal((await balance()) - had, 1000n);

      const back = `sqlite:${dir}/back.db`;
      for (const [from, to] of [[database.url, back], [source, database.url]]) {
        const done = await migrate(from, to);
        assert.equal(done.code, 1);
        assert.match(done.stderr, /a process is serving from the database/);
      }
      assert.equal((await server.stop()).code, 0);
      const done = await migrate(database.url, back);
      assert.equal(done.code, 0, done.stderr);
      const rows = JSON.parse(done.stdout).tables.find((table) => table.name === "reservation");
      assert.equal(rows.rows, 5);
    } finally {
      await server.stop();
    }
  });
});
