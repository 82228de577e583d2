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
