// Spellings of a paid path: whatever a server behind us makes of one, it is never served unpaid.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { findsPaid, kContent, kRoutes } from "../rig/src/lenient.mjs";
import { encode, offersOf, paymentV1 } from "../rig/src/pay.mjs";
import { sellerConfig, startPontage } from "../rig/src/pontage.mjs";
import { request, talk } from "../rig/src/raw.mjs";
import * as rig from "../rig/src/rig.mjs";
import { startUpstream } from "../rig/src/upstream.mjs";

let chain, upstream, server;
const balance = () => rig.tokenBalance(chain.rpc, "payee");
before(async () => {
  chain = await rig.up();
  upstream = await startUpstream((req, res) => res.end(findsPaid(req.url) ? kContent : "free content"));
  server = await startPontage(sellerConfig({ rpc: chain.rpc, upstream: upstream.url, routes: kRoutes }));
});
after(async () => {
  await server?.stop();
  await upstream?.stop();
  await chain?.stop();
});

const kSpellings = [
  "/paid/data",
  "/paid/data/",
  "/paid/data//",
  "//paid/data",
  "///paid///data",
  "/paid//data",
  "/PAID/DATA",
  "/Paid/Data",
  "/paid/dat%61",
  "/%70%61%69%64/data",
  "/%50aid/data",
  "/paid%2fdata",
  "/paid%2Fdata",
  "/paid%5cdata",
  "/paid%5Cdata",
  "/paid\\data",
  "\\paid\\data",
  "/\\paid/data",
  "/x/../paid/data",
  "/x/%2e%2e/paid/data",
  "/x/.%2E/paid/data",
  "/x%2f..%2fpaid%2fdata",
  "/x/..%2fpaid/data",
  "/x/..\\paid\\data",
  "/./paid/./data",
  "/%2e/paid/%2e/data",
  "/paid/x/../data",
  "/paid/data/.",
  "/paid/data/x/..",
  "/paid/data;",
  "/paid/data;jsessionid=1",
  "/paid;x=1/data",
  "/;x/paid/data",
  "/paid/data%3bx",
  "/paid/..;/paid/data",
  "/paid/data%00",
  "/paid/data%00.css",
  "/paid/%00data",
  "/paid/data%0a",
  "/paid/data%20",
  "/paid/%",
  "/paid/%zz/../data",
  "/paid/data%c0",
  "/paid/dat%c1%a1",
  "/paid/%e0%80%af../data",
  "/paid%252fdata",
  "/%2570aid/data",
  "/paid/%252e%252e/paid/data",
  "/paid/data?",
  "/paid/data?x=1",
  "/paid/data#x",
  "/paid/data?/../../echo/x",
  "/paid/data#/../../echo/x",
  "/echo/../paid/data",
  "/echo/%2e%2e/paid/data",
  "/echo/..%2fpaid/data",
  "/echo/..%5cpaid%5cdata",
  "/echo/x/../../paid/data",
  "/echo/..;/paid/data",
  "/echo/a%5Cb%2F..%2F..%2Fpaid%2Fdata",
  "/echo/a%5cb/../../paid%2fdata",
  "/paid%2Fdata%2F..;x%2F..%2Fother",
  "/echo%2f..;x%2f..%2fpaid%2fdata",
  "/sold%2F7%5Cx",
  "/sold/help;what%20is%20the%20capital",
  "/sold/help%3bwhat",
  "/sold%2fhelp;what",
  "/../paid/data",
  "/../../paid/data",
  "http://shop.example/paid/data",
  "HTTP://shop.example//paid/data",
  "http://shop.example/echo/../paid/data",
  "http://shop.example\\paid\\data",
  "http://shop.example/echo/..%2fpaid%2fdata",
  "//shop.example/paid/data",
  "paid/data",
  "*/paid/data",
  "?/paid/data",
  "/paid/data\t",
  "/paid/\u00e4/../data",
  "/paid/data%E2%80%8B/..",
];
test("the seller behind would hand it out", async () => {
  for (const path of ["/paid/data", "/echo/..%2fPaid%5Cdata;x", "/sold/help;what"]) {
    assert.equal(await (await fetch(upstream.url + path)).text(), kContent, path);
  }
});

for (const path of kSpellings) {
  test(JSON.stringify(path), async () => {
    const raw = Buffer.from(request(`GET ${path}`, ["Connection: close"]), "utf8");
    const { statuses, text } = await talk(server.url, raw);
    assert.ok(!text.includes(kContent), `served free: ${text.slice(0, 200)}`);
    assert.equal(statuses.length, 1, text.slice(0, 200));
    assert.ok(statuses[0] < 500, `${statuses[0]}`);
  });
}

test("what was matched is what is sent: a paid spelling reaches the upstream in one form", async () => {
  const had = await balance();
  const good = encode(await paymentV1(await offersOf(`${server.url}/paid/data`)));
  const raw = request("GET //Paid/x/../%44ata/?q=%2F", [`X-PAYMENT: ${good}`, "Connection: close"]);
  const { statuses, text } = await talk(server.url, raw, { withinMs: 5_000 });
  assert.deepEqual(statuses, [200], text);
  assert.equal((await balance()) - had, 1000n, "and it alone is paid");
  assert.equal(upstream.requests.at(-1).url, "/Paid/Data/?q=%2F");
});
