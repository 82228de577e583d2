// A bound for everything that a hostile HTTP/2 peer may ask for.
import assert from "node:assert/strict";
import fs from "node:fs";
import { after, before, describe, test } from "node:test";
import * as h2 from "../rig/src/h2raw.mjs";
import { ask, authority, open, start } from "../rig/src/h2seller.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

describe("a hostile HTTP/2 client", () => {
  let upstream, server;
  before(async () => {
    upstream = await startUpstream((req, res) => (req.url.includes("slow") ? setTimeout(() => res.end("slow"), 1_000) : res.end("ok")));
    server = await start(upstream.url);
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
  });
  const resident = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${server.pid}/status`, "utf8"))[1]) / 1024;
  // Sends until the server has enough of it, at most `most` rounds, then looks whether it lives.
  async function flood(make, { most = 2_000, first } = {}) {
    const had = resident();
    const raw = await h2.connect(server.url, authority, first);
    for (let round = 0; round < most && !raw.closed; round += 1) {
      raw.send(make(round));
      if (round % 20 === 0) await sleep(1);
      if (raw.frames.some((f) => f.type === h2.kTypes.goaway)) break;
    }
    const verdict = await raw.verdict();
    raw.end();
    assert.ok(resident() - had < 40, `${had} MiB became ${resident()} MiB`);
    const session = open(server);
    assert.equal((await ask(session)).status, 200);
    session.close();
    return verdict;
  }
  const enough = ({ code }) => assert.ok(code === h2.kErrors.calm || code === "closed", `${code}`);

  test("that resets what it asks for (CVE-2023-44487) is sent away, and runs little upstream", async () => {
    const had = upstream.requests.length;
    let id = -1;
    enough(
      await flood(() =>
        Array.from({ length: 50 }, () => {
          id += 2;
          return [h2.headers(id, h2.requestOf("/free/slow")), h2.reset(id)];
        }).flat(),
      ),
    );
    assert.ok(upstream.requests.length - had < 300, `${upstream.requests.length - had} requests`);
  });

  test("that makes us reset streams is sent away", async () => {
    let id = -1;
    enough(
      await flood(() =>
        Array.from({ length: 50 }, () => {
          id += 2;
          return [h2.headers(id, h2.requestOf("/free/slow", [], "POST"), { end: false }), h2.window(id, 0x7fffffff)];
        }).flat(),
      ),
    );
  });

  test("that breaks a rule is told, and nobody waits for what it left", async () => {
    const raw = await h2.connect(server.url, authority);
    raw.send(h2.headers(1, h2.requestOf("/free/slow", [], "POST"), { end: false }), h2.window(1, 0));
    const { code } = await raw.verdict();
    assert.notEqual(code, h2.kErrors.none);
    raw.end();
    const begun = Date.now();
    await server.stop();
    assert.ok(Date.now() - begun < 10_000);
    server = await start(upstream.url);
  });

  test("that never ends a header block (CONTINUATION) is sent away", async () => {
    for (const payload of [Buffer.alloc(0), h2.block([["x-a", "1"]]), h2.block([["x-a", "a".repeat(16_000)]])]) {
      const verdict = await flood(
        (round) => (round === 0 ? [h2.headers(1, h2.requestOf(), { endHeaders: false })] : Array(50).fill(h2.frame(h2.kTypes.continuation, 0, 1, payload))),
        { most: 500 },
      );
      assert.notEqual(verdict.code, h2.kErrors.none);
    }
  });

  test("that sends a bomb of indexed headers is bounded", async () => {
    // 4 KB once into the table, then one byte each.
    const into = Buffer.concat([Buffer.from([0x40]), h2.block([["x-a", "a".repeat(4_000)]]).subarray(1)]);
    const raw = await h2.connect(server.url, authority);
    const had = resident();
    raw.send(h2.frame(h2.kTypes.headers, 5, 1, Buffer.concat([h2.block(h2.requestOf()), into, Buffer.alloc(12_000, 0xbe)])));
    const fate = await Promise.race([raw.fate(1), raw.verdict()]);
    assert.ok(fate.reset !== undefined || fate.status === 431 || fate.code !== undefined, JSON.stringify(fate));
    assert.ok(resident() - had < 20);
    raw.end();
  });

  for (const [name, one] of [
    ["PING", h2.ping()],
    ["SETTINGS", h2.settings([4, 65_535])],
    ["PRIORITY", h2.frame(h2.kTypes.priority, 0, 5, Buffer.from([0, 0, 0, 0, 1]))],
    ["WINDOW_UPDATE", h2.window(0, 1)],
  ]) {
    test(`that floods with ${name} is sent away`, async () => {
      enough(await flood(() => Array(200).fill(one)));
    });
  }

  test("that floods with empty DATA is sent away", async () => {
    enough(
      await flood((round) =>
        round === 0 ? [h2.headers(1, h2.requestOf("/free/slow", [], "POST"), { end: false })] : Array(200).fill(h2.frame(0, 0, 1)),
      ),
    );
  });

  test("that asks and does not read what it is told is not answered without end", async () => {
    const had = resident();
    const raw = await h2.connect(server.url, authority);
    raw.socket.pause();
    for (let round = 0; round < 200; round += 1) raw.send(Array(10).fill(h2.ping()));
    await sleep(300);
    assert.ok(resident() - had < 20);
    raw.end();
  });

  test("that speaks no HTTP/2 after agreeing on it is closed", async () => {
    const raw = await h2.connect(server.url, authority, Buffer.alloc(0));
    raw.end();
    const other = await h2.connect(server.url, authority, Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert.notEqual((await other.verdict()).code, h2.kErrors.none);
  });
});
