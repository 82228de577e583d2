// The seller's API behind the gateway: remembers every request it got, answers what it is told to.
import http from "node:http";

// `handler(req, res, body)` answers; the default says {"path", "n"} with n counting from 1. Each entry of
// `requests` has method, url, headers (lower case), rawHeaders and body (a Buffer).
export async function startUpstream(handler) {
  const requests = [];
  const plain = (req, res) => {
    res.setHeader("content-type", "application/json");
    res.end(JSON.stringify({ path: req.url, n: requests.length }));
  };
  const server = http.createServer(async (req, res) => {
    const chunks = [];
    try {
      for await (const chunk of req) chunks.push(chunk);
    } catch {
      return; // The gateway hung up in the middle of the request.
    }
    const body = Buffer.concat(chunks);
    const { method, url, headers, rawHeaders } = req;
    requests.push({ method, url, headers, rawHeaders, body });
    await (handler ?? plain)(req, res, body);
  });
  server.keepAliveTimeout = 30_000;
  await new Promise((resolve, reject) =>
    server.listen(0, "127.0.0.1", resolve).once("error", reject),
  );
  const { port } = server.address();
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    requests,
    count: (path) => requests.filter((r) => !path || r.url.split("?")[0] === path).length,
    stop: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  };
}
