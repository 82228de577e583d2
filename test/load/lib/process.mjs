// The gateway as a load needs it: its log boiled down on the way, and what the system knows of the process.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { evmKey } from "../../rig/src/config.mjs";
import { binary } from "../../rig/src/pontage.mjs";
import { until } from "../../rig/src/rig.mjs";

// Starts `pontage serve` on `toml` in `dir`. Thousands of log lines a second go to a grep that keeps warnings and
// errors, in dir/log: reading them here would be the largest part of the load. {pid, file, log, exited, stop}
export async function startQuiet(toml, { dir, metrics }) {
  const file = path.join(dir, "pontage.toml");
  const log = path.join(dir, "log");
  fs.writeFileSync(file, toml);
  const sieve = spawn("grep", ["--line-buffered", "-E", '"level":"(warn|error)"|^[^{]'], {
    stdio: ["pipe", fs.openSync(log, "w"), "inherit"],
  });
  const { PATH, HOME } = process.env;
  const child = spawn(binary(), ["serve", "--config", file], {
    cwd: dir,
    env: { PATH, HOME, PONTAGE_EVM_KEY: evmKey("facilitator") },
    stdio: ["ignore", "ignore", sieve.stdin],
  });
  sieve.stdin.destroy(); // the gateway has it now
  const abandon = () => child.kill("SIGKILL");
  process.once("exit", abandon);
  const own = { pid: child.pid, file, log, ended: undefined };
  own.exited = new Promise((resolve) => {
    child.once("close", (code, signal) => {
      process.removeListener("exit", abandon);
      own.ended = { code, signal };
      resolve(own.ended);
    });
  });
  own.stop = () => {
    child.kill("SIGTERM");
    return own.exited;
  };
  const ready = async () => {
    if (own.ended) throw new Error(`pontage ended with ${own.ended.code}\n${fs.readFileSync(log)}`);
    const answer = await fetch(`${metrics}/readyz`).catch(() => undefined);
    return answer?.status === 200;
  };
  await until(ready, { withinMs: 20_000, label: "/readyz" });
  return own;
}

// Private memory of a process in bytes: what it alone holds, without the pages of files.
export function privateBytes(pid) {
  const text = fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const of = (name) => Number(new RegExp(`^${name}: +(\\d+)`, "m").exec(text)[1]) * 1024;
  return of("Private_Clean") + of("Private_Dirty");
}

export const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;

// How many descriptors of each kind: {socket: 3, "pontage.db": 2, …}.
export function descriptorKinds(pid) {
  const kinds = {};
  for (const fd of fs.readdirSync(`/proc/${pid}/fd`)) {
    let name = "gone";
    try {
      name = path.basename(fs.readlinkSync(`/proc/${pid}/fd/${fd}`)).replace(/\[\d+\]/, "");
    } catch {
      // Closed while we looked.
    }
    kinds[name] = (kinds[name] ?? 0) + 1;
  }
  return kinds;
}

// Seconds of a core that the process has used.
export function cpuSeconds(pid) {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

// Busy seconds of the whole machine.
export function machineSeconds() {
  const [, user, nice, system, , , irq, soft] = fs.readFileSync("/proc/stat", "utf8").split("\n")[0].split(/ +/);
  return [user, nice, system, irq, soft].map(Number).reduce((a, b) => a + b) / 100;
}

// Rows of the books that are not finished, as /metrics says: {held, in_doubt, owed, broken}.
export async function openRows(metrics) {
  const text = await (await fetch(`${metrics}/metrics`)).text();
  const found = text.matchAll(/^pontage_reservations\{state="(\w+)"\} (\d+)/gm);
  return Object.fromEntries([...found].map(([, state, count]) => [state, Number(count)]));
}
