// Compiles contracts/*.sol with solc and takes Permit2's runtime code out of an npm package, both
// into <cache>/artifacts.json. Keyed by a hash of everything that goes in: a second call is a read.
//   node test/rig/src/compile.mjs
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
const here = path.dirname(fileURLToPath(import.meta.url));
const contracts = path.join(here, "contracts");
const cacheDir = path.resolve(here, "../../../.tools/rig");
const cacheFile = path.join(cacheDir, "artifacts.json");
// Only one JSON file of it is wanted; installing it would bring 570 packages along.
const kPermit2Package = "@1inch/solidity-utils@6.9.16";
const kPermit2Path = "package/dist/src/permit2.json";

const solFiles = () => fs.readdirSync(contracts).filter((f) => f.endsWith(".sol")).sort();

function inputHash() {
  const hash = createHash("sha256").update(fs.readFileSync(fileURLToPath(import.meta.url)));
  for (const f of solFiles()) hash.update(f).update(fs.readFileSync(path.join(contracts, f)));
  for (const p of ["solc", "@openzeppelin/contracts"]) {
    hash.update(require(`${p}/package.json`).version);
  }
  return hash.digest("hex");
}

function compileContracts() {
  const solc = require("solc");
  const ozRoot = path.dirname(require.resolve("@openzeppelin/contracts/package.json"));
  const kOz = "@openzeppelin/contracts/";
  const find = (p) =>
    p.startsWith(kOz)
      ? { contents: fs.readFileSync(path.join(ozRoot, p.slice(kOz.length)), "utf8") }
      : { error: `not found: ${p}` };
  const sources = Object.fromEntries(
    solFiles().map((f) => [f, { content: fs.readFileSync(path.join(contracts, f), "utf8") }]),
  );
  const settings = {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: "cancun",
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  };
  const input = JSON.stringify({ language: "Solidity", sources, settings });
  const out = JSON.parse(solc.compile(input, { import: find }));
  const errors = (out.errors ?? []).filter((e) => e.severity === "error");
  if (errors.length) throw new Error(errors.map((e) => e.formattedMessage).join("\n"));
  const compiled = {};
  for (const file of Object.keys(sources)) {
    for (const [name, c] of Object.entries(out.contracts[file] ?? {})) {
      if (!c.evm.bytecode.object) continue; // An interface or an abstract contract.
      compiled[name] = {
        abi: c.abi,
        bytecode: `0x${c.evm.bytecode.object}`,
        runtime: `0x${c.evm.deployedBytecode.object}`,
      };
    }
  }
  return compiled;
}

function permit2FromNpm() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-permit2-"));
  try {
    const packed = execFileSync("npm", ["pack", "--silent", kPermit2Package], {
      cwd: dir,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    const tarball = packed.trim().split("\n").pop();
    execFileSync("tar", ["xzf", tarball, kPermit2Path], { cwd: dir });
    return JSON.parse(fs.readFileSync(path.join(dir, kPermit2Path), "utf8")).bytecode;
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

let loaded;

// {RigUSD: {abi, bytecode, runtime}, …, permit2: runtime code}. Compiles when nothing fits is cached.
export function artifacts() {
  if (loaded) return loaded;
  const hash = inputHash();
  if (fs.existsSync(cacheFile)) {
    const cached = JSON.parse(fs.readFileSync(cacheFile, "utf8"));
    if (cached.hash === hash) return (loaded = cached.artifacts);
  }
  loaded = { ...compileContracts(), permit2: permit2FromNpm() };
  fs.mkdirSync(cacheDir, { recursive: true });
  const part = `${cacheFile}.${process.pid}`; // Renamed in one step: test files run side by side.
  fs.writeFileSync(part, JSON.stringify({ hash, artifacts: loaded }));
  fs.renameSync(part, cacheFile);
  return loaded;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const started = Date.now();
  const names = Object.keys(artifacts());
  console.log(`contracts ready in ${Date.now() - started} ms: ${names.join(" ")}`);
}
