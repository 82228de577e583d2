// Who issues licenses by hand: a seller's folder, a server out of it, and the command beside it.
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { run, sellerConfig, startPontage } from "./pontage.mjs";
import * as rig from "./rig.mjs";
import { startUpstream } from "./upstream.mjs";

// `routes`: the configuration beside the seller's, with [license]; `server`: what [server] has more. `env`: of the server
// and of the commands, which need no wallet's key without it. `beside`: another issuer, whose chain and upstream this one has too.
export async function openIssuer({ routes, server: more, env, beside }) {
  const [chain, upstream] = beside ? [beside.chain, beside.upstream] : await Promise.all([rig.up(), startUpstream()]);
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-test-"));
  const init = await run(["init", "--dir", dir]);
  assert.equal(init.code, 0, init.stderr);
  const server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes, server: more }), { dir, env });
  const cli = (...args) => run([...args, "--config", path.join(dir, "pontage.toml")], { cwd: dir, env });
  return {
    chain,
    upstream,
    dir,
    server,
    cli,
    async issue(plan, ...more) {
      const out = await cli("license", "issue", "--plan", plan, "--customer", "cus_test", "--json", ...more);
      assert.equal(out.code, 0, out.stderr);
      return JSON.parse(out.stdout);
    },
    async close() {
      await server.stop();
      if (!beside) await upstream.stop();
      if (!beside) await chain.stop();
      fs.rmSync(dir, { recursive: true, force: true });
    },
  };
}
