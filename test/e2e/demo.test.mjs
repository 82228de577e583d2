// A stranger's first minute: the demo is started, and what it prints is pasted into a shell as it stands.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { binary, run } from "../rig/src/pontage.mjs";

const kModules = path.resolve(import.meta.dirname, "../node_modules");
const kPrice = 1000n; // $0.001 in atomic units

let demo;
let said = "";
let tryDir;

before(async () => {
  tryDir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-try-"));
  demo = spawn(binary(), ["demo", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the demo did not come up\n${said}`)), 60_000);
    demo.stdout.on("data", (data) => {
      said += data;
      if (!said.includes("Ctrl-C ends the demo.")) return;
      clearTimeout(late);
      resolve();
    });
    demo.once("exit", (code) => reject(new Error(`the demo ended with ${code}\n${said}`)));
  });
});

after(async () => {
  if (demo?.exitCode === null) {
    const gone = new Promise((resolve) => demo.once("exit", resolve));
    demo.kill("SIGTERM");
    await gone;
  }
  fs.rmSync(tryDir, { recursive: true, force: true });
});

// What is printed between the heading "N. …" and the next one.
function step(n) {
  const part = said.split(new RegExp(`^${n}\\. .*$`, "m"))[1];
  assert.ok(part, `the demo prints no step ${n}\n${said}`);
  return part.split(/^\d\. |^The key is|^Ctrl-C/m)[0].trim();
}

// Pasted as printed, but that packages come from the tests' own and files go to a folder of ours.
async function paste(text) {
  const npm = `npm() { ln -sfn '${kModules}' node_modules; }\n`;
  const script = `set -e\n${npm}${text.replaceAll("/tmp/pontage-try", tryDir)}`;
  const env = { ...process.env, PATH: `${path.dirname(process.execPath)}:${process.env.PATH}` };
  return (await promisify(execFile)("bash", ["-c", script], { cwd: tryDir, env })).stdout;
}

test("the curl shows the price", async () => {
  const answer = await paste(step(1));
  assert.match(answer, /^HTTP\/1\.1 402 /);
  assert.match(answer, /^payment-required: /im);
});

test("the snippet buys with the official client", async () => {
  const printed = await paste(step(2));
  assert.match(printed, /^200 /);
  const receipt = JSON.parse(Buffer.from(printed.trim().split(" ").at(-1), "base64"));
  assert.equal(receipt.success, true);
  assert.match(receipt.transaction, /^0x[0-9a-f]{64}$/);
});

test("the shell buys, and the books know every payment of this minute", async () => {
  const [pay, payments] = step(3).split("\n").filter(Boolean);
  await paste(pay);
  const bought = JSON.parse(await paste(`${payments} --json`)).payments;
  assert.ok(bought.length >= 3, "the demo's own, the snippet's and the shell's");
  for (const row of bought) assert.equal(row.state, "settled");
});

test("the license that was bought by card opens what asked for a payment", async () => {
  const answer = await paste(step(4));
  assert.match(answer, /^HTTP\/1\.1 200 /);
  assert.match(answer, /^x-pontage-license: lic_/im);
});

test("buying with a test card in a browser gives a license by mail, which passes the same route", async () => {
  const [shop, mailbox] = step(5).split("\n").map((line) => line.trim()).filter(Boolean);
  const [, paid] = step(1).match(/(http:\/\/\S+)/);
  assert.equal((await fetch(paid)).status, 402);
  const asBrowser = { redirect: "manual", headers: { accept: "text/html" } };
  const page = await (await fetch(shop, asBrowser)).text();
  // What the page's form sends, and where to.
  const [, method, action] = [/<form[^>]*method="?(\w+)/i, /<form[^>]*action="([^"]+)"/i].reduce((all, one) => [...all, page.match(one)?.[1]], [""]);
  assert.equal(method.toLowerCase(), "post", page);
  const plan = page.match(/name="?plan"?[^>]*value="?([\w-]+)|value="?([\w-]+)"?[^>]*name="?plan/);
  const email = "you@company.example";
  const sent = { ...asBrowser, method: "POST", body: new URLSearchParams({ plan: plan[1] ?? plan[2], email }) };
  const opened = await fetch(new URL(action, shop), sent);
  assert.equal(opened.status, 303, await opened.text());
  const hosted = opened.headers.get("location");
  assert.match(await (await fetch(hosted, asBrowser)).text(), /name="outcome" value="paid"/);
  const back = await fetch(hosted, { ...asBrowser, method: "POST", body: new URLSearchParams({ outcome: "paid" }) });
  assert.equal(back.status, 303);
  assert.equal((await fetch(back.headers.get("location"), asBrowser)).status, 200);
  // The mailbox as a browser shows it.
  let license;
  for (const end = Date.now() + 20_000; !license; await new Promise((resolve) => setTimeout(resolve, 200))) {
    assert.ok(Date.now() < end, "no mail came");
    const list = await (await fetch(mailbox, asBrowser)).text();
    for (const [, where] of list.matchAll(/href="([^"]*\/mail\/[^"]+)"/g)) {
      const mail = await (await fetch(new URL(where, mailbox), asBrowser)).text();
      if (mail.includes(email)) license = mail.match(/eyJ[\w-]+\.[\w-]+\.[\w-]+/)?.[0];
    }
  }
  const answer = await fetch(paid, { headers: { authorization: `Bearer ${license}` } });
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("x-pontage-license"), /^lic_/);
});

test("what is free is free", async () => {
  const gateway = said.match(/gateway\s+(http:\/\/\S+)/)[1];
  assert.equal((await fetch(`${gateway}/status`)).status, 200);
});

test("a demo told once ends by itself, well, and leaves nothing", async () => {
  const before = new Set(fs.readdirSync(os.tmpdir()).filter((f) => f.startsWith("pontage-demo")));
  const { code, stdout } = await run(["demo", "--once", "--port", "0"]);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /402/);
  assert.match(stdout, /receipt: transaction 0x[0-9a-f]{64}/);
  assert.match(stdout, new RegExp(`the seller now has ${kPrice}`));
  assert.match(stdout, /mail "Your license for .*\n.* with it\n +200 +\{"symbol"/);
  const left = fs.readdirSync(os.tmpdir()).filter((f) => f.startsWith("pontage-demo"));
  assert.deepEqual(left.filter((f) => !before.has(f)), []);
});
