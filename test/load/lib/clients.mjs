// Clients that cost little, for loads: HTTP/1.1 and HTTP/2 over TLS, kept alive and now and then closed, and
// rude ones that leave in the middle of everything.
import http2 from "node:http2";
import net from "node:net";
import tls from "node:tls";

const kTurns = 500; // requests on a connection, then the client closes it: accepting and closing is part of the load
const kPatienceMs = 60_000;

export const requestText = (path, headers = {}, method = "GET") =>
  `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("")}\r\n`;

// {status, size, code} of the answer at the start of `bytes` once it is whole: Content-Length or chunks. The code is
// that of a refusal of 500 and above, or why a payment was refused.
function answerIn(bytes) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const head = bytes.latin1Slice(0, end);
  const status = Number(head.slice(9, 12));
  const length = /\r\ncontent-length: *(\d+)/i.exec(head);
  if (length) {
    const size = end + 4 + Number(length[1]);
    if (bytes.length < size) return undefined;
    const pattern = status >= 500 ? /"code": *"(\w+)"/ : status === 402 ? /"error": *"([^"]*)"/ : undefined;
    const code = pattern?.exec(bytes.latin1Slice(end, size))?.[1];
    return { status, size, code };
  }
  if (!/\r\ntransfer-encoding: *chunked/i.test(head)) throw new Error(`an answer without a length: ${head}`);
  const last = bytes.indexOf("0\r\n\r\n", end + 4);
  return last < 0 ? undefined : { status, size: last + 5 };
}

// HTTP/1.1 connections, one request on each at a time, at most `most`.
export class Pool {
  constructor({ port, ca, most, reasons = false }) {
    Object.assign(this, { port, ca, most, reasons, idle: [], all: new Set(), ended: false });
    this.watch = setInterval(() => this.#expire(), 1000);
  }
  // A promise of the answer's status (with its code, "503 upstream_down", and with `reasons` that of a 402 too) that
  // fails when the connection does; undefined when all are busy.
  ask(text) {
    const line = this.idle.pop() ?? (this.all.size < this.most ? this.#open() : undefined);
    if (!line) return undefined;
    line.turns += 1;
    line.since = Date.now();
    const answered = new Promise((resolve, reject) => Object.assign(line, { resolve, reject }));
    line.socket.write(text, "latin1");
    return answered;
  }
  get busy() {
    return this.all.size - this.idle.length;
  }
  async end() {
    this.ended = true;
    clearInterval(this.watch);
    for (const line of this.all) line.socket.destroy();
  }
  #open() {
    const socket = tls.connect({
      host: "127.0.0.1",
      port: this.port,
      servername: "localhost",
      ca: this.ca,
      ALPNProtocols: ["http/1.1"],
    });
    const line = { socket, turns: 0, bytes: undefined };
    this.all.add(line);
    socket.setNoDelay(true);
    socket.on("data", (data) => this.#read(line, data));
    socket.on("error", (error) => this.#gone(line, error.code ?? error.message));
    socket.on("close", () => this.#gone(line, "closed"));
    return line;
  }
  #read(line, data) {
    line.bytes = line.bytes ? Buffer.concat([line.bytes, data]) : data;
    const answer = answerIn(line.bytes);
    if (!answer || !line.resolve) return;
    const { resolve } = line;
    line.resolve = line.reject = undefined;
    line.bytes = line.bytes.length > answer.size ? line.bytes.subarray(answer.size) : undefined;
    if (line.turns >= kTurns) {
      this.all.delete(line);
      line.socket.end();
    } else {
      this.idle.push(line);
    }
    const told = answer.code && (answer.status >= 500 || this.reasons);
    resolve(told ? `${answer.status} ${answer.code}` : answer.status);
  }
  #gone(line, why) {
    line.reject?.(new Error(why));
    line.resolve = line.reject = undefined;
    line.socket.destroy();
    if (!this.all.delete(line)) return;
    const at = this.idle.indexOf(line);
    if (at >= 0) this.idle.splice(at, 1);
  }
  #expire() {
    for (const line of this.all) {
      if (line.reject && Date.now() - line.since > kPatienceMs) this.#gone(line, "no answer");
    }
  }
}

// HTTP/2 sessions with many streams each; the same `ask`, for a path.
export class Sessions {
  constructor({ port, ca, most, streams = 50 }) {
    Object.assign(this, { port, ca, most, streams, all: [], next: 0, ended: false });
  }
  ask(path) {
    const one = this.#pick();
    if (!one) return undefined;
    one.open += 1;
    one.turns += 1;
    if (one.turns >= kTurns) this.#leave(one);
    return new Promise((resolve, reject) => {
      const stream = one.session.request({ ":path": path });
      let status;
      stream.setTimeout(kPatienceMs, () => stream.close());
      stream.on("response", (headers) => (status = headers[":status"]));
      stream.on("error", (error) => reject(error));
      stream.on("close", () => {
        one.open -= 1;
        if (one.leaving && one.open === 0) one.session.close();
        // A stream that was reset has no end, even if it has a status.
        if (status && stream.rstCode === 0) resolve(status);
        else reject(new Error(`stream ended with ${stream.rstCode}`));
      });
      stream.resume();
    });
  }
  async end() {
    this.ended = true;
    for (const one of this.all) one?.session.destroy();
  }
  #pick() {
    for (let turn = 0; turn < this.most; turn += 1) {
      this.next = (this.next + 1) % this.most;
      const one = (this.all[this.next] ??= this.#open(this.next));
      if (one.open < this.streams) return one;
    }
    return undefined;
  }
  #open(at) {
    const session = http2.connect(`https://localhost:${this.port}`, { ca: this.ca, lookup: loopback });
    const one = { session, at, open: 0, turns: 0, leaving: false };
    session.on("error", () => this.#leave(one));
    session.on("close", () => this.#leave(one));
    session.on("goaway", () => this.#leave(one));
    return one;
  }
  #leave(one) {
    if (one.leaving) return;
    one.leaving = true;
    if (this.all[one.at] === one) this.all[one.at] = undefined;
  }
}

const loopback = (name, options, done) =>
  options.all ? done(null, [{ address: "127.0.0.1", family: 4 }]) : done(null, "127.0.0.1", 4);

// One client that leaves in the middle, in another way each time it is called.
let rudeness = 0;
export function beRude({ port, ca, path }) {
  const how = rudeness++ % 6;
  const plain = () => net.connect({ host: "127.0.0.1", port });
  const secure = (protocols = ["http/1.1"]) =>
    tls.connect({ host: "127.0.0.1", port, servername: "localhost", ca, ALPNProtocols: protocols });
  const silent = (socket) => socket.on("error", () => {});
  const leave = (socket, ms) => setTimeout(() => socket.destroy(), ms);
  if (how === 0) {
    // Connects and says nothing.
    const socket = silent(plain());
    leave(socket, 100);
  } else if (how === 1) {
    // Breaks the handshake off.
    const socket = silent(plain());
    socket.write(Buffer.from([22, 3, 1, 2, 0, 1, 0]));
    leave(socket, 50);
  } else if (how === 2) {
    // Half a head.
    const socket = silent(secure());
    socket.write(requestText(path).slice(0, 20));
    leave(socket, 100);
  } else if (how === 3) {
    // Asks and does not wait.
    const socket = silent(secure());
    socket.once("secureConnect", () => {
      socket.write(requestText(path).repeat(3));
      leave(socket, 1);
    });
  } else if (how === 4) {
    // Half a body.
    const socket = silent(secure());
    socket.write(`${requestText(path, { "Content-Length": "100000" }, "POST")}${"x".repeat(5000)}`);
    leave(socket, 100);
  } else {
    // Resets its streams.
    const session = http2.connect(`https://localhost:${port}`, { ca, lookup: loopback });
    session.on("error", () => {});
    for (let i = 0; i < 5; i += 1) {
      const stream = session.request({ ":path": path });
      stream.on("error", () => {});
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
    setTimeout(() => session.destroy(), 100);
  }
}
