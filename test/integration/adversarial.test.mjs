// What people send who do not want to pay: nothing is served for it, no money moves, the process lives.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, afterEach, before, describe, test } from "node:test";
import { findsPaid, kContent, kRoutes } from "../rig/src/lenient.mjs";
import { decode, encode, offersOf, payHeader, paymentV1, paymentV2, payOnce } from "../rig/src/pay.mjs";
import { receiptOf } from "../rig/src/peers.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { request, talk, whole } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

let chain, upstream, server, offers, had;
let answerHeaders = {};
let answerTrailers;
before(async () => {
  chain = await rig.up();
  upstream = await startUpstream((req, res, body) => {
    for (const [name, value] of Object.entries(answerHeaders)) res.setHeader(name, value);
    if (answerTrailers) res.setHeader("trailer", Object.keys(answerTrailers).join(", "));
    res.write(findsPaid(req.url) ? kContent : "free content");
    res.write(` ${req.method} ${body.length}`);
    if (answerTrailers) res.addTrailers(answerTrailers);
    res.end();
  });
  server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes }));
  offers = await offersOf(`${server.url}/paid/data`);
  had = 0n;
});
after(async () => {
  await server?.stop();
  await upstream?.stop();
  await chain?.stop();
});

// After everything: the process is the same one and answers, and the payee has what was meant to be paid.
let paidHere = 0n;
afterEach(async () => {
  const alive = await fetch(`${server.url}/healthz`);
  assert.equal(alive.status, 200, "the server lives");
  const has = await rig.tokenBalance(chain.rpc, "payee");
  const [gained, meant] = [has - had, paidHere];
  had = has;
  paidHere = 0n;
  assert.equal(gained, meant, "only what was meant moved");
});

const runsOf = () => upstream.requests.length;

// Nothing of the paid content and no upstream run came of it.
async function never(work) {
  const ran = runsOf();
  const value = await work();
  assert.equal(runsOf(), ran, "the upstream was not asked");
  return value;
}

describe("forged payments", () => {
  const tellOf = (headers) => {
    const [value] = Object.values(headers);
    return Buffer.from(value, "base64").toString("utf8").slice(0, 1_000);
  };

  // All of `headers` (objects) at the paid route, some at a time: 402 or another refusal, never content.
  async function allRefused(list, allowed = [402]) {
    await never(async () => {
      for (let at = 0; at < list.length; at += 16) {
        await Promise.all(
          list.slice(at, at + 16).map(async (headers) => {
            const answer = await fetch(`${server.url}/paid/data`, { headers });
            const text = await answer.text();
            const shown = `${answer.status} ${text.slice(0, 300)}\n${tellOf(headers)}`;
            assert.ok(allowed.includes(answer.status), shown);
            assert.ok(!text.includes(kContent), shown);
            const receipt = receiptOf(answer);
            assert.ok(receipt === null || receipt.success !== true);
          }),
        );
      }
    });
  }

  const kTexts = ["", "0", "-1", "1e3", "0x1", " 1", "1 ", "null", "💰", "٣", "1".repeat(5000), "\u0000"];
  const kValues = [null, true, false, 0, -1, 1.5, 1e300, [], {}, [1], { a: 1 }, ...kTexts];

  function* leaves(value, path = []) {
    yield path;
    if (value && typeof value === "object") {
      for (const key of Object.keys(value)) yield* leaves(value[key], [...path, key]);
    }
  }
  function replaced(payment, path, value) {
    if (path.length === 0) return value;
    const forged = structuredClone(payment);
    let at = forged;
    for (const key of path.slice(0, -1)) at = at[key];
    if (value === undefined) delete at[path.at(-1)];
    else at[path.at(-1)] = value;
    return forged;
  }
  // What a buyer may leave out or write as he likes.
  const harmless = (path) => ["resource.description", "resource.mimeType"].includes(path.join("."));

  for (const [version, make] of [
    [2, paymentV2],
    [1, paymentV1],
  ]) {
    test(`version ${version}: every member replaced by every kind of value, or left out`, async () => {
      const payment = await make(offers);
      const list = [];
      for (const path of leaves(payment)) {
        if (harmless(path)) continue;
        for (const value of kValues) {
          const forged = replaced(payment, path, value);
          if (encode(forged) !== encode(payment)) list.push(payHeader(encode(forged), version));
        }
        // Without its resource a payment is good, so that is not in this list.
        if (path.length && path[0] !== "resource") {
          list.push(payHeader(encode(replaced(payment, path, undefined)), version));
        }
      }
      // resource: null is the same as no resource at all, and a resource without url names none.
      const kept = list.filter((header) => {
        const { resource } = decode(Object.values(header)[0]) ?? {};
        return version === 1 || (resource && typeof resource === "object" ? typeof resource.url === "string" : true);
      });
      const forged = kept.filter((header) => {
        const read = decode(Object.values(header)[0]);
        return version === 1 || !read || typeof read !== "object" || (read.resource !== null && read.resource !== undefined);
      });
      assert.ok(forged.length > 100, `${forged.length}`);
      await allRefused(forged);
    });

    test(`version ${version}: every member of the authorization altered before and after signing`, async () => {
      const changes = {
        from: rig.evmAddress("mallory"),
        to: rig.evmAddress("mallory"),
        value: "1",
        validAfter: String(Math.floor(Date.now() / 1000) + 1000),
        validBefore: "1",
        nonce: `0x${"00".repeat(32)}`,
      };
      const list = [];
      for (const [member, value] of Object.entries(changes)) {
        const after = await make(offers);
        after.payload.authorization[member] = value;
        list.push(payHeader(after));
        if (member === "nonce") continue; // A nonce of one's own choice is a nonce.
        list.push(payHeader(await make(offers, { auth: { [member]: value } })));
      }
      for (const domain of [{ name: "x" }, { version: "9" }, { chainId: 1 }, { verifyingContract: rig.PERMIT2 }]) {
        list.push(payHeader(await make(offers, { domain })));
      }
      await allRefused(list);
    });
  }

  test("every single bit of a signature flipped", async () => {
    const payment = await paymentV2(offers);
    const bytes = Buffer.from(payment.payload.signature.slice(2), "hex");
    const list = [];
    for (let bit = 0; bit < 8 * bytes.length; bit += 3) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] ^= 1 << (bit & 7);
      // v as 0 or 1 is the same signature in another spelling.
      if (flipped[64] !== 27 && flipped[64] !== 28 && flipped[64] < 2) continue;
      payment.payload.signature = `0x${flipped.toString("hex")}`;
      list.push(payHeader(payment));
    }
    await allRefused(list);
  });

  test("random bytes, truncations and doublings of a good header", async () => {
    const good = encode(await paymentV2(offers));
    const list = [];
    for (let n = 0; n < 150; n += 1) {
      list.push(payHeader(randomBytes(1 + ((n * 37) % 900)).toString("base64"), 1 + (n % 2)));
    }
    for (let n = 1; n < good.length; n += 29) list.push(payHeader(good.slice(0, n), 2));
    list.push(payHeader(good + good, 2), payHeader(`${good}=`, 2), payHeader(`=${good}`, 2));
    list.push(payHeader(`${good}, ${good}`, 2), payHeader(`${good},`, 2), payHeader(`Bearer ${good}`, 2));
    await allRefused(list);
  });

  test("base64url, and other alphabets", async () => {
    let url;
    for (let n = 0; n < 200 && !/[-_]/.test(url ?? ""); n += 1) {
      const payment = { ...(await paymentV2(offers)), more: "?>?>~~~ÿÿ".repeat(1 + (n % 5)) };
      url = Buffer.from(JSON.stringify(payment)).toString("base64url");
    }
    assert.match(url, /[-_]/);
    const good = encode(await paymentV2(offers));
    await allRefused([
      payHeader(url, 2),
      payHeader(good.replace(/(.{76})/g, "$1 "), 2),
      payHeader(`%${good}`, 2),
      payHeader(JSON.stringify(await paymentV2(offers)), 2),
      payHeader(encodeURIComponent(`${good}==`), 2),
    ]);
  });

  test("JSON bombs, duplicate keys, giants", async () => {
    const base = JSON.stringify(await paymentV2(offers));
    const b64 = (text) => Buffer.from(text).toString("base64");
    await allRefused(
      [
        "[".repeat(8000),
        `${"[".repeat(5000)}${"]".repeat(5000)}`,
        `{"x402Version":2,"payload":${'{"a":'.repeat(1500)}1${"}".repeat(1500)}}`,
        base.replace('"x402Version":2', '"x402Version":2,"x402Version":2'),
        base.replace('"value":"1000"', '"value":"1","value":"1000"'),
        base.replace('"value":"1000"', '"value":"1000","\\u0076alue":"1000"'),
        base.replace("{", '{"x402Version":1,'),
        `${base}${base}`,
        `${base} x`,
        base.slice(0, -1),
        base.replace('"x402Version":2', '"x402Version":2.0000000001'),
        base.replace('"x402Version":2', '"x402Version":"2"'),
        base.replace('"x402Version":2', '"x402Version":3'),
        base.replace('"x402Version":2', '"x402Version":-2'),
        base.replace('"x402Version":2', '"x402Version":18446744073709551618'),
      ].map((text) => payHeader(b64(text), 2)),
    );
    // A header of 16 KiB is looked at, more is refused by its length alone: 402, or 431 by the head.
    const large = { ...(await paymentV2(offers)), more: "x".repeat(13_000) };
    await allRefused([payHeader(large)], [402, 431]);
    for (const size of [20_000, 60_000, 200_000]) {
      const raw = request("GET /paid/data", [`PAYMENT-SIGNATURE: ${"A".repeat(size)}`, "Connection: close"]);
      const { statuses, text } = await never(() => talk(server.url, raw));
      assert.ok([402, 431, 400].includes(statuses[0]), `${size}: ${text.slice(0, 200)}`);
    }
  });

  test("two payment headers: twice the same name is refused, both versions count as the newer", async () => {
    const good = encode(await paymentV2(offers));
    const junk = encode({ x402Version: 2 });
    const kLists = [
      ["PAYMENT-SIGNATURE", good, "PAYMENT-SIGNATURE", good],
      ["PAYMENT-SIGNATURE", good, "payment-signature", junk],
      ["PAYMENT-SIGNATURE", junk, "PAYMENT-SIGNATURE", good],
      ["X-PAYMENT", good, "PAYMENT-SIGNATURE", junk],
      ["X-PAYMENT", encode(await paymentV1(offers)), "PAYMENT-SIGNATURE", junk],
      ["PAYMENT-SIGNATURE", "", "X-PAYMENT", encode(await paymentV1(offers))],
    ];
    await never(async () => {
      for (const [a, b, c, d] of kLists) {
        const raw = request("GET /paid/data", [`${a}: ${b}`, `${c}: ${d}`, "Connection: close"]);
        const { statuses, text } = await talk(server.url, raw);
        assert.deepEqual(statuses, [402], text.slice(0, 200));
        assert.ok(!text.includes(kContent));
      }
    });
  });

  test("names that only look like a payment header", async () => {
    const good = encode(await paymentV2(offers));
    await never(async () => {
      for (const name of ["PAYMENT_SIGNATURE", "X_PAYMENT", "Payment", "X-PAYMENT-SIGNATURE", "PAYMENT-SIGNATURE2"]) {
        const answer = await fetch(`${server.url}/paid/data`, { headers: { [name]: good } });
        assert.equal(answer.status, 402, name);
        assert.equal((await answer.json()).code, "payment_required", name);
      }
    });
  });
});

describe("methods on a GET route", () => {
  test("HEAD is guarded, and pays like a GET", async () => {
    await never(async () => {
      const answer = await fetch(`${server.url}/paid/data`, { method: "HEAD" });
      assert.equal(answer.status, 402);
      assert.ok(answer.headers.has("payment-required"));
    });
    paidHere = 1000n;
    const headers = payHeader(await paymentV2(offers));
    const paid = await fetch(`${server.url}/paid/data`, { method: "HEAD", headers });
    assert.equal(paid.status, 200);
    assert.equal(receiptOf(paid).success, true);
  });

  test("other methods are none of its", async () => {
    await never(async () => {
      for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY", "PROPFIND", "FOO", "GETT", "get", "Get"]) {
        const raw = request(`${method} /paid/data`, ["Connection: close", "Content-Length: 0"]);
        const { statuses, text } = await talk(server.url, raw);
        assert.ok([400, 402, 405, 501].includes(statuses[0]), `${method}: ${text.slice(0, 100)}`);
        assert.ok(!text.includes(kContent));
      }
      for (const line of ["TRACE /paid/data", "CONNECT /paid/data", "CONNECT shop.example:80", "PRI *", "OPTIONS *"]) {
        const { text } = await talk(server.url, request(line, ["Connection: close"]));
        assert.ok(!text.includes(kContent), line);
        assert.doesNotMatch(text, /^HTTP\/1.1 2/, line);
      }
    });
  });

  test("a method override is a header like any other, and any method of a priced path is priced", async () => {
    const headers = { "x-http-method-override": "GET", "x-method-override": "GET", "x-http-method": "GET" };
    await never(async () => {
      const post = await fetch(`${server.url}/paid/data?_method=GET`, { method: "POST", headers });
      assert.notEqual(post.status, 200);
      for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]) {
        const answer = await fetch(`${server.url}/sold/x`, { method, headers });
        assert.equal(answer.status, 402, method);
      }
    });
  });

  test("a CORS preflight is answered by us and free", async () => {
    await never(async () => {
      const answer = await fetch(`${server.url}/paid/data`, {
        method: "OPTIONS",
        headers: {
          origin: "https://app.example",
          "access-control-request-method": "GET",
          "access-control-request-headers": "payment-signature, x-mine",
        },
      });
      assert.equal(answer.status, 204);
      const allowed = answer.headers.get("access-control-allow-headers").toLowerCase();
      for (const name of ["payment-signature", "x-payment", "sign-in-with-x", "x-mine"]) assert.ok(allowed.includes(name), name);
      assert.match(answer.headers.get("access-control-allow-methods"), /GET/);
      assert.equal(answer.headers.get("access-control-allow-origin"), "*");
    });
    const asked = await fetch(`${server.url}/paid/data`, { headers: { origin: "https://app.example" } });
    assert.equal(asked.status, 402);
    const exposed = asked.headers.get("access-control-expose-headers").toUpperCase();
    for (const name of ["PAYMENT-REQUIRED", "PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE"]) assert.ok(exposed.includes(name), name);
    assert.equal(asked.headers.get("access-control-allow-origin"), "*");
  });
});

describe("raw sockets", () => {
  const get = request("GET /paid/data");
  const body = ["POST /sold/x HTTP/1.1", "Host: shop.example"];
  const post = (headers, text) => [...body, ...headers, "", text].join("\r\n");
  // Refused for its form: 400 (or a kindred status), and the connection is over.
  const kMalformed = {
    "Content-Length and Transfer-Encoding": post(["Content-Length: 4", "Transfer-Encoding: chunked"], `0\r\n\r\n${get}`),
    "Transfer-Encoding and Content-Length": post(["Transfer-Encoding: chunked", "Content-Length: 4"], `0\r\n\r\n${get}`),
    "two Content-Lengths": post(["Content-Length: 4", "Content-Length: 5"], "abcde"),
    "two equal Content-Lengths": post(["Content-Length: 4", "Content-Length: 4"], "abcd"),
    "a list of Content-Lengths": post(["Content-Length: 4, 4"], "abcd"),
    "a signed Content-Length": post(["Content-Length: +4"], "abcd"),
    "a negative Content-Length": post(["Content-Length: -1"], "abcd"),
    "a hexadecimal Content-Length": post(["Content-Length: 0x4"], "abcd"),
    "an endless Content-Length": post(["Content-Length: 99999999999999999999999"], "abcd"),
    "a space in Content-Length": post(["Content-Length: 4 4"], "abcd"),
    "a coding nobody knows": post(["Transfer-Encoding: xchunked"], "0\r\n\r\n"),
    "two codings": post(["Transfer-Encoding: gzip, chunked"], "0\r\n\r\n"),
    "chunked twice": post(["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
    "identity": post(["Transfer-Encoding: identity"], ""),
    "a tab before chunked": post(["Transfer-Encoding:\x0bchunked"], "0\r\n\r\n"),
    "a space before the colon": post(["Transfer-Encoding : chunked"], "0\r\n\r\n"),
    "a folded header": "GET /paid/data HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\r\n folded\r\n\r\n",
    "a bare line feed": "GET /paid/data HTTP/1.1\nHost: shop.example\n\n",
    "a bare line feed in the head": "GET /paid/data HTTP/1.1\r\nHost: shop.example\nX-A: 1\r\n\r\n",
    "a bare carriage return": "GET /paid/data HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\rX-B: 2\r\n\r\n",
    "a NUL in a header": "GET /paid/data HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\0\r\n\r\n",
    "a NUL in the target": "GET /paid/data\0 HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "a space in a header name": "GET /paid/data HTTP/1.1\r\nHost: shop.example\r\nX A: 1\r\n\r\n",
    "an empty header name": "GET /paid/data HTTP/1.1\r\nHost: shop.example\r\n: 1\r\n\r\n",
    "no colon": "GET /paid/data HTTP/1.1\r\nHost: shop.example\r\nX-A\r\n\r\n",
    "no Host": "GET /paid/data HTTP/1.1\r\n\r\n",
    "two Hosts": "GET /paid/data HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "HTTP/0.9": "GET /paid/data\r\n\r\n",
    "HTTP/2.0": "GET /paid/data HTTP/2.0\r\nHost: shop.example\r\n\r\n",
    "HTTP/1.9 in small letters": "GET /paid/data http/1.1\r\nHost: shop.example\r\n\r\n",
    "a method in small letters": "get /paid/data HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "a method in both": "Get /free/data HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "two spaces": "GET  /paid/data HTTP/1.1\r\nHost: shop.example\r\n\r\n",
    "a header of 100 KiB": `GET /paid/data HTTP/1.1\r\nHost: shop.example\r\nX-A: ${"a".repeat(100_000)}\r\n\r\n`,
    "a thousand headers": `GET /paid/data HTTP/1.1\r\nHost: shop.example\r\n${"X-A: 1\r\n".repeat(1000)}\r\n`,
    "a target of 100 KiB": `GET /paid/${"a".repeat(100_000)} HTTP/1.1\r\nHost: shop.example\r\n\r\n`,
    "TLS": Buffer.from("16030100f8010000f40303", "hex"),
    "random bytes": Buffer.concat([randomBytes(300), Buffer.from("\r\n\r\n")]),
  };
  for (const [name, bytes] of Object.entries(kMalformed)) {
    test(`refused: ${name}`, async () => {
      const ran = runsOf();
      const { statuses, text, closed } = await talk(server.url, bytes, { withinMs: 3_000, half: name === "TLS" });
      assert.ok(statuses.length <= 1, `one answer at most: ${text.slice(0, 300)}`);
      if (statuses.length) assert.ok([400, 413, 414, 431, 501, 505].includes(statuses[0]), text.slice(0, 100));
      assert.ok(closed, "and the connection is over");
      assert.equal(runsOf(), ran);
    });
  }

  const kChunks = {
    "a chunk extension": "4;x=y\r\nabcd\r\n0\r\n\r\n",
    "a chunk length with a sign": "+4\r\nabcd\r\n0\r\n\r\n",
    "a chunk length with 0x": "0x4\r\nabcd\r\n0\r\n\r\n",
    "an endless chunk length": "fffffffffffffffff\r\nabcd\r\n0\r\n\r\n",
    "a chunk longer than it said": "2\r\nabcd\r\n0\r\n\r\n",
    "a chunk ended by a line feed": "4\nabcd\n0\n\n",
    "a chunk length of nothing": "\r\nabcd\r\n0\r\n\r\n",
  };
  for (const [name, text] of Object.entries(kChunks)) {
    test(`refused in a free body: ${name}`, async () => {
      const raw = ["POST /echo/x HTTP/1.1", "Host: shop.example", "Transfer-Encoding: chunked", "", text].join("\r\n");
      const heard = await talk(server.url, raw, { withinMs: 3_000 });
      assert.notEqual(heard.statuses[0], 200, heard.text.slice(0, 200));
      assert.ok(heard.statuses.length <= 1);
    });
  }

  test("a request smuggled in an unpaid body is not answered", async () => {
    const inner = "GET /paid/data HTTP/1.1\r\nHost: shop.example\r\n\r\n";
    const raw = post([`Content-Length: ${inner.length}`, "Connection: close"], inner);
    const { statuses, text } = await never(() => talk(server.url, raw));
    assert.deepEqual(statuses, [402], text);
  });

  test("pipelined unpaid, paid, free: each gets its own answer, in order, and the paid one is paid once", async () => {
    paidHere = 1000n;
    const good = encode(await paymentV2(offers));
    const raw =
      request("GET /paid/data") +
      request("GET /paid/data", [`PAYMENT-SIGNATURE: ${good}`]) +
      request("GET /echo/x") +
      request("GET /paid/data", [`PAYMENT-SIGNATURE: ${good}`]) +
      request("GET /paid/data", ["Connection: close"]);
    const { statuses, text } = await talk(server.url, raw, { withinMs: 8_000 });
    assert.deepEqual(statuses, [402, 200, 200, 402, 402], text);
    assert.equal(text.split(kContent).length - 1, 1);
  });

  test("a client that half-closes after its request still gets its answer", async () => {
    const free = await talk(server.url, request("GET /echo/x"), { half: true, withinMs: 5_000 });
    assert.deepEqual(free.statuses, [200]);
    paidHere = 1000n;
    const good = encode(await paymentV2(offers));
    const paid = await talk(server.url, request("GET /paid/data", [`PAYMENT-SIGNATURE: ${good}`]), {
      half: true,
      withinMs: 8_000,
    });
    assert.deepEqual(paid.statuses, [200]);
    assert.ok(paid.text.includes(kContent));
  });

  test("heads and bodies in single bytes are read, and ones that never end are nobody's answer", async () => {
    const slow = await talk(server.url, [...request("GET /paid/data", ["Connection: close"])].map((c) => c).reduce((list, c, i) => {
      if (i % 20 === 0) list.push("");
      list[list.length - 1] += c;
      return list;
    }, []), { withinMs: 5_000 });
    assert.deepEqual(slow.statuses, [402]);
    const never1 = await talk(server.url, "GET /paid/data HTTP/1.1\r\nHost: x\r\n", { withinMs: 400 });
    assert.deepEqual(never1.statuses, []);
    const never2 = await talk(server.url, post(["Content-Length: 100"], "abc"), { withinMs: 400 });
    assert.ok(!never2.text.includes(kContent));
  });

  test("clients that leave early, at every stage", async () => {
    const good = () => paymentV1(offers).then(encode);
    for (const bytes of ["", "GET", "GET /paid/data HTTP/1.1\r\n", get, request("GET /echo/x"), post(["Content-Length: 9"], "ab")]) {
      await talk(server.url, bytes, { cut: true });
    }
    // One that pays and leaves at once pays at most once; whether it does is interrupted.test.mjs's.
    const before = await rig.tokenBalance(chain.rpc, "payee");
    await talk(server.url, request("GET /paid/data", [`X-PAYMENT: ${await good()}`]), { cut: true });
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    paidHere = (await rig.tokenBalance(chain.rpc, "payee")) - before;
    assert.ok(paidHere <= 1000n);
  });
});

describe("headers kept apart", () => {
  after(() => {
    answerHeaders = {};
    answerTrailers = undefined;
  });

  test("the buyer's payment, license and key stay with us", async () => {
    paidHere = 1000n;
    const headers = {
      authorization: "Bearer license",
      "x-api-key": "key",
      "sign-in-with-x": "siwx",
      "payment-retry": "1",
      "payment-anything": "1",
      "x-payment-response": "forged",
      "settlement-overrides": '{"amount":"0"}',
      connection: "keep-alive, x-hop",
      "x-hop": "1",
      "proxy-authorization": "Basic x",
      "x-mine": "kept",
      "idempotency-key": "the buyer's",
    };
    const payment = payHeader(await paymentV2(offers));
    const lines = Object.entries({ ...headers, ...payment }).map(([name, value]) => `${name}: ${value}`);
    const { statuses } = await talk(server.url, request("GET /paid/data", lines), { until: whole, withinMs: 8_000 });
    assert.deepEqual(statuses, [200]);
    const seen = upstream.requests.at(-1).headers;
    for (const name of Object.keys(headers)) {
      if (["x-mine", "connection", "idempotency-key"].includes(name)) continue;
      assert.equal(seen[name], undefined, name);
    }
    assert.equal(seen["payment-signature"], undefined);
    assert.equal(seen["x-mine"], "kept");
    assert.match(seen["idempotency-key"], /^pay_/);
    assert.ok(!/x-hop/.test(seen.connection ?? ""));
  });

  test("on a free route too", async () => {
    const headers = { "payment-signature": "x", "x-payment": "x", authorization: "Bearer x", "x-api-key": "x" };
    const answer = await fetch(`${server.url}/echo/x`, { headers });
    assert.equal(answer.status, 200);
    const seen = upstream.requests.at(-1).headers;
    for (const name of Object.keys(headers)) assert.equal(seen[name], undefined, name);
  });

  test("the upstream's receipts, offers and overrides never reach a buyer, in heads and trailers", async () => {
    const forged = Buffer.from('{"success":true,"transaction":"0x1"}').toString("base64");
    answerHeaders = {
      "payment-response": forged,
      "x-payment-response": forged,
      "payment-required": forged,
      "settlement-overrides": '{"amount":"1"}',
      "extension-responses": forged,
      "x-payment": forged,
      "x-kept": "1",
      "transfer-encoding": "chunked",
    };
    answerTrailers = { "PAYMENT-RESPONSE": forged, "Settlement-Overrides": "{}", "X-Trailer": "kept" };
    const dropped = ["x-payment-response", "payment-required", "settlement-overrides", "extension-responses", "x-payment"];
    const free = await talk(server.url, request("GET /echo/x", ["Connection: close", "TE: trailers"]));
    assert.deepEqual(free.statuses, [200]);
    for (const name of [...dropped, "payment-response"]) {
      assert.ok(!new RegExp(`^${name}:`, "im").test(free.text), `${name}\n${free.text}`);
    }
    assert.match(free.text, /^x-kept: 1/im);
    assert.match(free.text, /^x-trailer: kept/im);

    paidHere = 1000n;
    const good = encode(await paymentV2(offers));
    const paid = await talk(
      server.url,
      request("GET /paid/data", [`PAYMENT-SIGNATURE: ${good}`, "Connection: close", "TE: trailers"]),
      { withinMs: 8_000 },
    );
    assert.deepEqual(paid.statuses, [200]);
    for (const name of dropped) assert.ok(!new RegExp(`^${name}:`, "im").test(paid.text), name);
    const receipts = [...paid.text.matchAll(/^payment-response: (.*)$/gim)];
    assert.equal(receipts.length, 1);
    assert.notEqual(receipts[0][1].trim(), forged);
    assert.equal(decode(receipts[0][1].trim()).payer, rig.evmAddress("buyer"));
  });

  test("an upstream's error keeps its overrides to itself as well", async () => {
    answerTrailers = undefined;
    answerHeaders = { "settlement-overrides": '{"amount":"1"}', "payment-response": "x" };
    const good = payHeader(await paymentV2(offers));
    const answer = await fetch(`${server.url}/paid/data`, { headers: good });
    await answer.text();
    if (answer.status === 200) paidHere = 1000n;
    assert.equal(answer.headers.get("settlement-overrides"), null);
  });
});

describe("browsers and caches", () => {
  test("a browser gets a page that says the price, with the offer in the header", async () => {
    const headers = { accept: "text/html,application/xhtml+xml,*/*;q=0.8", "user-agent": "Mozilla/5.0 (X11)" };
    const answer = await fetch(`${server.url}/paid/data?q=<script>alert(1)</script>`, { headers });
    assert.equal(answer.status, 402);
    assert.match(answer.headers.get("content-type"), /^text\/html/);
    const page = await answer.text();
    assert.match(page, /\$0\.001/);
    assert.ok(!page.includes("<script>"), "what the address says is escaped");
    assert.doesNotMatch(page, /(src|href)="http[^"]*\.(js|css|png|woff)/, "no assets from elsewhere");
    assert.equal(decode(answer.headers.get("payment-required")).x402Version, 2);
    assert.match(answer.headers.get("content-security-policy"), /default-src 'none'/);
  });

  test("nobody's cache keeps a refusal or shares a paid answer", async () => {
    answerHeaders = { "cache-control": "public, s-maxage=600, max-age=60", vary: "Accept-Encoding" };
    const unpaid = await fetch(`${server.url}/paid/data`);
    assert.match(unpaid.headers.get("cache-control"), /no-store/);
    assert.match(unpaid.headers.get("vary"), /PAYMENT-SIGNATURE/i);
    await unpaid.text();
    paidHere = 1000n;
    const paid = await payOnce(`${server.url}/paid/data`);
    await paid.text();
    assert.equal(paid.status, 200);
    assert.match(paid.headers.get("cache-control"), /private/);
    assert.doesNotMatch(paid.headers.get("cache-control"), /public|s-maxage/);
    assert.match(paid.headers.get("vary"), /PAYMENT-SIGNATURE/i);
    assert.match(paid.headers.get("vary"), /Accept-Encoding/i);
    answerHeaders = {};
  });
});
