// HTTP/2 frames by hand, for what no HTTP/2 client would send.
import fs from "node:fs";
import tls from "node:tls";

export const kTypes = { data: 0, headers: 1, priority: 2, reset: 3, settings: 4, ping: 6, goaway: 7, window: 8, continuation: 9 };
export const kErrors = { none: 0, protocol: 1, internal: 2, refused: 7, cancel: 8, calm: 11 };
const kPreface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const kEndStream = 1;
const kEndHeaders = 4;

export function frame(type, flags, stream, payload = Buffer.alloc(0)) {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function prefixed(text) {
  const bytes = Buffer.from(text, "latin1");
  const size = [];
  if (bytes.length < 127) {
    size.push(bytes.length);
  } else {
    size.push(127);
    let rest = bytes.length - 127;
    for (; rest >= 128; rest >>= 7) size.push((rest & 127) | 128);
    size.push(rest);
  }
  return Buffer.concat([Buffer.from(size), bytes]);
}

// Each pair as a literal that is not indexed.
export const block = (pairs) =>
  Buffer.concat(pairs.flatMap(([name, value]) => [Buffer.from([0]), prefixed(name), prefixed(value)]));
export const requestOf = (path = "/free/x", more = [], method = "GET") => [
  [":method", method],
  [":scheme", "https"],
  [":authority", "shop.example"],
  [":path", path],
  ...more,
];
export const headers = (stream, pairs, { end = true, endHeaders = true } = {}) =>
  frame(kTypes.headers, (end ? kEndStream : 0) | (endHeaders ? kEndHeaders : 0), stream, block(pairs));
export const settings = (...pairs) =>
  frame(kTypes.settings, 0, 0, Buffer.concat(pairs.map(([id, value]) => {
    const entry = Buffer.alloc(6);
    entry.writeUInt16BE(id, 0);
    entry.writeUInt32BE(value, 2);
    return entry;
  })));
const number = (value) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
export const reset = (stream, code = kErrors.cancel) => frame(kTypes.reset, 0, stream, number(code));
export const window = (stream, count) => frame(kTypes.window, 0, stream, number(count));
export const ping = () => frame(kTypes.ping, 0, 0, Buffer.alloc(8, 1));

// A connection that has said its preface: {send, frames (all that came), closed, until(test), end}.
export async function connect(url, ca, first = settings()) {
  const { port } = new URL(url);
  const own = { frames: [], closed: false };
  const socket = tls.connect({
    host: "127.0.0.1",
    port: Number(port),
    servername: "localhost",
    ca: fs.readFileSync(ca),
    ALPNProtocols: ["h2"],
  });
  await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
  let bytes = Buffer.alloc(0);
  const waiting = new Set();
  const tell = () => waiting.forEach((look) => look());
  socket.on("data", (data) => {
    bytes = Buffer.concat([bytes, data]);
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const size = bytes.readUIntBE(0, 3);
      own.frames.push({ type: bytes[3], flags: bytes[4], stream: bytes.readUInt32BE(5), payload: bytes.subarray(9, 9 + size) });
      bytes = bytes.subarray(9 + size);
    }
    tell();
  });
  const gone = () => {
    own.closed = true;
    tell();
  };
  socket.on("error", gone);
  socket.on("close", gone);
  socket.on("end", gone);
  own.socket = socket;
  own.send = (...frames) => socket.writable && socket.write(Buffer.concat(frames.flat()));
  own.until = (test, withinMs = 10_000) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = test(own);
        if (!found) return;
        clearTimeout(late);
        waiting.delete(look);
        resolve(found);
      };
      const late = setTimeout(() => {
        waiting.delete(look);
        reject(new Error(`not within ${withinMs} ms; came: ${own.frames.map((f) => `${f.type}/${f.stream}`).join(" ")}`));
      }, withinMs);
      waiting.add(look);
      look();
    });
  // How the connection was ended: GOAWAY's code, or "closed" without one.
  own.verdict = () =>
    own.until(() => {
      const goaway = own.frames.find((f) => f.type === kTypes.goaway);
      if (goaway) return { code: goaway.payload.readUInt32BE(4) };
      return own.closed && { code: "closed" };
    });
  // What became of a stream: {status} of an answer's first byte of HPACK, or {reset}.
  own.fate = (stream) =>
    own.until(() => {
      const mine = own.frames.filter((f) => f.stream === stream);
      const broken = mine.find((f) => f.type === kTypes.reset);
      if (broken) return { reset: broken.payload.readUInt32BE(0) };
      const answer = mine.find((f) => f.type === kTypes.headers);
      return answer && { status: statusOf(answer.payload) };
    });
  own.end = () => socket.destroy();
  own.send(kPreface, first);
  return own;
}

// The status stands first in a block: indexed, or a literal that we find by its three digits.
function statusOf(payload) {
  const indexed = { 0x88: 200, 0x89: 204, 0x8a: 206, 0x8b: 304, 0x8c: 400, 0x8d: 404, 0x8e: 500 }[payload[0]];
  if (indexed) return indexed;
  // Digits in HPACK's Huffman code are 5 or 6 bits; three of them are two bytes.
  const code = { 0: "00000", 1: "00001", 2: "00010", 3: "011001", 4: "011010", 5: "011011", 6: "011100", 7: "011101", 8: "011110", 9: "011111" };
  const size = payload[1] & 127;
  const text = payload.subarray(2, 2 + size);
  if (!(payload[1] & 128)) return Number(text.toString());
  const bits = [...text].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  let digits = "";
  let at = 0;
  while (digits.length < 3) {
    const found = Object.entries(code).find(([, word]) => bits.startsWith(word, at));
    if (!found) return undefined;
    digits += found[0];
    at += found[1].length;
  }
  return Number(digits);
}
