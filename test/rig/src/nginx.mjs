// A real nginx, on a port of its own and as nobody in particular, with a site file of ours.
import { execFileSync, spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const kNobody = 65534;

// A port for who has to know it before he listens, and comes back to it. Not one that the system gives to whoever asks
// for any: somebody else would have it while its owner is away.
export async function freePort() {
  for (;;) {
    const port = 12_000 + crypto.randomInt(20_000);
    const server = net.createServer();
    const free = await new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false)));
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

async function connects(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("close", () => socket.destroy());
  });
}

// Starts nginx with `site` (the text of a file for the http block, listening on `port`). Returns {url,
// pid, stop(), errors()}; errors is what it wrote into its log. With nearly all of its `connections` in use it closes
// kept-alive ones, whatever is on its way to them.
export async function startNginx(site, port, { connections = 512 } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-nginx-"));
  const scratch = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${dir}/${name};`);
  const log = path.join(dir, "error.log");
  fs.writeFileSync(path.join(dir, "site.conf"), site);
  fs.writeFileSync(
    path.join(dir, "nginx.conf"),
    `daemon off;
worker_processes 1;
pid ${dir}/nginx.pid;
error_log ${log} info;
events { worker_connections ${connections}; }
http {
    access_log off;
    ${scratch.join("\n    ")}
    include ${dir}/site.conf;
}
`,
  );
  const root = process.getuid() === 0;
  const as = root ? { uid: kNobody, gid: kNobody } : {};
  if (root) {
    fs.chownSync(dir, kNobody, kNobody);
    fs.chmodSync(dir, 0o755);
  }
  const binary = fs.existsSync("/usr/sbin/nginx") ? "/usr/sbin/nginx" : execFileSync("which", ["nginx"]).toString().trim();
  const child = spawn(binary, ["-c", path.join(dir, "nginx.conf"), "-p", dir, "-e", log], {
    ...as,
    cwd: dir,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
  const abandon = () => child.kill("SIGKILL");
  process.once("exit", abandon);
  const exited = new Promise((resolve) => child.once("close", resolve));
  const errors = () => (fs.existsSync(log) ? fs.readFileSync(log, "utf8") : said);
  const late = Date.now() + 10_000;
  while (!(await connects(port))) {
    if (child.exitCode !== null || Date.now() > late) {
      child.kill("SIGKILL");
      throw new Error(`nginx did not start: ${said}\n${errors()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    url: `http://127.0.0.1:${port}`,
    pid: child.pid,
    errors,
    stop: async () => {
      child.kill("SIGTERM");
      await exited;
      process.removeListener("exit", abandon);
      fs.rmSync(dir, { recursive: true, force: true });
    },
  };
}
