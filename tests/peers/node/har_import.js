// Imports a HAR file into the network panel of Chromium's own developer tools, by the function behind the
// panel's button, and prints what the panel then has: a list of requests with their messages, as JSON.
//
// What holds is asserted by the test that starts this.
"use strict";

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { parseArgs } = require("node:util");

const { values: options } = parseArgs({ options: { file: { type: "string" }, picture: { type: "string" }, log: { type: "string" } } });
const TOOLS = "devtools://devtools/bundled";
const PATIENCE = { timeout: 60_000, polling: 200 };

const profile = fs.mkdtempSync(path.join(os.tmpdir(), "har-"));

/** The developer tools of an empty page, as a page of their own. */
async function openTools(browser) {
  const { host } = new URL(browser.wsEndpoint());
  const inspected = await browser.newPage();
  const session = await inspected.createCDPSession();
  const { targetInfo } = await session.send("Target.getTargetInfo");
  const tools = await browser.newPage();
  await tools.setViewport({ width: 1200, height: 700 });
  await tools.goto(`${TOOLS}/devtools_app.html?ws=${host}/devtools/page/${targetInfo.targetId}&panel=network`, { waitUntil: "load" });
  // Its window is there once it has begun to show panels.
  await tools.waitForFunction(() => document.body.childElementCount > 0, PATIENCE);
  return tools;
}

/** In the tools: imports the file, and returns what the panel's log has. */
async function importHar(root, text) {
  const [Network, UI, Logs] = await Promise.all(["panels/network/network.js", "ui/legacy/legacy.js", "models/logs/logs.js"].map((file) => import(`${root}/${file}`)));
  await UI.ViewManager.ViewManager.instance().showView("network");
  const panel = Network.NetworkPanel.NetworkPanel.instance();
  await panel.networkLogView.onLoadFromFile(new File([text], "messages.har"));
  return Logs.NetworkLog.NetworkLog.instance().requests().map((request) => ({
    url: request.url(),
    type: request.resourceType().name(),
    status: request.statusCode,
    messages: request.frames().map(({ type, opCode, text, time }) => ({ type, opcode: opCode, data: text, time })),
  }));
}

async function main() {
  const { default: puppeteer } = await import(require.resolve("puppeteer-core"));
  const browser = await puppeteer.launch({
    executablePath: "/usr/bin/chromium",
    userDataDir: profile,
    protocolTimeout: 300_000,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-allow-origins=*", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  });
  try {
    const tools = await openTools(browser);
    const requests = await tools.evaluate(importHar, TOOLS, fs.readFileSync(options.file, "utf8"));
    if (options.picture) await tools.screenshot({ path: options.picture });
    console.log(JSON.stringify(requests));
  } finally {
    await browser.close();
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  }
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
