// The documents say what is so: links lead somewhere, generated pages are what the program prints,
// configurations are accepted by it, and the lists of events and metrics are those of the code.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

const root = path.resolve(import.meta.dirname, "../..");
const pontage = process.env.PTG_BIN ?? path.join(root, "build/pontage");
const read = (file) => fs.readFileSync(path.join(root, file), "utf8");

function filesBelow(folder, wanted) {
  return fs
    .readdirSync(path.join(root, folder), { recursive: true })
    .map((name) => path.join(folder, name))
    .filter(wanted)
    .sort();
}
const pages = [
  ...fs.readdirSync(root).filter((name) => name.endsWith(".md")),
  ...filesBelow("docs", (name) => name.endsWith(".md")),
];
const sources = filesBelow("src", (name) => /\.(cc|h)$/.test(name) && !/_(test|fuzz|bench)\.cc$/.test(name)).filter(
  (name) => !name.startsWith("src/testing/") && !name.startsWith("src/base/log."),
);

// The anchor a heading gets.
const anchorOf = (heading) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-");
const withoutCode = (text) => text.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "");

test("every link within the project leads to a page and to a heading of it", () => {
  let links = 0;
  for (const page of pages) {
    for (const [, target] of withoutCode(read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      links += 1;
      const [file, anchor] = target.split("#");
      const goal = file === "" ? page : path.join(path.dirname(page), file);
      assert.ok(fs.existsSync(path.join(root, goal)), `${page}: ${target} is not there`);
      if (!anchor) continue;
      const headings = [...read(goal).matchAll(/^#+ (.*)$/gm)].map((m) => anchorOf(m[1]));
      assert.ok(headings.includes(anchor), `${page}: ${target} is no heading`);
    }
  }
  assert.ok(links > 20, `only ${links} links were found`);
});

for (const [page, args] of [
  ["docs/reference/errors.md", ["errors"]],
  ["docs/reference/config.md", ["config", "reference"]],
]) {
  test(`${page} is what \`pontage ${args.join(" ")}\` prints`, () => {
    const printed = execFileSync(pontage, args, { encoding: "utf8" });
    assert.equal(read(page).trimEnd(), printed.trimEnd());
  });
}

test("every whole configuration in the guides is accepted", () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-docs-"));
  try {
    let seen = 0;
    for (const page of pages) {
      for (const [, block] of read(page).matchAll(/^```toml check\n([\s\S]*?)^```/gm)) {
        seen += 1;
        const file = path.join(dir, `${seen}.toml`);
        fs.writeFileSync(file, block);
        const env = { PATH: process.env.PATH, HOME: dir };
        for (const [, name] of block.matchAll(/env:([A-Z_]+)/g)) {
          env[name] = name.endsWith("EVM_KEY") ? `0x${"11".repeat(32)}` : "a-value";
        }
        const run = spawnSync(pontage, ["config", "check", "--config", file], { env, encoding: "utf8" });
        assert.equal(run.status, 0, `${page}:\n${block}\n${run.stderr}`);
      }
    }
    assert.ok(seen >= 4, `only ${seen} configurations were found`);
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

// Names in the first column of a page's tables.
const listed = (page) => [...read(page).matchAll(/^\| `([a-z_.]+)`/gm)].map((m) => m[1]).sort();
const inSources = (pattern) => {
  const names = new Set();
  for (const file of sources) {
    for (const match of read(file).matchAll(pattern)) names.add(match[1]);
  }
  return [...names].sort();
};

function assertSame(page, ours) {
  const theirs = listed(page);
  const missing = ours.filter((name) => !theirs.includes(name));
  const stale = theirs.filter((name) => !ours.includes(name));
  assert.equal(`${missing}`, "", `not in ${page}`);
  assert.equal(`${stale}`, "", `in ${page} and not in the code`);
}

test("docs/reference/logs.md names every event of the code and no other", () => {
  const events = inSources(/(?:\bLog(?:Gathered)?\([^;"]*|\.event = )"([a-z_]+\.[a-z_.]+)"/g);
  assert.ok(events.length > 20, `only ${events.length} events were found`);
  assertSame("docs/reference/logs.md", events);
});

test("docs/reference/metrics.md names every metric of the code and no other", () => {
  const metrics = inSources(/"((?:pontage|process)_[a-z0-9_]+)"/g);
  assert.ok(metrics.length > 5, `only ${metrics.length} metrics were found`);
  assertSame("docs/reference/metrics.md", metrics);
});

// The titles of a test file as patterns: what a loop puts into one is a group.
function titlesOf(file, text) {
  if (file.endsWith(".cc")) {
    return [...text.matchAll(/^TEST(?:_[FP])?\((\w+), (\w+)\)/gm)].map((m) => new RegExp(`^${m[1]}\\.${m[2]}$`));
  }
  const quote = (part) => part.replace(/\\(.)/g, "$1").replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const titles = text.matchAll(/\btest\(\s*(?:"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/g);
  return [...titles].map(([, plain, template]) => {
    const parts = plain === undefined ? template.split(/\$\{[^}]*\}/) : [plain];
    return new RegExp(`^${parts.map(quote).join("(.*)")}$`);
  });
}

test("every test that docs/internals/testing.md names is there", () => {
  const rows = [...read("docs/internals/testing.md").matchAll(/^\| ([^|]+) \| ([^|]+) \| `((?:test|src)\/[^`*]+\.(?:mjs|cc))` \|$/gm)];
  assert.ok(rows.length >= 70, `only ${rows.length} rows were found`);
  for (const [, noun, title, file] of rows) {
    const text = read(file);
    const found = titlesOf(file, text).map((pattern) => pattern.exec(title)).find(Boolean);
    assert.ok(found, `${noun}: no test "${title}" in ${file}`);
    for (const own of found.slice(1)) {
      assert.ok(own.startsWith("${") || text.includes(own), `${noun}: no case "${own}" in ${file}`);
    }
  }
});
