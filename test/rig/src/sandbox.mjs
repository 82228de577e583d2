// `pontage sandbox`: a chain, Stripe's double and a mailbox, each on a port that the system picks.
import { spawn } from "node:child_process";
import readline from "node:readline";
import { binary } from "./pontage.mjs";

// {rpc, stripe, mailbox, smtp, stop()}.
export async function startSandbox(args = []) {
  const child = spawn(binary(), ["sandbox", "--json", "--port", "0", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const abandon = () => child.kill("SIGKILL");
  process.once("exit", abandon);
  const exited = new Promise((resolve) => child.once("close", resolve)).finally(() => process.removeListener("exit", abandon));
  const said = await new Promise((resolve, reject) => {
    child.once("error", reject);
    exited.then((code) => reject(new Error(`pontage sandbox ended with ${code}`)));
    readline.createInterface({ input: child.stdout }).once("line", (line) => resolve(JSON.parse(line)));
  });
  return {
    ...said,
    stop: () => {
      child.kill("SIGTERM");
      return exited;
    },
  };
}
