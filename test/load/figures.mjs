// What the scripts of this folder share: CPU time of a process, medians, and the one form in which a figure is
// printed: `name  figure  goal  met or missed`.
import fs from "node:fs";

// On-CPU nanoseconds (user and system) of all threads of `pid`, by the scheduler's own count.
export function cpuNs(pid) {
  let total = 0;
  for (const thread of fs.readdirSync(`/proc/${pid}/task`)) {
    total += Number(fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
  }
  return total;
}

// KiB of anonymous memory of `pid`.
export const anonymousKiB = (pid) => Number(/Pss_Anon:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))[1]);

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// Prints one row. `figure` is a number in `unit`; `goal` the most it should be (or, with `atLeast`, the least);
// `detail` what it was computed from.
export function row(name, figure, unit, goal, { atLeast = false, detail = "" } = {}) {
  const met = goal === undefined ? "" : (atLeast ? figure >= goal : figure <= goal) ? "met" : "missed";
  const wanted = goal === undefined ? "" : `goal ${atLeast ? ">=" : "<="} ${goal}`;
  const shown = Math.abs(figure) >= 100 ? figure.toFixed(0) : figure.toFixed(2);
  console.log(`${name.padEnd(44)} ${`${shown} ${unit}`.padEnd(18)} ${wanted.padEnd(14)} ${met.padEnd(7)} ${detail}`.trimEnd());
}
