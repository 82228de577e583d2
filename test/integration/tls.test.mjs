// TLS on both sides of the gateway, by real clients and real servers: what the listener speaks and what it
// refuses, certificates that change under it, and whom it believes about an upstream.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import crypto from "node:crypto";
import fs from "node:fs";
import https from "node:https";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import tls from "node:tls";
import { httpsGet, makeAuthority, makeCertificate, read } from "../rig/src/certs.mjs";
import * as config from "../rig/src/config.mjs";
import { decode, during } from "../rig/src/pay.mjs";
import { run, sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { talk } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

const kNoChain = "http://127.0.0.1:9";
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const dir = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-tls-"));
after(() => fs.rmSync(dir, { recursive: true, force: true }));
const authority = makeAuthority(dir);
const good = makeCertificate(dir, "good", { authority });
const tlsSection = ({ cert, key }) => `[server.tls]\ncert = "${cert}"\nkey = "${key}"\n`;
const kRoutes = `
[[route]]
match = "/free/*"
price = "free"
[[route]]
match = "GET /paid/*"
price = "$0.001"
`;

// A connection that has shaken hands.
function connectTls(url, options = {}) {
  const { port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = tls.connect(
      { host: "127.0.0.1", port: Number(port), servername: "localhost", ca: fs.readFileSync(authority.cert), ...options },
      () => resolve(socket),
    );
    socket.once("error", reject);
  });
}
const readUntil = (socket, enough, withinMs = 5_000) =>
  new Promise((resolve, reject) => {
    let text = "";
    const late = setTimeout(() => reject(new Error(`not within ${withinMs} ms: ${text}`)), withinMs);
    const done = () => {
      clearTimeout(late);
      resolve(text);
    };
    socket.on("data", (data) => {
      text += data.toString("latin1");
      if (enough(text)) done();
    });
    socket.on("close", done);
    socket.on("error", done);
  });
const kGet = "GET /free/x HTTP/1.1\r\nHost: shop.example\r\n\r\n";

describe("a TLS listener", () => {
  let upstream, server;
  before(async () => {
    upstream = await startUpstream((req, res, body) => {
      if (req.url.endsWith("/events")) {
        res.writeHead(200, { "content-type": "text/event-stream" });
        res.write("data: 1\n\n");
        setTimeout(() => res.end("data: 2\n\n"), 300);
      } else {
        res.end(body.length > 0 ? body : JSON.stringify(req.headers));
      }
    });
    server = await startPontage(
      sellerConfig({ rpc: kNoChain, upstream: upstream.url, routes: kRoutes, sections: tlsSection(good) }),
    );
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
  });
  const get = (where, options) => httpsGet(server.url + where, { ca: authority.cert, ...options });

  test("is https, and upstream and offers know it", async () => {
    assert.match(server.url, /^https:/);
    const free = await get("/free/x");
    assert.equal(free.status, 200);
    const seen = JSON.parse(free.text);
    assert.equal(seen["x-forwarded-proto"], "https");
    assert.match(seen.forwarded, /proto=https/);
    const paid = await get("/paid/x");
    assert.equal(paid.status, 402);
    const offer = decode(paid.headers["payment-required"]);
    assert.equal(offer.resource.url, `${server.url}/paid/x`);
  });

  test("speaks TLS 1.2 and 1.3 and nothing older", async () => {
    for (const version of ["TLSv1.2", "TLSv1.3"]) {
      const socket = await connectTls(server.url, { minVersion: version, maxVersion: version });
      assert.equal(socket.getProtocol(), version);
      socket.destroy();
    }
    for (const version of ["TLSv1", "TLSv1.1"]) {
      await assert.rejects(
        connectTls(server.url, { minVersion: version, maxVersion: version, ciphers: "ALL:@SECLEVEL=0" }),
        /protocol version|unsupported protocol|EPROTO|ECONNRESET/i,
      );
    }
  });

  test("takes only ciphers with forward secrecy and authentication, in its own order", async () => {
    const v12 = { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" };
    for (const ciphers of ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA"]) {
      await assert.rejects(connectTls(server.url, { ...v12, ciphers }), /handshake failure|EPROTO|ECONNRESET/i, ciphers);
    }
    const socket = await connectTls(server.url, {
      ...v12,
      ciphers: "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
    });
    assert.equal(socket.getCipher().name, "ECDHE-ECDSA-AES128-GCM-SHA256");
    assert.match(socket.getEphemeralKeyInfo().name, /X25519|prime256v1/);
    socket.destroy();
  });

  test("does not renegotiate", async () => {
    const socket = await connectTls(server.url, { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" });
    // OpenSSL's client hears "no renegotiation" and goes on, or breaks off; it never gets its way.
    const outcome = await new Promise((resolve) => {
      socket.on("error", () => resolve("refused"));
      socket.on("close", () => resolve("refused"));
      socket.renegotiate({ rejectUnauthorized: true }, (failed) => resolve(failed ? "refused" : "done"));
      setTimeout(() => resolve("refused"), 1_000);
    });
    assert.equal(outcome, "refused");
    socket.destroy();
  });

  test("resumes a session by its ticket, in TLS 1.2 and 1.3", async () => {
    for (const version of ["TLSv1.2", "TLSv1.3"]) {
      const how = { minVersion: version, maxVersion: version };
      const first = await connectTls(server.url, how);
      // TLS 1.2 has it with the handshake, 1.3 sends it behind.
      const session = version === "TLSv1.2" ? first.getSession() : new Promise((resolve) => first.once("session", resolve));
      const answered = readUntil(first, (text) => text.includes("\r\n\r\n"));
      first.write(kGet);
      await answered;
      const ticket = await session;
      first.destroy();
      const second = await connectTls(server.url, { ...how, session: ticket });
      assert.ok(second.isSessionReused(), version);
      second.destroy();
    }
  });

  test("agrees on http/1.1 by ALPN, and on nothing with who speaks neither", async () => {
    const socket = await connectTls(server.url, { ALPNProtocols: ["http/1.1"] });
    assert.equal(socket.alpnProtocol, "http/1.1");
    socket.destroy();
    await assert.rejects(connectTls(server.url, { ALPNProtocols: ["smtp"] }), /no application protocol|EPROTO|ECONNRESET/i);
  });

  test("asks for no client certificate", async () => {
    const own = read(makeCertificate(dir, "client", { authority, names: "DNS:client" }));
    assert.equal((await get("/free/x", own)).status, 200);
  });

  test("answers plain HTTP with a 400 that says so, and garbage with nothing", async () => {
    const plain = server.url.replace("https:", "http:");
    const { statuses, text, closed } = await talk(plain, kGet, { withinMs: 5_000, half: true });
    assert.deepEqual(statuses, [400]);
    assert.match(text, /speaks TLS: use https/);
    assert.ok(closed);
    const garbage = await talk(plain, "\x00\x01garbage", { withinMs: 5_000 });
    assert.ok(garbage.closed);
    assert.deepEqual(garbage.statuses, []);
  });

  test("serves the metrics listener in plain HTTP", async () => {
    assert.match(server.metricsUrl, /^http:/);
    assert.equal((await fetch(`${server.metricsUrl}/healthz`)).status, 200);
  });

  test("keeps a connection for the next request, and reads two requests out of one record", async () => {
    const socket = await connectTls(server.url);
    const both = readUntil(socket, (text) => text.split("HTTP/1.1 200").length === 3);
    socket.write(kGet + kGet);
    assert.equal((await both).split("HTTP/1.1 200").length, 3);
    const third = readUntil(socket, (text) => text.includes("HTTP/1.1 200"));
    socket.write(kGet);
    assert.match(await third, /^HTTP\/1.1 200/);
    socket.destroy();
  });

  test("carries large bodies both ways", async () => {
    const body = crypto.randomBytes(3 << 20).toString("base64");
    const answer = await get("/free/echo", { method: "POST", body });
    assert.equal(answer.status, 200);
    assert.ok(answer.text === body);
  });

  test("passes an event on as it comes", async () => {
    const socket = await connectTls(server.url);
    const first = readUntil(socket, (text) => text.includes("data: 1"));
    const begun = Date.now();
    socket.write("GET /free/events HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    assert.ok(!(await first).includes("data: 2"));
    assert.ok(Date.now() - begun < 290);
    socket.destroy();
  });

  test("gives up a handshake that does not end", { timeout: 20_000 }, async () => {
    const { port } = new URL(server.url);
    const slow = [Buffer.alloc(0), Buffer.from("16030100", "hex")].map(
      (bytes) =>
        new Promise((resolve) => {
          const begun = Date.now();
          const socket = net.connect(Number(port), "127.0.0.1", () => socket.write(bytes));
          socket.on("error", () => {});
          socket.on("close", () => resolve(Date.now() - begun));
        }),
    );
    await sleep(100);
    assert.equal((await get("/free/x")).status, 200);
    for (const ms of await Promise.all(slow)) assert.ok(ms > 8_000 && ms < 13_000, `${ms} ms`);
  });

  test("survives a thousand clients that break off in the handshake", async () => {
    const { port } = new URL(server.url);
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(
        Array.from({ length: 100 }, () => {
          const socket = net.connect(Number(port), "127.0.0.1");
          return new Promise((resolve) => {
            socket.on("error", () => {});
            socket.on("close", resolve);
            socket.on("connect", () => {
              socket.write(Buffer.from("160301", "hex"));
              socket.resetAndDestroy();
            });
          });
        }),
      );
    }
    assert.equal((await get("/free/x")).status, 200);
  });
});

describe("a protocol switch", () => {
  test("passes through TLS as it does without", async () => {
    const raw = net.createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => {
        socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        socket.on("data", (data) => socket.write(data));
      });
    });
    await new Promise((resolve) => raw.listen(0, "127.0.0.1", resolve));
    const upstream = `http://127.0.0.1:${raw.address().port}`;
    const server = await startPontage(sellerConfig({ rpc: kNoChain, upstream, routes: kRoutes, sections: tlsSection(good) }));
    try {
      const socket = await connectTls(server.url);
      const switched = readUntil(socket, (text) => text.includes("\r\n\r\n"));
      socket.write("GET /free/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
      assert.match(await switched, /^HTTP\/1.1 101/);
      const frame = crypto.randomBytes(100_000);
      const back = readUntil(socket, (text) => text.length === frame.length);
      socket.write(frame);
      assert.equal(await back, frame.toString("latin1"));
      socket.destroy();
    } finally {
      await server.stop();
      raw.close();
    }
  });
});

describe("certificates that change", () => {
  let upstream, server, files;
  const install = ({ cert, key }) => {
    fs.copyFileSync(key, files.key);
    fs.copyFileSync(cert, files.cert);
  };
  const subject = async () => {
    const socket = await connectTls(server.url);
    const { CN } = socket.getPeerCertificate().subject;
    socket.destroy();
    return CN;
  };
  const reloads = () => server.events("tls.reloaded").length;
  const refusals = () => server.events("tls.refused");
  before(async () => {
    files = { cert: path.join(dir, "live.pem"), key: path.join(dir, "live.key") };
    install(good);
    upstream = await startUpstream();
    server = await startPontage(sellerConfig({ rpc: kNoChain, upstream: upstream.url, routes: kRoutes, sections: tlsSection(files) }));
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
  });

  test("are taken without a signal, and running connections do not notice", async () => {
    const old = await connectTls(server.url);
    assert.equal(await subject(), "good");
    install(makeCertificate(dir, "renewed", { authority }));
    await rig.until(() => reloads() === 1, { label: "reloaded" });
    assert.equal(await subject(), "renewed");
    const answered = readUntil(old, (text) => text.includes("\r\n\r\n"));
    old.write(kGet);
    assert.match(await answered, /^HTTP\/1.1 200/);
    old.destroy();
  });

  test("are taken on SIGHUP", async () => {
    const had = reloads();
    process.kill(server.pid, "SIGHUP");
    await rig.until(() => reloads() > had, { label: "reloaded" });
    assert.equal(await subject(), "renewed");
  });

  test("are refused when they are broken or no pair, and the old ones stay", async () => {
    const other = makeCertificate(dir, "other", { authority });
    const cases = [
      [() => fs.copyFileSync(other.cert, files.cert), /server\.tls\.key: .*not the certificate's/],
      [() => fs.writeFileSync(files.cert, "no certificate\n"), /server\.tls\.cert: /],
      [() => (fs.copyFileSync(other.cert, files.cert), fs.writeFileSync(files.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n")), /server\.tls\.key: /],
    ];
    for (const [spoil, why] of cases) {
      const had = refusals().length;
      spoil();
      await rig.until(() => refusals().length > had, { label: "refused" });
      assert.match(refusals().at(-1).detail, why);
      assert.equal(await subject(), "renewed");
    }
    const had = reloads();
    install(other);
    await rig.until(() => reloads() > had, { label: "reloaded" });
    assert.equal(await subject(), "other");
  });

  test("are looked for elsewhere when the configuration says so", async () => {
    const moved = makeCertificate(dir, "moved", { authority });
    fs.writeFileSync(
      server.file,
      sellerConfig({ rpc: kNoChain, upstream: upstream.url, routes: kRoutes, sections: tlsSection(moved) }),
    );
    const had = reloads();
    await rig.until(() => reloads() > had, { label: "reloaded" });
    assert.equal(await subject(), "moved");
  });
});

describe("at the start", () => {
  const at = (section, more = {}) => {
    const home = fs.mkdtempSync(path.join(dir, "start-"));
    fs.writeFileSync(
      path.join(home, "pontage.toml"),
      sellerConfig({ rpc: kNoChain, upstream: "http://127.0.0.1:9", routes: kRoutes, sections: section, ...more }),
    );
    return { cwd: home, env: { PONTAGE_EVM_KEY: config.evmKey("facilitator") } };
  };

  test("files that are missing, unreadable, broken or no pair are refused by key", async () => {
    const other = makeCertificate(dir, "another", { authority });
    const junk = path.join(dir, "junk.pem");
    fs.writeFileSync(junk, "junk");
    const locked = path.join(dir, "locked.key");
    fs.writeFileSync(locked, crypto.generateKeyPairSync("ec", {
      namedCurve: "P-256",
      privateKeyEncoding: { type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "x" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    }).privateKey);
    const cases = [
      [{ cert: "nowhere.pem", key: good.key }, /pontage\.toml:\d+: server\.tls\.cert: found .*nowhere\.pem.*cannot be read/],
      [{ cert: junk, key: good.key }, /server\.tls\.cert: found .*junk\.pem/],
      [{ cert: good.cert, key: "nowhere.key" }, /server\.tls\.key: found .*nowhere\.key.*cannot be read/],
      [{ cert: good.cert, key: junk }, /server\.tls\.key: found .*junk\.pem/],
      [{ cert: good.cert, key: locked }, /server\.tls\.key: found .*without a passphrase/],
      [{ cert: good.cert, key: other.key }, /server\.tls\.key: found .*not the certificate's/],
    ];
    for (const [files, why] of cases) {
      for (const command of [["serve"], ["config", "check"]]) {
        const done = await run(command, at(tlsSection(files)));
        assert.equal(done.code, 1, done.stderr);
        assert.match(done.stderr, why);
      }
    }
    const missing = await run(["config", "check"], at('[server.tls]\ncert = "x.pem"\n'));
    assert.match(missing.stderr, /server\.tls\.key: found nothing/);
  });

  test("authorities of an upstream that are none are refused by key", async () => {
    const junk = path.join(dir, "no-ca.pem");
    fs.writeFileSync(junk, "junk");
    const upstream = (url, ca) => `[[upstream]]\nname = "tls"\nurl = "${url}"\nca = "${ca}"\n`;
    for (const [section, why] of [
      [upstream("https://localhost", junk), /upstream\.ca: found .*holds no certificate/],
      [upstream("https://localhost", "nowhere.pem"), /upstream\.ca: found .*cannot be read/],
      [upstream("http://localhost", good.cert), /upstream\.ca: found .*not https/],
    ]) {
      const more = { routes: `[[route]]\nmatch = "/x"\nupstream = "api"\nprice = "free"\n` };
      const done = await run(["config", "check"], at(section, more));
      assert.equal(done.code, 1);
      assert.match(done.stderr, why);
    }
  });

  test("the doctor looks at our certificate and believes an upstream's authority", async () => {
    const behind = await startTlsUpstream(good);
    const ending = makeCertificate(dir, "ending", { authority, days: 3 });
    const ask = async (files, ca) => {
      const where = at(`${tlsSection(files)}[[upstream]]\nname = "tls"\nurl = "${behind.url}"\n${ca}`, {
        routes: '[[route]]\nmatch = "/x"\nupstream = "api"\nprice = "free"\n',
      });
      const done = await run(["doctor", "--json"], where);
      return Object.fromEntries(JSON.parse(done.stdout).checks.map((check) => [check.what, check.level]));
    };
    try {
      const well = await ask(good, `ca = "${authority.cert}"\n`);
      assert.equal(well.certificate, "ok");
      assert.equal(well["upstream tls"], "ok");
      const ill = await ask(ending, "");
      assert.equal(ill.certificate, "warn");
      assert.equal(ill["upstream tls"], "fail");
    } finally {
      await behind.stop();
    }
  });

  test("a key that everybody may read is named, and so is a certificate that ends soon", async () => {
    const files = makeCertificate(dir, "soon", { authority, days: 3 });
    fs.chmodSync(files.key, 0o644);
    const server = await startPontage(sellerConfig({ rpc: kNoChain, upstream: "http://127.0.0.1:9", routes: kRoutes, sections: tlsSection(files) }));
    await server.stop();
    assert.equal(server.events("tls.key_exposed").length, 1);
    assert.equal(server.events("tls.certificate_ends").length, 1);
    fs.chmodSync(good.key, 0o600);
    const quiet = await startPontage(sellerConfig({ rpc: kNoChain, upstream: "http://127.0.0.1:9", routes: kRoutes, sections: tlsSection(good) }));
    await quiet.stop();
    assert.equal(quiet.events("tls.key_exposed").length, 0);
    assert.equal(quiet.events("tls.certificate_ends").length, 0);
  });
});

// An https server that counts what it is asked, with the certificate of `files`.
async function startTlsUpstream(files, answer = (req, res) => res.end("from tls")) {
  const own = { requests: 0 };
  const server = https.createServer(read(files), (req, res) => {
    own.requests += 1;
    answer(req, res);
  });
  server.on("tlsClientError", () => {});
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  own.url = `https://localhost:${server.address().port}`;
  own.stop = () =>
    new Promise((resolve) => {
      server.close(resolve);
      server.closeAllConnections();
    });
  return own;
}

describe("an upstream over TLS", () => {
  const stranger = makeAuthority(dir, "stranger");
  const certificates = {
    good: good,
    wrongname: makeCertificate(dir, "wrongname", { authority, names: "DNS:elsewhere.example" }),
    expired: makeCertificate(dir, "expired", { authority, days: -1 }),
    selfsigned: makeCertificate(dir, "selfsigned"),
    unknown: makeCertificate(dir, "unknown", { authority: stranger }),
  };
  const upstreams = {};
  let server;
  before(async () => {
    let sections = "";
    let routes = "";
    for (const [name, files] of Object.entries(certificates)) {
      upstreams[name] = await startTlsUpstream(files);
      sections += `[[upstream]]\nname = "${name}"\nurl = "${upstreams[name].url}"\nca = "${authority.cert}"\n`;
      routes += `[[route]]\nmatch = "/${name}"\nupstream = "${name}"\nprice = "free"\n`;
    }
    // The same server, and nobody to believe about it.
    sections += `[[upstream]]\nname = "noca"\nurl = "${upstreams.good.url}"\n`;
    routes += `[[route]]\nmatch = "/noca"\nupstream = "noca"\nprice = "free"\n`;
    server = await startPontage(sellerConfig({ rpc: kNoChain, upstream: "http://127.0.0.1:9", routes, sections, server: "threads = 1" }));
  });
  after(async () => {
    await server?.stop();
    for (const upstream of Object.values(upstreams)) await upstream.stop();
  });

  test("with a good certificate of the authority named is used", async () => {
    const answer = await fetch(`${server.url}/good`);
    assert.equal(answer.status, 200);
    assert.equal(await answer.text(), "from tls");
  });
  for (const [name, what] of [
    ["wrongname", "for another name"],
    ["expired", "that has ended"],
    ["selfsigned", "signed by itself"],
    ["unknown", "of another authority"],
  ]) {
    test(`with a certificate ${what} is 502 and hears nothing`, async () => {
      const answer = await fetch(`${server.url}/${name}`);
      assert.equal(answer.status, 502);
      assert.equal((await answer.json()).code, "upstream_unreachable");
      assert.equal(upstreams[name].requests, 0);
    });
  }
  test("is not believed without the authority, though a connection of one who believes is open", async () => {
    const had = upstreams.good.requests;
    assert.equal((await fetch(`${server.url}/good`)).status, 200);
    assert.equal((await fetch(`${server.url}/noca`)).status, 502);
    assert.equal(upstreams.good.requests, had + 1);
  });
});

describe("money over TLS", () => {
  let chain, upstream, server;
  before(async () => {
    chain = await rig.up();
    upstream = await startUpstream();
    server = await startPontage(
      sellerConfig({
        rpc: chain.rpc,
        upstream: upstream.url,
        routes: kRoutes,
        server: "threads = 1",
        sections: tlsSection(good),
      }),
    );
  });
  after(async () => {
    await server?.stop();
    await upstream?.stop();
    await chain?.stop();
  });

  // In a process of its own: NODE_EXTRA_CA_CERTS is read at the start.
  const official = (url) =>
    new Promise((resolve, reject) => {
      const script = `
        import { fetchV2, receiptOf } from "./rig/src/peers.mjs";
        const answer = await fetchV2("buyer")(process.argv[1]);
        console.log(JSON.stringify({ status: answer.status, text: await answer.text(), receipt: receiptOf(answer) }));`;
      const child = spawn(process.execPath, ["--input-type=module", "--eval", script, url], {
        cwd: path.resolve(import.meta.dirname, ".."),
        env: { ...process.env, NODE_EXTRA_CA_CERTS: authority.cert },
        stdio: ["ignore", "pipe", "pipe"],
      });
      let out = "";
      let err = "";
      child.stdout.on("data", (data) => (out += data));
      child.stderr.on("data", (data) => (err += data));
      child.on("close", (code) => (code === 0 ? resolve(JSON.parse(out)) : reject(new Error(err))));
    });

  test("the official client pays", async () => {
    const { value, gained, runs } = await during({ chain, upstream }, () => official(`${server.url.replace("127.0.0.1", "localhost")}/paid/x`));
    assert.equal(value.status, 200, value.text);
    assert.equal(value.receipt.success, true);
    assert.equal(gained, 1000n);
    assert.equal(runs, 1);
  });

  // A chain's node and a facilitator behind a certificate that the environment's authorities know, or not.
  async function relay(files, target) {
    return startTlsUpstream(files, async (req, res) => {
      const chunks = [];
      for await (const chunk of req) chunks.push(chunk);
      const { method, headers } = req;
      const type = headers["content-type"];
      const answer = await fetch(target + req.url, {
        method,
        headers: type ? { "content-type": type } : {},
        body: chunks.length > 0 ? Buffer.concat(chunks) : undefined,
      });
      res.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "text/plain" });
      res.end(Buffer.from(await answer.arrayBuffer()));
    });
  }

  test("a node of the chain is believed by the environment's authorities alone", async () => {
    const node = await relay(good, chain.rpc);
    const seller = (env) => startPontage(sellerConfig({ rpc: node.url, upstream: upstream.url, routes: kRoutes }), { env });
    const believed = await seller({ SSL_CERT_FILE: authority.cert });
    const stranger = await seller({});
    try {
      assert.equal((await fetch(`${believed.url}/readyz`)).status, 200);
      assert.equal((await fetch(`${stranger.url}/readyz`)).status, 503);
      assert.match(stranger.events("chain.unreachable")[0].detail, /./);
    } finally {
      await believed.stop();
      await stranger.stop();
      await node.stop();
    }
  });

  test("a remote facilitator is believed by its certificate", async () => {
    const local = await startPontage(
      sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes }),
      { args: ["--role", "facilitator"] },
    );
    const wrong = makeCertificate(dir, "wrong-facilitator", { authority, names: "DNS:elsewhere.example" });
    const fronts = [await relay(good, local.url), await relay(wrong, local.url)];
    const sellers = [];
    try {
      for (const front of fronts) {
        sellers.push(
          await startPontage(
            sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes, x402: `facilitator = "${front.url}"` }),
            { env: { SSL_CERT_FILE: authority.cert } },
          ),
        );
      }
      const { payOnce } = await import("../rig/src/pay.mjs");
      assert.equal((await payOnce(`${sellers[0].url}/paid/x`)).status, 200);
      assert.ok(fronts[0].requests > 0);
      const refused = await payOnce(`${sellers[1].url}/paid/x`);
      assert.equal(refused.status, 503);
      assert.equal(fronts[1].requests, 0);
    } finally {
      for (const one of [...sellers, ...fronts, local]) await one.stop();
    }
  });
});
