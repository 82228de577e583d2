// A headless Chromium (Debian's chromium-headless-shell), spoken to over its pipe: no driver to install.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

const kBinary = process.env.PTG_CHROMIUM ?? "/usr/lib/chromium/chromium-headless-shell";
const kWithinMs = 20_000;

// {page(options), stop()}. Its profile is a folder that goes with it.
export async function startChromium() {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "ptg-chromium-"));
  const child = spawn(
    kBinary,
    ["--remote-debugging-pipe", `--user-data-dir=${profile}`, "--no-sandbox", "--disable-dev-shm-usage",
      "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run",
      "--no-proxy-server", "--lang=en-US", "--force-color-profile=srgb", "--hide-scrollbars", "about:blank"],
    { env: { PATH: process.env.PATH, HOME: profile, TZ: "UTC", LANG: "C.UTF-8" }, stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] },
  );
  const abandon = () => child.kill("SIGKILL");
  process.once("exit", abandon);
  let said = "";
  child.stderr.on("data", (data) => (said = (said + data).slice(-4000)));
  const calls = new Map();
  const listeners = new Map(); // by session
  let last = 0;
  let rest = "";
  const failAll = (why) => {
    for (const { reject } of calls.values()) reject(new Error(why));
    calls.clear();
  };
  child.once("error", (error) => failAll(`chromium: ${error.message}`));
  const exited = new Promise((resolve) => child.once("close", resolve));
  exited.then(() => failAll(`chromium has ended\n${said}`));
  child.stdio[3].on("error", () => {});
  child.stdio[4].setEncoding("utf8").on("data", (data) => {
    const parts = (rest + data).split("\0");
    rest = parts.pop();
    for (const part of parts) {
      const message = JSON.parse(part);
      if (message.id === undefined) {
        listeners.get(message.sessionId)?.(message.method, message.params);
        continue;
      }
      const call = calls.get(message.id);
      calls.delete(message.id);
      if (message.error) call?.reject(new Error(`${call.method}: ${message.error.message}`));
      else call?.resolve(message.result);
    }
  });
  const send = (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      const id = ++last;
      const late = setTimeout(() => reject(new Error(`${method} took too long\n${said}`)), kWithinMs);
      const done = (fn) => (value) => (clearTimeout(late), calls.delete(id), fn(value));
      calls.set(id, { method, resolve: done(resolve), reject: done(reject) });
      child.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  await send("Browser.getVersion");
  return {
    page: (options) => openPage(send, listeners, options),
    async stop() {
      const late = setTimeout(abandon, 3_000);
      send("Browser.close").catch(() => {});
      await exited;
      clearTimeout(late);
      process.removeListener("exit", abandon);
      fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

// One tab with cookies of its own, as wide as a telephone. What it asked for and what it complained of is in
// `requests` and `complaints`.
async function openPage(send, listeners, { width = 390, height = 844, dark = false, script = true } = {}) {
  const { browserContextId } = await send("Target.createBrowserContext");
  const { targetId } = await send("Target.createTarget", { url: "about:blank", browserContextId });
  const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
  const call = (method, params) => send(method, params, sessionId);
  const requests = [];
  const complaints = [];
  const weights = new Map(); // of what the page in view asked for
  let loaded = () => {};
  const told = {
    "Page.loadEventFired": () => loaded(),
    "Network.requestWillBeSent": ({ request, requestId, redirectResponse }) => {
      requests.push({ url: request.url, method: request.method });
      if (redirectResponse) weights.set(requestId, (weights.get(requestId) ?? 0) + redirectResponse.encodedDataLength);
    },
    "Network.loadingFinished": ({ requestId, encodedDataLength }) =>
      weights.set(requestId, (weights.get(requestId) ?? 0) + encodedDataLength),
    "Log.entryAdded": ({ entry }) => complaints.push(`${entry.source}: ${entry.text} ${entry.url ?? ""}`),
    "Runtime.consoleAPICalled": ({ type, args }) => complaints.push(`${type}: ${JSON.stringify(args)}`),
    "Runtime.exceptionThrown": ({ exceptionDetails }) => complaints.push(exceptionDetails.text),
    "Audits.issueAdded": ({ issue }) => complaints.push(`${issue.code}: ${JSON.stringify(issue.details)}`),
  };
  listeners.set(sessionId, (method, params) => told[method]?.(params));
  for (const domain of ["Page", "Network", "Log", "Runtime", "Audits"]) await call(`${domain}.enable`);
  const mobile = width < 600;
  await call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: mobile ? 2 : 1, mobile });
  await call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }] });
  await call("Emulation.setFocusEmulationEnabled", { enabled: true }); // or the cursor stands nowhere
  if (!script) await call("Emulation.setScriptExecutionDisabled", { value: true });

  const page = {
    requests,
    complaints,
    call,
    // The value of an expression in the page.
    async ask(expression) {
      const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, returnByValue: true });
      if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
      return result.value;
    },
    url: () => page.ask("location.href"),
    text: () => page.ask("document.body.innerText"),
    html: () => page.ask("document.documentElement.outerHTML"),
    // Does something that leads to another page and waits for it. {bytes, ms} of it, redirects included.
    async leads(action) {
      weights.clear();
      const there = new Promise((resolve, reject) => {
        const late = setTimeout(async () => {
          const [url, text] = await Promise.all([page.url(), page.text()]).catch(() => ["a page that does not answer", ""]);
          reject(new Error(`no page came; it still is ${url}\n${text}`));
        }, kWithinMs / 2);
        loaded = () => (clearTimeout(late), resolve());
      });
      await Promise.all([there, action()]);
      const ms = await page.ask("performance.getEntriesByType('navigation')[0].duration");
      const bytes = [...weights.values()].reduce((a, b) => a + b, 0);
      return { bytes, ms };
    },
    open: (url) =>
      page.leads(async () => {
        const { errorText } = await call("Page.navigate", { url });
        if (errorText) throw new Error(`${url}: ${errorText}`);
      }),
    // A finger on the middle of it.
    async tap(selector) {
      const at = await page.ask(`(() => {
        const all = [...document.querySelectorAll(${JSON.stringify(selector)})];
        const one = all.find((e) => e.getClientRects().length);
        if (!one) return null;
        one.scrollIntoView({ block: "center" });
        const box = one.getBoundingClientRect();
        return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
      })()`);
      if (!at) throw new Error(`there is no ${selector} to tap on ${await page.url()}\n${await page.text()}`);
      for (const type of ["mousePressed", "mouseReleased"]) {
        await call("Input.dispatchMouseEvent", { type, ...at, button: "left", clickCount: 1 });
      }
    },
    // Types where the cursor is, or into `selector`, without a tap. A page that puts the cursor somewhere by itself
    // does so a moment after it has come.
    async type(text, selector) {
      const cursor = "document.activeElement !== document.body";
      for (let tries = 0; !(await page.ask(selector ? `!document.querySelector('[autofocus]') || ${cursor}` : cursor)); ++tries) {
        if (tries > 200) throw new Error(`there is no cursor on ${await page.url()}\n${await page.text()}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      if (selector) {
        const there = await page.ask(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); e?.focus(); e?.select?.(); return !!e; })()`);
        if (!there) throw new Error(`there is no ${selector} to type into on ${await page.url()}\n${await page.text()}`);
      }
      await call("Input.insertText", { text });
    },
    async screenshot(file) {
      const { data } = await call("Page.captureScreenshot", { format: "png", captureBeyondViewport: true });
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, Buffer.from(data, "base64"));
    },
    cookies: async () => (await call("Network.getCookies")).cookies,
    async close() {
      await send("Target.disposeBrowserContext", { browserContextId });
      listeners.delete(sessionId);
    },
  };
  return page;
}
