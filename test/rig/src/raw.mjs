// Bytes over a socket, for what no HTTP client would send.
import net from "node:net";

const kPause = 60;

// Sends `pieces` (one string or Buffer, or a list with a pause between them) and reads until the server
// closes, `until(text)` says enough, or `withinMs` is over. Returns {text, statuses, closed}.
export function talk(url, pieces, { withinMs = 2_000, half = false, cut = false, until } = {}) {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = net.connect({ host: hostname, port: Number(port), allowHalfOpen: true });
    let text = "";
    const finish = (closed) => {
      clearTimeout(late);
      socket.destroy();
      const statuses = [...text.matchAll(/(?:^|\r\n|[^\r\n])HTTP\/1\.[01] (\d{3})/g)].map((m) => Number(m[1]));
      resolve({ text, statuses, closed });
    };
    const late = setTimeout(() => finish(false), withinMs);
    socket.on("data", (data) => {
      text += data.toString("latin1");
      if (until?.(text)) finish(false);
    });
    socket.on("end", () => finish(true));
    socket.on("error", () => finish(true));
    socket.on("connect", async () => {
      for (const piece of [pieces].flat()) {
        if (socket.destroyed) return;
        socket.write(piece);
        await new Promise((next) => setTimeout(next, Array.isArray(pieces) ? kPause : 0));
      }
      if (half) socket.end();
      if (cut) finish(false);
    });
  });
}

// The text of a request: `headers` is a list of lines.
export function request(line, headers = [], body = "") {
  return [`${line} HTTP/1.1`, "Host: shop.example", ...headers, "", body].join("\r\n");
}

// One whole answer is there: its head and as many bytes as it announced.
export function whole(text) {
  const at = text.indexOf("\r\n\r\n");
  if (at < 0) return false;
  const length = /content-length: (\d+)/i.exec(text.slice(0, at));
  return length ? text.length >= at + 4 + Number(length[1]) : text.endsWith("0\r\n\r\n");
}

// A server that speaks bytes: `onRequest(socket, head, nth)` runs for each request head that ends on a
// connection (bodies are not looked at), nth counting from 1 on each connection. Returns {url, port,
// sockets (all ever accepted), heads, stop}.
export async function startRawServer(onRequest) {
  const own = { sockets: [], heads: [], onRequest };
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    own.sockets.push(socket);
    let text = "";
    let nth = 0;
    socket.on("error", () => socket.destroy());
    socket.on("end", () => socket.end());
    socket.on("data", (data) => {
      text += data.toString("latin1");
      for (let at = text.indexOf("\r\n\r\n"); at >= 0; at = text.indexOf("\r\n\r\n")) {
        const head = text.slice(0, at);
        text = text.slice(at + 4);
        own.heads.push(head);
        own.onRequest(socket, head, (nth += 1));
      }
    });
  });
  await new Promise((resolve, reject) => server.listen(0, "127.0.0.1", resolve).once("error", reject));
  own.port = server.address().port;
  own.url = `http://127.0.0.1:${own.port}`;
  own.stop = () =>
    new Promise((resolve) => {
      server.close(resolve);
      for (const socket of own.sockets) socket.destroy();
    });
  return own;
}
