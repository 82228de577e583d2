// A long run at 70 % of what this machine sustains, while everything around the gateway fails in turn: reloads, its
// upstream away, the chain's node refusing or silent, rude clients. Holds at the end that memory is flat, that no
// descriptor is left, that every answer outside an outage was the right one, and that answers, books and chain
// agree about each single payment. Exits 1 when something does not hold. Needs build/pontage or PTG_BIN.
//   ./dev soak [MINUTES [--rate N] [--share 0.7] [--keep] …]
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { WebSocket } from "ws";
import { httpsGet } from "../rig/src/certs.mjs";
import { decode } from "../rig/src/pay.mjs";
import * as rig from "../rig/src/rig.mjs";
import { audit, ChainWatch, Signer } from "./lib/buyers.mjs";
import { beRude, Pool, requestText, Sessions } from "./lib/clients.mjs";
import * as proc from "./lib/process.mjs";
import { surround } from "./lib/surroundings.mjs";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    share: { type: "string", default: "0.7" }, // of the saturated rate
    saturate: { type: "string", default: "20" }, // seconds
    rate: { type: "string" }, // requests a second instead, for a machine that has other work
    cycle: { type: "string", default: "60" }, // seconds from one reload to the next
    keep: { type: "boolean", default: false }, // the folder with the books and the log
  },
});
const kMinutes = Number(values.minutes);
const kPayers = 20;
const kOutstandingPaid = 500; // held back until their block: half of what the ledger takes at once
const kTickMs = 2;
// What 100 requests are. Paid ones cost the chain and this machine's signing most, so there are few.
const kMix = { free: 55, free_h2: 20, unpaid: 15, unpaid_h2: 9, paid: 1 };
// Answers that are late because of an outage: a block and the gateway's own patience, not the buyer's.
const kGraceMs = { cheap: 3_000, paid: 20_000 };
// Memory and descriptors at the end.
const kFlat = { share: 0.03, bytes: 2 << 20 };
const kLookMs = 10_000;
const kLooksAMinute = 60_000 / kLookMs;
// Of the requests that were due, those that found every connection busy; more, and it was no 70 %.
const kMissed = 0.01;
// Of the answers outside outages, those that were honest refusals (503, nobody charged): a machine that hangs for
// seconds makes calls late.
const kRefused = 0.001;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
const said = (text) => console.log(text);

// ------------------------------------------------------------------------------------ the load

const kServedAtOnce = Object.freeze({ served: 1, answers: Object.freeze(["200"]) });

// What went out and what came of it; knows which answers an outage excuses.
class Load {
  constructor(around, signer) {
    this.at = { port: around.ports.main, ca: around.ca };
    this.signer = signer;
    this.h1 = new Pool({ ...this.at, most: 200 });
    this.h2 = new Sessions({ ...this.at, most: 8 });
    this.till = new Pool({ ...this.at, most: kOutstandingPaid, reasons: true });
    this.free = requestText("/free/x");
    this.unpaid = requestText("/paid/x");
    this.sent = Object.fromEntries(Object.keys(kMix).map((kind) => [kind, 0]));
    this.total = 0;
    this.done = 0;
    this.open = 0;
    this.shed = {}; // not sent, by kind
    this.shedQuietly = {}; // the same within outages
    this.tally = {};
    this.outages = [];
    this.wrong = { count: 0, first: [] };
    this.refused = { count: 0, first: [] };
    this.shown = new Map();
    this.again = [];
    this.slowest = 0;
  }
  // The next request of the mix. False when it could not go out because everything is busy.
  send(kind = this.#next()) {
    const text = { free: this.free, unpaid: this.unpaid }[kind];
    if (kind === "paid") return this.#pay();
    const began = Date.now();
    const answer = text ? this.h1.ask(text) : this.h2.ask(kind === "free_h2" ? "/free/x" : "/paid/x");
    if (!answer) return false;
    this.#watch(kind, answer, began, kind.startsWith("free") ? 200 : 402);
    return true;
  }
  #next() {
    this.total += 1;
    let best = "free";
    let most = -Infinity;
    for (const [kind, weight] of Object.entries(kMix)) {
      const behind = (this.total * weight) / 100 - this.sent[kind];
      if (behind > most) [best, most] = [kind, behind];
    }
    this.sent[best] += 1;
    return best;
  }
  #pay() {
    const payment = this.signer.take();
    if (!payment) return false;
    const text = requestText("/paid/x", payment.headers);
    return this.#present({ ...payment, text, tries: 0 });
  }
  #present(payment) {
    const answer = this.till.ask(payment.text);
    if (!answer) return false;
    const seen = this.shown.get(payment.nonce) ?? { served: 0, answers: [] };
    this.shown.set(payment.nonce, seen);
    payment.tries += 1;
    const excused = payment.tries > 1; // what an outage began
    this.#watch(payment.tries > 1 ? "again" : "paid", answer, Date.now(), 200, excused, (status) => {
      if (status === 200) seen.served += 1;
      // What nearly all end as is one thing for all of them: a heap that grows is pauses of the load's.
      if (status === 200 && payment.tries === 1) return this.shown.set(payment.nonce, kServedAtOnce);
      const refused = String(status).startsWith("402");
      seen.answers.push(`${new Date().toISOString().slice(11, 19)} ${status}`);
      // A buyer shows the same payment again until it is served, refused for good, or can no longer be used.
      if (status === 200 || (refused && payment.tries > 1) || Date.now() > payment.until + 60_000) return;
      payment.next = Date.now() + 3_000;
      this.again.push(payment);
    });
    return true;
  }
  #watch(kind, answer, began, wanted, excused = false, then = () => {}) {
    this.open += 1;
    const end = (result) => {
      this.open -= 1;
      this.done += 1;
      const now = Date.now();
      const key = `${kind} ${result}`;
      this.tally[key] = (this.tally[key] ?? 0) + 1;
      const paid = kind === "paid" || kind === "again";
      if (!paid) this.slowest = Math.max(this.slowest, now - began);
      if (result !== wanted && !excused && !this.#inOutage(paid, began, now)) {
        const list = String(result).startsWith("503 ") ? this.refused : this.wrong;
        list.count += 1;
        if (list.first.length < 20) list.first.push(`${kind} at ${new Date(began).toISOString()}: ${result} after ${now - began} ms`);
      }
      then(result);
    };
    answer.then(end, (error) => end(error.message));
  }
  #inOutage(paid, from, to) {
    return this.outages.some(
      (one) => (paid || one.cheap) && from <= one.to + (paid ? kGraceMs.paid : kGraceMs.cheap) && to >= one.from,
    );
  }
  // Runs `work` as an outage; `cheap` when it also takes away what is not paid for.
  async outage(cheap, work) {
    const one = { from: Date.now(), to: Infinity, cheap };
    this.outages.push(one);
    await work();
    one.to = Date.now();
  }
  // Shows again what is due.
  insist() {
    const now = Date.now(); // once: who became due between two looks at it would be forgotten
    const due = this.again.filter((one) => one.next <= now);
    this.again = this.again.filter((one) => one.next > now);
    for (const one of due) if (!this.#present(one)) this.again.push(one);
  }
  // As fast as it goes with `most` cheap requests at once; returns requests per second of the second half.
  async saturate(seconds, most = 96) {
    const end = Date.now() + seconds * 1000;
    const half = { at: Date.now() + seconds * 500, done: 0 };
    while (Date.now() < end) {
      while (this.open - this.till.busy < most && this.till.busy < kOutstandingPaid) if (!this.send()) break;
      if (!half.done && Date.now() > half.at) Object.assign(half, { done: this.done, at: Date.now() });
      await new Promise(setImmediate);
    }
    return ((this.done - half.done) * 1000) / (Date.now() - half.at);
  }
  // `rate` requests a second whatever comes of them, until `end()` of the result.
  hold(rate) {
    const began = Date.now();
    let sent = 0;
    const tick = setInterval(() => {
      // What fell behind while this process was busy is made up for over some ticks, not in one burst.
      const due = Math.min(((Date.now() - began) * rate) / 1000, sent + (kTickMs * rate * 4) / 1000);
      for (; sent < due; sent += 1) {
        const kind = this.#next();
        if (this.send(kind)) continue;
        const now = Date.now();
        const missed = this.#inOutage(kind === "paid", now, now) ? this.shedQuietly : this.shed;
        missed[kind] = (missed[kind] ?? 0) + 1;
      }
    }, kTickMs);
    const insist = setInterval(() => this.insist(), 500);
    return { end: () => clearInterval(tick), endInsisting: () => clearInterval(insist) };
  }
  end() {
    return Promise.all([this.h1.end(), this.h2.end(), this.till.end(), this.signer.end()]);
  }
}

// WebSockets that send every second and open again when they are closed. `echoed` counts.
function holdSockets(around, count) {
  const own = { echoed: 0, ended: false, all: new Set() };
  const open = () => {
    if (own.ended) return;
    const socket = new WebSocket(`wss://localhost:${around.ports.main}/socket`, { ca: around.ca });
    own.all.add(socket);
    const timer = setInterval(() => socket.readyState === WebSocket.OPEN && socket.send("x".repeat(500)), 1000);
    const leave = setTimeout(() => socket.close(), 45_000);
    socket.on("message", () => (own.echoed += 1));
    socket.on("error", () => {});
    socket.on("close", () => {
      clearInterval(timer);
      clearTimeout(leave);
      own.all.delete(socket);
      setTimeout(open, 1000);
    });
  };
  for (let i = 0; i < count; i += 1) open();
  own.end = () => {
    own.ended = true;
    for (const socket of own.all) socket.terminate();
  };
  return own;
}

// ------------------------------------------------------------------------------------ the run

// One minute of trouble, over and over until `until`: a reload, the upstreams away, the chain's node away.
async function trouble(around, gateway, load, until) {
  const cycle = Number(values.cycle) * 1000;
  const counts = { reloads: 0, flaps: 0, refusals: 0, silences: 0 };
  const pause = (ms) => sleep(Math.max(0, Math.min(ms, until - Date.now())));
  const over = () => Date.now() >= until || gateway.ended;
  for (let n = 1; !over(); n += 1) {
    const began = Date.now();
    await pause(cycle * 0.15);
    if (over()) break;
    fs.writeFileSync(gateway.file, around.toml(n));
    process.kill(gateway.pid, "SIGHUP");
    counts.reloads += 1;
    await pause(cycle * 0.15);
    if (over()) break;
    await load.outage(true, () => around.flap(n % 3 === 0 ? 500 : 5_000));
    counts.flaps += 1;
    await pause(cycle * 0.3 - 5_000);
    if (over()) break;
    const mode = n % 2 ? "refuse" : "silent";
    await load.outage(false, async () => {
      around.wire.set(mode);
      await sleep(6_000);
      around.wire.set("pass");
    });
    counts[n % 2 ? "refusals" : "silences"] += 1;
    await pause(began + cycle - Date.now());
  }
  return counts;
}

const mib = (bytes) => (bytes / (1 << 20)).toFixed(1);

// Looks at the process every ten seconds and says so every minute.
function watch(around, gateway, load, watcher) {
  const samples = [];
  const used = () => ({ at: Date.now(), cpu: proc.cpuSeconds(gateway.pid), node: proc.cpuSeconds(around.chain.pid), machine: proc.machineSeconds(), done: load.done });
  let last = used();
  said("  min   req/s  gateway %  node %  machine %  private MiB   fds   held  doubt   owed  paid     slowest ms");
  const look = async () => {
    if (gateway.ended) return;
    await watcher.read();
    const rows = await proc.openRows(around.metrics).catch(() => ({}));
    const now = used();
    samples.push({ at: now.at, memory: proc.privateBytes(gateway.pid), fds: proc.descriptors(gateway.pid), ...rows });
    if (samples.length % kLooksAMinute !== 0) return;
    const seconds = (now.at - last.at) / 1000;
    const { memory, fds } = samples.at(-1);
    const cells = [
      [samples.length / kLooksAMinute, 5],
      [Math.round((now.done - last.done) / seconds), 7],
      [Math.round(((now.cpu - last.cpu) * 100) / seconds), 10],
      [Math.round(((now.node - last.node) * 100) / seconds), 7],
      [Math.round(((now.machine - last.machine) * 100) / seconds / os.cpus().length), 10],
      [mib(memory), 12],
      [fds, 5],
      [rows.held ?? "-", 6],
      [rows.in_doubt ?? "-", 6],
      [rows.owed ?? "-", 6],
      [watcher.used.size, 7],
      [load.slowest, 11],
    ];
    said(cells.map(([value, width]) => String(value).padStart(width)).join(" "));
    load.slowest = 0;
    last = now;
  };
  const timer = setInterval(() => look().catch((error) => said(`  (a sample failed: ${error.message})`)), kLookMs);
  return { samples, end: () => clearInterval(timer) };
}

// Whether `what()` became true within `ms`.
const within = (ms, what) =>
  rig.until(what, { withinMs: ms, everyMs: 500 }).then(
    () => true,
    () => false,
  );

// What the process keeps, by the third of the run: the least of each minute, in which it gives back once what bursts
// left, and of these the median. What a burst holds while it lasts says how long what is asked waits, not what leaks.
function keptByThirds(samples) {
  const minutes = [];
  for (let at = 0; at < samples.length; at += kLooksAMinute) {
    minutes.push(Math.min(...samples.slice(at, at + kLooksAMinute).map((s) => s.memory)));
  }
  return [0, 1, 2].map((n) => median(minutes.slice((minutes.length * n) / 3, (minutes.length * (n + 1)) / 3)));
}

// [{what, bar, found, ok}] of what must hold.
function judge({ samples, load, books, gateway, before, after, counts, settled }) {
  const [first, second, last] = keptByThirds(samples);
  const bound = second + Math.max(second * kFlat.share, kFlat.bytes);
  const rows = [];
  const hold = (what, bar, found, ok) => rows.push({ what, bar, found, ok });
  hold("memory kept, by thirds of the run", `at most ${mib(bound)} MiB in the last`, [first, second, last].map(mib).join(" -> ") + " MiB", last <= bound);
  hold("descriptors when all have left", `${before} as at the start`, `${after}`, after <= before);
  hold("wrong answers outside outages", "0", `${load.wrong.count}`, load.wrong.count === 0);
  hold("refused with 503 outside outages", `below ${kRefused * 100} % of ${load.done}`, `${load.refused.count}`, load.refused.count < load.done * kRefused);
  const sent = Object.values(load.sent).reduce((a, b) => a + b);
  const missed = Object.values(load.shed).reduce((a, b) => a + b, 0);
  hold("requests not sent for want of a connection", `below ${kMissed * 100} % of ${sent}`, JSON.stringify(load.shed), missed < sent * kMissed);
  const served = [...load.shown.values()].filter((one) => one.served > 0).length;
  hold("answers, books and chain disagree", "about no payment", `${books.wrong.length}`, books.wrong.length === 0);
  hold("buyers who know what became of their payment", "all within 400 s", `${load.shown.size - load.again.length - load.open}`, settled.buyers);
  hold("rows of the books that are open at the end", "none after 120 s", settled.rows ? "none" : "some", settled.rows);
  hold("payments served", "some", `${served} of ${load.shown.size} shown`, served > 0);
  hold("reloads, outages of upstream and node", "each", Object.values(counts).join(" "), kMinutes < 3 || Object.values(counts).every((n) => n > 0));
  hold("the process", "ends when told, with 0", JSON.stringify(gateway.ended), gateway.ended?.code === 0);
  return rows;
}

async function main() {
  const around = await surround({ payers: kPayers, keep: values.keep });
  const gateway = await proc.startQuiet(around.toml(0), { dir: around.dir, metrics: around.metrics });
  gateway.exited.then(({ code, signal }) => said(`pontage ended: ${code ?? signal}`));
  const store = path.join(around.dir, "pontage.db");
  const offers = await offersOver(around);
  const signer = new Signer(offers, kPayers);
  const watcher = new ChainWatch(around.chain.rpc, Number(await rig.rpcCall(around.chain.rpc, "eth_blockNumber")));
  const load = new Load(around, signer);
  const before = proc.descriptors(gateway.pid);
  try {
    await rig.until(() => signer.stock.length > 100, { withinMs: 60_000, label: "payments are signed" });
    const cpu = proc.cpuSeconds(gateway.pid);
    const most = await load.saturate(Number(values.saturate));
    const used = ((proc.cpuSeconds(gateway.pid) - cpu) * 100) / Number(values.saturate);
    const rate = Number(values.rate ?? most * Number(values.share));
    said(`saturated: ${Math.round(most)} requests/s (${JSON.stringify(kMix)} of 100), gateway ${Math.round(used)} % of a core`);
    said(`holding ${Math.round(rate)} requests/s for ${kMinutes} min`);
    await rig.until(() => load.open === 0, { withinMs: 90_000, label: "the saturated load is over" });

    const held = load.hold(rate);
    const sockets = holdSockets(around, 4);
    const rude = setInterval(() => beRude({ ...load.at, path: "/free/x" }), 200);
    const view = watch(around, gateway, load, watcher);
    const counts = await trouble(around, gateway, load, Date.now() + kMinutes * 60_000);

    held.end();
    view.end();
    clearInterval(rude);
    sockets.end();
    if (gateway.ended) throw new Error(`pontage died\n${fs.readFileSync(gateway.log, "utf8").slice(-3000)}`);
    // A payment can be used for five minutes.
    const settled = { buyers: await within(400_000, () => load.open === 0 && load.again.length === 0) };
    held.endInsisting();
    await load.end();
    settled.rows = await within(120_000, async () => {
      const { held: rows, in_doubt: doubt } = await proc.openRows(around.metrics);
      return rows === 0 && doubt === 0;
    });
    // Connections to upstreams and nodes are kept for half a minute.
    await within(60_000, () => proc.descriptors(gateway.pid) <= before);
    const after = proc.descriptors(gateway.pid);
    if (after > before) said(`descriptors left: ${JSON.stringify(proc.descriptorKinds(gateway.pid))}`);
    await gateway.stop();
    await watcher.read();

    const books = audit({ store, shown: load.shown, used: watcher.used });
    report({ load, books, gateway, sockets, store });
    const rows = judge({ samples: view.samples, load, books, gateway, before, after, counts, settled });
    said("");
    for (const { what, bar, found, ok } of rows) said(`${ok ? "ok  " : "FAIL"} ${what.padEnd(44)} ${bar.padEnd(26)} ${found}`);
    process.exitCode = rows.every((row) => row.ok) ? 0 : 1;
  } finally {
    if (!gateway.ended) await gateway.stop();
    await load.end();
    await around.stop();
  }
}

// The offers of /paid/x as both versions have them.
async function offersOver(around) {
  const { headers, text } = await httpsGet(`https://127.0.0.1:${around.ports.main}/paid/x`, { ca: around.authority });
  return { v2: decode(headers["payment-required"]), v1: JSON.parse(text) };
}

function report({ load, books, gateway, sockets, store }) {
  said(`\nanswers: ${Object.entries(load.tally).sort().map(([key, n]) => `${key}: ${n}`).join(", ")}`);
  said(`books: ${books.rows} rows, ${JSON.stringify(books.states)}, ${mib(fs.statSync(store).size)} MiB; WebSocket echoes: ${sockets.echoed}`);
  said(`not sent within outages, for want of a connection: ${JSON.stringify(load.shedQuietly)}`);
  const events = {};
  for (const [, event] of fs.readFileSync(gateway.log, "utf8").matchAll(/"event":"([\w.]+)"/g)) events[event] = (events[event] ?? 0) + 1;
  said(`warnings: ${JSON.stringify(events)}`);
  for (const line of [...load.wrong.first, ...load.refused.first, ...books.wrong.slice(0, 20)]) said(`  ${line}`);
}

await main();
