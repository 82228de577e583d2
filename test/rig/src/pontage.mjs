// The program under test as its users run it: one process, one pontage.toml, on ports the system picks.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import * as config from "./config.mjs";

const kRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
export const binary = () => process.env.PTG_BIN ?? path.join(kRoot, "build/pontage");

// A configuration that sells `routes` (TOML text, upstream "api") on the rig's chain, settled in process.
// What is not said has the defaults of the product. `sections` is added at the end.
export function sellerConfig({ rpc, upstream, routes, store = "sqlite:pontage.db", server = "", x402 = "", sections = "" }) {
  return `
[server]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
${server}
[store]
url = "${store}"
[x402]
${x402}
[x402.pay_to]
"${config.EVM_NETWORK_V1}" = "${config.evmAddress("payee")}"
[chain."${config.EVM_NETWORK_V1}"]
rpc = ["${rpc}"]
signer = "env:PONTAGE_EVM_KEY"
[[upstream]]
name = "api"
url = "${upstream}"
${routes}
${sections}`;
}

// Runs `pontage ARGS…` to its end. Returns {code, signal, stdout, stderr}.
export async function run(args, { env = {}, cwd, withinMs = 60_000 } = {}) {
  const child = spawn(binary(), args, { cwd, env: environment(env), stdio: ["ignore", "pipe", "pipe"] });
  const out = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].on("data", (data) => (out[name] += data));
  const late = setTimeout(() => child.kill("SIGKILL"), withinMs);
  const [code, signal] = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (...how) => resolve(how));
  });
  clearTimeout(late);
  return { code, signal, ...out };
}

function environment(extra) {
  const { PATH, HOME, LANG, ASAN_OPTIONS, TSAN_OPTIONS, UBSAN_OPTIONS } = process.env;
  const given = { PATH, HOME, LANG, ASAN_OPTIONS, TSAN_OPTIONS, UBSAN_OPTIONS, ...extra };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

// Starts `pontage serve` with `toml` in a folder of its own (or in `dir`, to start again on the same
// store) and waits for its "server.listening" line. Returns {url, metricsUrl, pid, dir, file, lines,
// events(name), stop(), kill(), exited}; stop and kill resolve to {code, signal}. A folder made here is
// removed by stop, not by kill.
export async function startPontage(toml, { dir, env = {}, args = [], withinMs = 20_000 } = {}) {
  const own = !dir;
  const home = dir ?? fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
  const file = path.join(home, "pontage.toml");
  fs.writeFileSync(file, toml);
  const child = spawn(binary(), ["serve", "--config", file, ...args], {
    cwd: home,
    env: environment({ PONTAGE_EVM_KEY: config.evmKey("facilitator"), ...env }),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const abandon = () => child.kill("SIGKILL");
  process.once("exit", abandon);
  const lines = [];
  const exited = new Promise((resolve) => {
    child.once("close", (code, signal) => {
      process.removeListener("exit", abandon);
      resolve({ code, signal });
    });
  });
  const addresses = {};
  await new Promise((resolve, reject) => {
    const fail = (why) => {
      abandon();
      reject(new Error(`pontage serve ${why}\n${lines.join("\n")}`));
    };
    const late = setTimeout(() => fail(`did not listen within ${withinMs} ms`), withinMs);
    child.once("error", (error) => fail(error.message));
    exited.then(({ code, signal }) => {
      clearTimeout(late);
      fail(`ended with ${code ?? signal}`);
    });
    for (const stream of [child.stdout, child.stderr]) {
      readline.createInterface({ input: stream }).on("line", (line) => {
        lines.push(line);
        const said = parse(line);
        if (said?.event !== "server.listening") return;
        addresses[said.listener ?? "main"] ??= said.url;
        if (addresses.main) {
          clearTimeout(late);
          resolve();
        }
      });
    }
  });
  const end = (signal) => async () => {
    child.kill(signal);
    const how = await exited;
    if (own && signal === "SIGTERM") fs.rmSync(home, { recursive: true, force: true });
    return how;
  };
  return {
    url: addresses.main,
    get metricsUrl() {
      return addresses.metrics;
    },
    pid: child.pid,
    dir: home,
    file,
    lines,
    events: (name) => lines.map(parse).filter((said) => said?.event === name),
    exited,
    stop: end("SIGTERM"),
    kill: end("SIGKILL"),
  };
}

function parse(line) {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
