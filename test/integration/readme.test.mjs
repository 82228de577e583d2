// What the README and docs/start.md tell a stranger to type is typed here, in their order, in one
// shell for each page, and prints what they say it prints.
//
// A block that CI runs is marked by a comment above it:
//   <!-- ci -->          the commands of the next ```sh block
//   <!-- ci: output -->  the next block is what they print, a line that holds "…" matching any text there
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

const root = path.resolve(import.meta.dirname, "../..");
const pontage = path.resolve(process.env.PTG_BIN ?? path.join(root, "build/pontage"));

const MARKED = /<!-- ci(: output)? -->\s*```\w*\n([\s\S]*?)```/g;

function stepsOf(page) {
  const steps = [];
  for (const [, output, text] of fs.readFileSync(path.join(root, page), "utf8").matchAll(MARKED)) {
    if (output) steps.at(-1).expected = text.trim().split("\n");
    else steps.push({ script: text, expected: [] });
  }
  return steps;
}

async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, () =>
      new Promise((resolve, reject) => {
        const server = net.createServer();
        server.once("error", reject).listen(0, "127.0.0.1", () => resolve(server));
      }),
    ),
  );
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

// A folder that looks like a fresh clone in which `./dev build` has been run.
function clone() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-readme-"));
  fs.mkdirSync(path.join(dir, "build"));
  fs.symlinkSync(pontage, path.join(dir, "build/pontage"));
  // The program under test is built already; what `./dev build` does is shown by every CI run.
  fs.writeFileSync(path.join(dir, "dev"), "#!/bin/sh\n[ \"$1\" = build ]\n", { mode: 0o755 });
  return dir;
}

// Runs `script` in a shell on a terminal of its own, as a person does: commands that show people a
// table show it here too. What the shell started and left running ends with it.
function run(script, cwd) {
  const file = path.join(cwd, ".steps.sh");
  const pid = path.join(cwd, ".pid");
  fs.writeFileSync(file, `echo $$ >'${pid}'\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n${script}`);
  return new Promise((resolve, reject) => {
    const terminal = spawn("script", ["-qefc", `bash '${file}'`, "/dev/null"], {
      cwd,
      stdio: ["ignore", "pipe", "inherit"],
      env: { PATH: process.env.PATH, HOME: cwd, LANG: "C.UTF-8", TERM: "dumb" },
    });
    let out = "";
    terminal.stdout.on("data", (data) => (out += data));
    const timer = setTimeout(() => process.kill(-Number(fs.readFileSync(pid, "utf8")), "SIGKILL"), 100_000);
    terminal.once("error", reject);
    terminal.once("close", (code) => {
      clearTimeout(timer);
      resolve({ code, out: out.replaceAll("\r\n", "\n") });
    });
  });
}

// Each expected line is found in the output, in their order; "…" stands for any text.
function assertPrinted(expected, out) {
  let rest = out.split("\n");
  for (const line of expected) {
    const parts = line.trim().split("…");
    const pattern = new RegExp(
      parts.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*"),
    );
    const at = rest.findIndex((one) => pattern.test(one));
    assert.notEqual(at, -1, `not printed: ${line}\n---- printed:\n${out}`);
    rest = rest.slice(at + 1);
  }
}

for (const page of ["README.md", "docs/start.md"]) {
  test(`${page}: the commands do what it says`, { timeout: 180_000 }, async () => {
    const steps = stepsOf(page);
    assert.ok(steps.length > 0, `${page} has no commands`);
    // The ports that the pages use, and what stands for them here.
    const theirs = ["8402", "9402", "8545", "9000"];
    const ours = await freePorts(theirs.length);
    const elsewhere = (text) =>
      theirs.reduce((t, port, i) => t.replace(new RegExp(`\\b${port}\\b`, "g"), `${ours[i]}`), text);
    const dir = clone();
    try {
      const mark = "=== step";
      let script = "set -euo pipefail\n";
      steps.forEach((step, i) => (script += `echo '${mark} ${i}'\n${step.script}\n`));
      script += `echo '${mark} end'\n`;
      const { code, out } = await run(elsewhere(script), dir);
      assert.equal(code, 0, out);
      steps.forEach((step, i) => {
        const next = i + 1 < steps.length ? `${mark} ${i + 1}\n` : `${mark} end\n`;
        const from = out.indexOf(`${mark} ${i}\n`);
        const printed = out.slice(from, out.indexOf(next, from));
        const expected = step.expected.map(elsewhere);
        assertPrinted(expected, printed);
      });
    } finally {
      fs.rmSync(dir, { recursive: true, force: true });
    }
  });
}
