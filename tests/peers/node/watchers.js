// Opens wstap's page in several browsers, each in processes of its own. It reads lines:
//
//   stall        stops every process of the last browser, and prints `stalled`
//   answered N   waits until the other pages show so many answers, and prints what they show as JSON
//
// The end of its input ends all of them. What holds is asserted by the test that starts this.
"use strict";

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");
const { parseArgs } = require("node:util");

const { values: options } = parseArgs({
  options: { url: { type: "string" }, browsers: { type: "string" }, log: { type: "string" } },
});
const PATIENCE = { timeout: 120_000, polling: 500 };
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"];

/** A process that we started, and all that it started, parents first. */
function family(pid) {
  const children = (task) => fs.readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim().split(" ");
  try {
    const pids = fs.readdirSync(`/proc/${pid}/task`).flatMap(children).filter(Boolean).map(Number);
    return [pid, ...pids.flatMap(family)];
  } catch {
    // It has ended.
    return [pid];
  }
}

function signal(browser, name) {
  for (const pid of family(browser.process().pid)) {
    try {
      process.kill(pid, name);
    } catch {
      // It has ended.
    }
  }
}

/** Ends a browser, stopped or not, and waits until its profile can be removed. */
async function end({ browser, profile }) {
  const ended = new Promise((resolve) => browser.process().once("exit", resolve));
  signal(browser, "SIGKILL");
  await ended;
  fs.rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
}

async function open(puppeteer) {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "watcher-"));
  const browser = await puppeteer.launch({ executablePath: "/usr/bin/chromium", userDataDir: profile, args: ARGUMENTS, protocolTimeout: 300_000 });
  const page = await browser.newPage();
  await page.goto(options.url, { waitUntil: "load" });
  await page.waitForFunction(() => document.querySelector("#sentence").textContent.startsWith("Tapping"), PATIENCE);
  return { profile, browser, page };
}

/** Waits until the methods of the window have so many answers in all; returns them by method. */
async function answers(page, count) {
  await page.waitForFunction((count) => {
    const cells = [...document.querySelectorAll("#methods td[data-head=answered]")];
    return cells.reduce((sum, cell) => sum + Number(cell.textContent.replaceAll(",", "")), 0) === count;
  }, PATIENCE, count);
  return page.$$eval("#methods tbody tr", (rows) => Object.fromEntries(rows.map((row) => {
    const cell = (head) => row.querySelector(`td[data-head=${head}]`).textContent;
    return [cell("method"), Number(cell("answered").replaceAll(",", ""))];
  })));
}

async function main() {
  const { default: puppeteer } = await import(require.resolve("puppeteer-core"));
  const watchers = [];
  try {
    for (let number = 0; number < Number(options.browsers); number++) watchers.push(await open(puppeteer));
    console.log("ready");
    for await (const line of readline.createInterface({ input: process.stdin })) {
      const [word, count] = line.split(" ");
      if (word === "stall") {
        signal(watchers.at(-1).browser, "SIGSTOP");
        console.log("stalled");
      } else {
        const awake = watchers.slice(0, -1).map(({ page }) => answers(page, Number(count)));
        console.log(JSON.stringify(await Promise.all(awake)));
      }
    }
  } finally {
    await Promise.allSettled(watchers.map(end));
  }
}

main().then(() => process.exit(0), (error) => {
  console.error(error);
  process.exit(1);
});
