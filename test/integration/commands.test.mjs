// Every command as its user meets it: a table on a terminal, JSON in a pipe, `--json`, `--config`, and the
// exit codes. `pay` has a file of its own.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { ask, books, paymentV1, sign } from "../rig/src/pay.mjs";
import { binary, run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import * as rig from "../rig/src/rig.mjs";
import { onTerminal } from "../rig/src/terminal.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kEnv = { PONTAGE_EVM_KEY: rig.evmKey("facilitator") };
const kRoutes = `
[[route]]
match = "GET /paid/*"
price = "$0.001"
[[route]]
match = "GET /other"
price = "$0.002"
`;

let chain, upstream, home;
before(async () => {
  chain = await rig.up();
  home = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-commands-"));
  upstream = await startUpstream((req, res) => {
    res.writeHead(req.url.includes("broken") ? 500 : 200, { "content-type": "application/json" }).end("{}");
  });
});
after(async () => {
  await upstream?.stop();
  await chain?.stop();
  fs.rmSync(home, { recursive: true, force: true });
});

let folders = 0;
const folder = () => {
  folders += 1;
  const dir = path.join(home, String(folders));
  fs.mkdirSync(dir);
  return dir;
};
const seller = (more) => sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, ...more });
// A folder with `toml` in it, and commands run there.
function place(toml, env = kEnv) {
  const dir = folder();
  const file = path.join(dir, "pontage.toml");
  if (toml) fs.writeFileSync(file, toml);
  return {
    dir,
    file,
    run: (...args) => run(args, { cwd: dir, env: { HOME: dir, ...env } }),
    show: (...args) => onTerminal(args, { cwd: dir, env: { HOME: dir, ...env } }),
  };
}
const json = (done) => JSON.parse(done.stdout);

describe("the command line", () => {
  test("help and version: exit 0; nonsense: exit 2, and why", async () => {
    const at = place();
    const help = await at.run("--help");
    assert.equal(help.code, 0);
    for (const name of ["init", "serve", "demo", "sandbox", "pay", "payments", "explain", "migrate", "doctor", "config"]) {
      assert.match(help.stdout, new RegExp(`\\b${name}\\b`));
      const one = await at.run(name, "--help");
      assert.equal(one.code, 0, name);
      if (name !== "config") assert.match(one.stdout, /--config/);
    }
    const { stdout: roles } = await at.run("serve", "--help");
    for (const role of ["gateway", "facilitator", "sales", "console"]) assert.match(roles, new RegExp(`\\b${role}\\b`));
    assert.match((await at.run("--version")).stdout, /^pontage \d+\.\d+/);
    const wrong = [[], ["frobnicate"], ["license", "issue"], ["serve", "--frobnicate"], ["config"], ["config", "frob"], ["explain"], ["pay"], ["migrate", "--from", "sqlite:x"]];
    wrong.push(["payments", "--limit", "0"], ["payments", "--limit", "many"], ["demo", "--port", "70000"], ["sandbox", "--block-time", "soon"], ["serve", "--role", "emperor"]);
    for (const args of wrong) {
      const done = await at.run(...args);
      assert.equal(done.code, 2, `${args.join(" ")}: ${done.code} ${done.stderr}`);
      assert.ok(done.stderr, args.join(" "));
    }
  });

  test("without a configuration every command that needs one says so: exit 1", async () => {
    const at = place();
    for (const args of [["serve"], ["payments"], ["explain", "x"], ["migrate"], ["doctor"], ["config", "check"], ["config", "print"]]) {
      const done = await at.run(...args);
      assert.equal(done.code, 1, args.join(" "));
      assert.match(done.stderr + done.stdout, /pontage\.toml/, args.join(" "));
      const other = await at.run(...args, "--config", "elsewhere.toml");
      assert.equal(other.code, 1);
      assert.match(other.stderr + other.stdout, /elsewhere\.toml/);
    }
    assert.deepEqual(fs.readdirSync(at.dir), [], "and nothing is made");
  });
});

describe("config check and print", () => {
  test("a good file", async () => {
    const at = place(seller());
    const check = json(await at.run("config", "check"));
    assert.deepEqual([check.ok, check.routes, check.roles], [true, 2, ["gateway", "facilitator"]]);
    const shown = await at.show("config", "check");
    assert.equal(shown.code, 0);
    assert.match(shown.text, /^pontage\.toml: good; 2 routes, roles: gateway, facilitator/m);
    const print = await at.run("config", "print");
    assert.equal(print.code, 0);
    assert.ok(!print.stdout.includes(kEnv.PONTAGE_EVM_KEY.slice(2)));
    assert.match(print.stdout, /signer = "\[set\]"/);
    // What it prints is a configuration that means the same, but for the secrets.
    const again = place(print.stdout.replace("[set]", "env:PONTAGE_EVM_KEY"));
    assert.equal((await again.run("config", "print")).stdout, print.stdout);
    assert.equal(json(await at.run("config", "print", "--json")).toml + "\n", print.stdout);
  });

  test("every fault with file, line, key, what was found and expected: exit 1, and nothing starts", async () => {
    const at = place(seller().replace('"$0.001"', '"$0.00000001"').replace("[x402]", '[x402]\nfacilitator = "somewhere"\nfrob = 1'));
    const done = await at.run("config", "check");
    assert.equal(done.code, 1);
    const { ok, faults } = json(done);
    assert.equal(ok, false);
    assert.equal(faults.length, 3, JSON.stringify(faults));
    const lines = fs.readFileSync(at.file, "utf8").split("\n");
    for (const fault of faults) {
      assert.equal(fault.file, "pontage.toml");
      assert.match(lines[fault.line - 1], new RegExp(fault.key.split(".").at(-1)));
      assert.ok(fault.found && fault.expected, JSON.stringify(fault));
      assert.ok(done.stderr.includes(`pontage.toml:${fault.line}`), done.stderr);
    }
    const shown = await at.show("config", "check");
    assert.equal(shown.code, 1);
    assert.ok(!shown.text.includes('"faults"'));
    const serve = await at.run("serve");
    assert.equal(serve.code, 1);
    assert.match(serve.stderr, /frob/);
    assert.ok(!fs.existsSync(path.join(at.dir, "pontage.db")));
    assert.equal((await place(seller(), {}).run("config", "check")).code, 1, "a variable that is not set");
  });
});

describe("init", () => {
  test("writes files for its owner alone, overwrites nothing, and what it writes serves", async () => {
    const at = place(undefined, {});
    const first = json(await at.run("init", "--dir", "shop"));
    const files = ["pontage.toml", "license.pem", "jwks.json", "operator.key", "session.key"];
    assert.deepEqual(first.written.map((file) => path.basename(file)).sort(), [...files].sort());
    assert.deepEqual(first.missing, ["PONTAGE_PAY_TO", "PONTAGE_EVM_KEY"]);
    const shop = path.join(at.dir, "shop");
    for (const secret of ["license.pem", "operator.key", "session.key"]) {
      assert.equal(fs.statSync(path.join(shop, secret)).mode & 0o777, 0o600, secret);
    }
    const had = files.map((file) => fs.readFileSync(path.join(shop, file), "utf8"));
    const second = await at.show("init", "--dir", "shop");
    assert.equal(second.code, 0);
    for (const file of files) assert.match(second.text, new RegExp(`kept +shop/${file}`));
    assert.deepEqual(files.map((file) => fs.readFileSync(path.join(shop, file), "utf8")), had);
    // A lost key is made again, the others stay.
    fs.rmSync(path.join(shop, "operator.key"));
    assert.deepEqual(json(await at.run("init", "--dir", "shop")).written.map((file) => path.basename(file)), ["operator.key"]);

    const toml = path.join(shop, "pontage.toml");
    assert.equal((await at.run("config", "check", "--config", toml)).code, 1, "its variables are missing");
    const env = { ...kEnv, PONTAGE_PAY_TO: rig.evmAddress("payee") };
    const check = await run(["config", "check", "--config", toml], { cwd: shop, env });
    assert.equal(check.code, 0, check.stderr);
    const local = fs
      .readFileSync(toml, "utf8")
      .replace("https://sepolia.base.org", chain.rpc)
      .replace("http://127.0.0.1:9000", upstream.url)
      .replace("127.0.0.1:8402", "127.0.0.1:0")
      .replace("127.0.0.1:9402", "127.0.0.1:0");
    const server = await startPontage(local, { dir: shop, env });
    try {
      const url = `${server.url}/v1/x`;
      assert.equal((await ask(url, await sign(url))).status, 200);
      assert.equal((await fetch(`${server.url}/status`)).status, 200);
    } finally {
      await server.stop();
    }
  });

  test("a folder that cannot be written: exit 1", async () => {
    const at = place();
    fs.writeFileSync(path.join(at.dir, "file"), "");
    const done = await at.run("init", "--dir", "file/below");
    assert.equal(done.code, 1);
    assert.match(done.stderr, /cannot create/);
  });
});

describe("payments and explain", () => {
  let server, rows, answers;
  before(async () => {
    server = await startPontage(seller());
    answers = {};
    const buy = async (where, who) => {
      const url = `${server.url}${where}`;
      answers[where] = await ask(url, await sign(url, (offers) => paymentV1(offers, { who })));
    };
    for (const [where, who] of [["/paid/1", "buyer"], ["/paid/2", "fresh"], ["/other", "buyer"], ["/paid/broken", "buyer"]]) await buy(where, who);
    assert.deepEqual(Object.values(answers).map((answer) => answer.status), [200, 200, 200, 500]);
    rows = await rig.until(async () => {
      const all = await books(server);
      return all.every((row) => row.delivery === "delivered" || row.state === "voided") && all;
    });
  });
  after(() => server?.stop());
  const list = async (...args) => (await books(server, ...args)).map((row) => row.resource).sort();

  test("all of it, the newest first", async () => {
    assert.deepEqual(rows.map((row) => row.resource), ["/paid/broken", "/other", "/paid/2", "/paid/1"]);
    assert.deepEqual(rows.map((row) => row.state), ["voided", "settled", "settled", "settled"]);
    const row = rows.at(-1);
    assert.equal(row.payer, rig.evmAddress("buyer"));
    assert.deepEqual([row.price, row.amount, row.symbol, row.method, row.network, row.pay_to], ["$0.001", "1000", "USDC", "GET", rig.EVM_NETWORK, rig.evmAddress("payee")]);
  });

  test("every filter, alone and together", async () => {
    const kAll = ["/other", "/paid/1", "/paid/2", "/paid/broken"];
    const hash = rows.find((row) => row.resource === "/paid/1").transaction;
    const created = rows.find((row) => row.resource === "/other").created;
    const cases = [
      [["--state", "settled"], ["/other", "/paid/1", "/paid/2"]],
      [["--state", "voided"], ["/paid/broken"]],
      [["--state", "held"], []],
      [["--payer", rig.evmAddress("fresh")], ["/paid/2"]],
      [["--payer", rig.evmAddress("fresh").toLowerCase()], ["/paid/2"]],
      [["--route", "GET /other"], ["/other"]],
      [["--tx", hash], ["/paid/1"]],
      [["--tx", hash.toUpperCase().replace("0X", "0x")], ["/paid/1"]],
      [["--since", "1h"], kAll],
      [["--since", "2020-01-01"], kAll],
      [["--since", new Date(Date.now() + 3_600_000).toISOString().replace(/\.\d+/, "")], []],
      [["--since", created.replace(/\.\d+/, "")], await list("--since", created.replace(/\.\d+/, ""))],
      [["--limit", "1"], ["/paid/broken"]],
      [["--payer", rig.evmAddress("buyer"), "--state", "settled", "--limit", "1"], ["/other"]],
    ];
    for (const [args, want] of cases) assert.deepEqual(await list(...args), want, args.join(" "));
    for (const args of [["--state", "lost"], ["--since", "yesterday"], ["--since", "2026-13-01"], ["--limit", "10001"]]) {
      const done = await run(["payments", "--config", server.file, ...args], { cwd: server.dir });
      assert.equal(done.code, 2, args.join(" "));
      assert.match(done.stderr, /expected|--/i);
    }
  });

  test("a table on a terminal, and none of it needs the seller's keys", async () => {
    const shown = await onTerminal(["payments", "--config", server.file], { cwd: server.dir });
    assert.equal(shown.code, 0, shown.text);
    const lines = shown.text.trim().split("\n");
    assert.match(lines[0], /^CREATED +ID +STATE +DELIVERY +PRICE +ROUTE +PAYER +TRANSACTION$/);
    assert.equal(lines.length, 5);
    const forced = await onTerminal(["payments", "--json", "--config", server.file], { cwd: server.dir });
    assert.equal(JSON.parse(forced.text).payments.length, 4);
  });

  test("explain finds a payment by each of its names, with its whole history", async () => {
    const row = rows.find((one) => one.resource === "/paid/1");
    assert.equal(row.request_id, answers["/paid/1"].headers.get("x-request-id"));
    for (const name of [row.id, row.request_id, row.transaction, row.transaction.toUpperCase().replace("0X", "0x")]) {
      const done = await run(["explain", name, "--config", server.file], { cwd: server.dir });
      assert.equal(done.code, 0, done.stderr);
      const [told] = json(done).payments;
      assert.equal(told.id, row.id);
      assert.deepEqual(told.history.map((event) => event.what), ["reserved", "answered", "settled", "delivered"]);
      assert.equal(told.receipt.transaction, row.transaction);
      assert.equal(told.requirement.maxAmountRequired ?? told.requirement.amount, "1000");
      assert.equal(told.transactions.length, 1);
      const [attempt] = told.transactions;
      assert.deepEqual([attempt.transaction, attempt.state, attempt.succeeded], [row.transaction, "mined", true]);
      assert.deepEqual(told.outbox.map((entry) => [entry.kind, entry.attempts]), [["payment.settled", 0]]);
    }
    const voided = json(await run(["explain", answers["/paid/broken"].headers.get("x-request-id"), "--config", server.file], { cwd: server.dir })).payments[0];
    assert.deepEqual([voided.state, voided.failure, voided.upstream_status], ["voided", "upstream_status", 500]);
    assert.deepEqual([voided.transactions, voided.outbox], [[], []]);
    const shown = await onTerminal(["explain", row.id, "--config", server.file], { cwd: server.dir });
    assert.match(shown.text, /history\n.*reserved.*\n.*answered  200\n.*settled  0x[0-9a-f]{64}\n.*delivered/);
    assert.match(shown.text, /transactions\n.*0x[0-9a-f]{64}  nonce \d+  mined in block \d+(?:, not final yet)?\n/);
  });

  test("what is not there: exit 5", async () => {
    const none = await run(["explain", "req_nothing", "--config", server.file], { cwd: server.dir });
    assert.equal(none.code, 5);
    assert.equal(json(none).error.code, "not_found");
    const never = place(seller());
    assert.equal((await never.run("payments")).code, 5, "no books yet");
    assert.ok(!fs.existsSync(path.join(never.dir, "pontage.db")), "and none are made");
  });

  test("migrate on a living store changes nothing", async () => {
    const done = json(await run(["migrate", "--config", server.file], { cwd: server.dir }));
    assert.equal(done.from, done.to);
    const shown = await onTerminal(["migrate", "--config", server.file], { cwd: server.dir });
    assert.match(shown.text, /up to date at version \d+/);
  });
});

describe("demo and sandbox", () => {
  test("demo --once ends by itself, for people and for scripts", async () => {
    const at = place(undefined, {});
    const story = await at.run("demo", "--once", "--port", "0");
    assert.equal(story.code, 0, story.stderr);
    assert.match(story.stdout, /200 /);
    assert.match(story.stdout, /receipt: transaction 0x[0-9a-f]{64}/);
    const [line] = (await at.run("demo", "--once", "--port", "0", "--json")).stdout.trim().split("\n");
    const told = JSON.parse(line);
    assert.deepEqual([told.event, told.payment.outcome, told.payment.proven], ["demo.ready", "paid", true]);
    assert.deepEqual(fs.readdirSync(at.dir), [], "it leaves nothing behind");
  });

  test("sandbox tells scripts where it is, and ends with SIGTERM", async () => {
    const child = spawn(binary(), ["sandbox", "--port", "0", "--block-time", "50ms"], { stdio: ["ignore", "pipe", "inherit"] });
    const gone = new Promise((resolve) => child.once("exit", resolve));
    try {
      let text = "";
      child.stdout.on("data", (data) => (text += data));
      await rig.until(() => text.includes("\n"));
      const ready = JSON.parse(text);
      assert.equal(ready.event, "sandbox.ready");
      assert.deepEqual(ready.identities.map((who) => who.name), ["buyer", "seller", "facilitator", "poor"]);
      assert.equal(Number(await rig.rpcCall(ready.rpc, "eth_chainId")), ready.chain_id);
      const first = Number(await rig.rpcCall(ready.rpc, "eth_blockNumber"));
      await rig.until(async () => Number(await rig.rpcCall(ready.rpc, "eth_blockNumber")) > first);
      const taken = await run(["sandbox", "--port", new URL(ready.rpc).port]);
      assert.notEqual(taken.code, 0);
      assert.match(taken.stderr, /use/);
    } finally {
      child.kill("SIGTERM");
    }
    assert.equal(await gone, 0);
  });
});
