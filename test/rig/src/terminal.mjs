// Commands on a terminal of their own, as a person sees them: tables instead of JSON.
import { spawn } from "node:child_process";
import { binary } from "./pontage.mjs";

const quote = (word) => `'${word.replaceAll("'", "'\\''")}'`;

// Runs `pontage ARGS…` on a terminal. Resolves to {code, text}: both streams as the screen shows them.
export async function onTerminal(args, { env = {}, cwd } = {}) {
  const { PATH, HOME } = process.env;
  const line = [binary(), ...args].map(quote).join(" ");
  const child = spawn("script", ["-qefc", line, "/dev/null"], {
    cwd,
    env: { PATH, HOME, TERM: "dumb", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (data) => (text += data));
  const late = setTimeout(() => child.kill("SIGKILL"), 60_000);
  const code = await new Promise((resolve, reject) => child.once("error", reject).once("close", resolve));
  clearTimeout(late);
  return { code, text: text.replaceAll("\r\n", "\n") };
}
