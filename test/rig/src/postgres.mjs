// Databases for tests, on the PostgreSQL of PTG_TEST_POSTGRES, and a server of one's own for tests that
// kill it.
import { execFile, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";

const kBin = "/usr/lib/postgresql/15/bin";
const call = promisify(execFile);

// The server that `./dev test` started; a test that needs one fails where there is none.
export function serverUrl() {
  const url = process.env.PTG_TEST_POSTGRES;
  if (!url) throw new Error("PTG_TEST_POSTGRES is not set: ./dev test starts a PostgreSQL and sets it");
  return url;
}

const psqlArgs = (url) => ["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", url];

// Runs SQL at `url`; resolves to its rows, each a list of texts.
export async function sql(url, text) {
  const { stdout } = await call(path.join(kBin, "psql"), [...psqlArgs(url), "-c", text]);
  return stdout.split("\n").filter(Boolean).map((line) => line.split("\t"));
}

// A statement of SQLite's with a "?" for each of `values`, run at once: what the books hold is asked for in the middle of
// tests that know no store. Of a SELECT the rows.
export function ask(url, text, values = []) {
  let next = 0;
  const literal = (value) => (typeof value === "number" ? String(value) : `'${String(value).replaceAll("'", "''")}'`);
  const whole = text.replaceAll("?", () => literal(values[next++]));
  const select = /^\s*SELECT/i.test(whole);
  const asked = select ? `SELECT coalesce(json_agg(t), '[]') FROM (${whole}) t` : whole;
  const said = execFileSync(path.join(kBin, "psql"), [...psqlArgs(url), "-c", asked], { encoding: "utf8" });
  return select ? JSON.parse(said) : undefined;
}

// Nobody else writes to `table` until what this resolves to is called.
export async function holdTable(url, table) {
  const holder = spawn(path.join(kBin, "psql"), psqlArgs(url), { stdio: ["pipe", "pipe", "inherit"] });
  const gone = new Promise((resolve) => holder.once("exit", resolve));
  holder.stdin.write(`BEGIN; LOCK TABLE ${table} IN EXCLUSIVE MODE; SELECT 'held';\n`);
  await new Promise((resolve) => holder.stdout.once("data", resolve));
  return async () => {
    holder.stdin.end("ROLLBACK;\n");
    await gone;
  };
}

// The server's URL with another database. By text: a URL without a host is none to `URL`.
export const databaseUrl = (server, name) => server.replace(/^(\w+:\/\/[^/]*\/)[^?]*/, `$1${name}`);

// A new, empty database: {url, name, rows(sql), count(table), drop()}. `password` is in the URL; the
// server trusts everybody and does not look at it.
export async function createDatabase({ server = serverUrl(), password } = {}) {
  const name = `ptg_${randomBytes(6).toString("hex")}`;
  await sql(server, `CREATE DATABASE ${name}`);
  let url = databaseUrl(server, name);
  if (password) url = url.replace("postgres@", `postgres:${password}@`);
  return {
    url,
    name,
    rows: (text) => sql(url, text),
    count: async (table) => Number((await sql(url, `SELECT count(*) FROM ${table}`))[0][0]),
    drop: () => sql(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
  };
}

// A PostgreSQL of one's own on a unix socket: {url, kill(), crash(), start(), freeze(), thaw(), stop()}. kill and crash
// end all its processes at once (SIGQUIT, kill -9); start recovers from it. The server refuses to run as root.
export async function startPostgres() {
  const dir = fs.mkdtempSync("/tmp/ptg-pg-");
  const as = {};
  if (process.getuid() === 0) {
    for (const id of ["uid", "gid"]) {
      const { stdout } = await call("id", [id === "uid" ? "-u" : "-g", "postgres"]);
      as[id] = Number(stdout);
    }
    fs.chownSync(dir, as.uid, as.gid);
  }
  fs.chmodSync(dir, 0o755);
  const data = path.join(dir, "data");
  const options = { cwd: "/", ...as };
  await call(`${kBin}/initdb`, ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"], options);
  const own = { url: `postgresql://postgres@/postgres?host=${dir}` };
  let server;
  const abandon = () => {
    if (!server) return;
    all("SIGCONT"); // Who stands still does not end.
    server.kill("SIGQUIT");
  };
  process.once("exit", abandon);
  own.start = async () => {
    const set = ["listen_addresses=", "fsync=off", "max_connections=100", "shared_buffers=16MB"].flatMap((one) => ["-c", one]);
    server = spawn(`${kBin}/postgres`, ["-D", data, "-k", dir, ...set], { ...options, stdio: ["ignore", "ignore", "pipe"] });
    let said = "";
    server.stderr.on("data", (text) => (said += text));
    const gone = new Promise((resolve) => server.once("exit", resolve));
    own.kill = async () => {
      server.kill("SIGQUIT"); // Immediate: nobody is asked, nothing is written down.
      await gone;
    };
    const end = Date.now() + 20_000;
    while (!(await sql(own.url, "SELECT 1").catch(() => undefined))) {
      if (Date.now() > end || server.exitCode !== null) throw new Error(`PostgreSQL did not start\n${said}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  // All its processes stand still and go on: a disk that hangs.
  const all = (signal) => {
    const parentOf = (pid) => {
      try {
        return Number(fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ")[1]);
      } catch {
        return undefined; // It ended meanwhile.
      }
    };
    const pids = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
    for (const pid of [...pids.filter((one) => parentOf(one) === server.pid), server.pid]) {
      try {
        process.kill(pid, signal);
      } catch (error) {
        if (error.code !== "ESRCH") throw error; // One that ended meanwhile.
      }
    }
  };
  // kill -9 of all of them: nobody is asked, and nobody says goodbye to whoever is connected.
  own.crash = async () => {
    const gone = new Promise((resolve) => server.once("exit", resolve));
    all("SIGKILL");
    await gone;
  };
  own.freeze = () => all("SIGSTOP");
  own.thaw = () => all("SIGCONT");
  own.stop = async () => {
    own.thaw();
    process.removeListener("exit", abandon);
    await own.kill();
    fs.rmSync(dir, { recursive: true, force: true });
  };
  await own.start();
  return own;
}
