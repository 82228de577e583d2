// `pontage sandbox` as a child process: our own chain, for tests that want it beside anvil.
import { spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
export const binary = process.env.PTG_BIN ?? path.join(root, "build/pontage");

// {rpc, chain_id, usdc, identities: {buyer: {address, key, usdc}, …}, stop}. `args` go to the command as they are.
export async function startSandbox(args = []) {
  const child = spawn(binary, ["sandbox", "--port", "0", "--json", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const kill = () => child.kill("SIGTERM");
  process.once("exit", kill);
  const gone = new Promise((resolve) => child.once("exit", resolve));
  const ready = await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`pontage sandbox ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const said = JSON.parse(line);
      if (said.event === "sandbox.ready") resolve(said);
    });
  });
  const stop = async () => {
    process.removeListener("exit", kill);
    kill();
    await gone;
  };
  const identities = Object.fromEntries(ready.identities.map((i) => [i.name, i]));
  return { ...ready, identities, pid: child.pid, stop };
}
