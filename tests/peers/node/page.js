// Opens wstap's page in a headless Chromium and uses it as a person does. It prints what it found as
// JSON, then waits for a line, after which wstap ends, and prints what the page says of that.
//
// What holds is asserted by the test that starts this; here things are only done and looked at.
"use strict";

const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");
const { parseArgs } = require("node:util");

const { values: options } = parseArgs({
  options: {
    url: { type: "string" },
    answered: { type: "string" },
    pictures: { type: "string" },
    log: { type: "string" },
  },
});
const answered = Number(options.answered);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE = { timeout: 60_000, polling: 200 };

const profile = fs.mkdtempSync(path.join(os.tmpdir(), "page-"));
const complaints = [];

/** The texts of a table, a list for each row. */
const rows = (page, id) => page.$$eval(`#${id} tbody tr`, (rows) =>
  rows.map((row) => Object.fromEntries([...row.cells].map((cell) => [cell.dataset.head, cell.textContent]))));
const text = (page, id) => page.$eval(`#${id}`, (element) => element.textContent);

/** Waits until the methods of the window have so many answers in all. */
const whenAnswered = (page, count) => page.waitForFunction((count) => {
  const cells = [...document.querySelectorAll("#methods td[data-head=answered]")];
  return cells.reduce((sum, cell) => sum + Number(cell.textContent.replaceAll(",", "")), 0) === count;
}, PATIENCE, count);

async function findings(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html, any }) => `${id}: ${html} ${any.map((it) => it.message).join(" ")}`));
}

/** What stands out on the right side, where nobody sees it. */
const outside = (page) => page.evaluate(() => [...document.querySelectorAll("body *")]
  .filter((element) => element.getClientRects().length > 0 && !element.closest(".away, .skip"))
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 100)));

const pause = (millis) => new Promise((resolve) => setTimeout(resolve, millis));
const picture = (page, name) => options.pictures && page.screenshot({ path: path.join(options.pictures, `${name}.png`), fullPage: true });

async function sorting(page) {
  const column = async () => (await rows(page, "methods")).map((row) => row.method);
  const order = [await column()];
  const head = await page.evaluateHandle(() => [...document.querySelectorAll("#methods th button")].find((it) => it.textContent === "method"));
  await head.focus();
  for (let time = 0; time < 2; time++) {
    await page.keyboard.press("Enter");
    order.push(await column());
  }
  const direction = await page.$eval("#methods th[aria-sort]", (head) => head.getAttribute("aria-sort"));
  return { order, direction };
}

async function filtering(page, word) {
  await page.type("#filter", word);
  const left = (await rows(page, "methods")).map((row) => row.method);
  await page.$eval("#filter", (input) => { input.value = ""; input.dispatchEvent(new Event("input")); });
  return left;
}

/** Drags over the left part of a chart, where nothing has happened yet, then over all of it. */
async function dragging(page) {
  const chart = await page.$("#rate .u-over");
  await chart.scrollIntoView();
  const box = await chart.boundingBox();
  const drag = async (from, to) => {
    const y = box.y + box.height / 2;
    await page.mouse.move(box.x + from * box.width, y);
    await page.mouse.down();
    await page.mouse.move(box.x + to * box.width, y, { steps: 8 });
    await page.mouse.up();
  };
  const before = await text(page, "window-text");
  // Half of it: a chart of few seconds, dragged over as a whole, would show the same window.
  await drag(0.5, 0.98);
  const during = await text(page, "window-text");
  const pressed = await page.$$eval("[data-minutes][aria-pressed=true]", (buttons) => buttons.length);
  await picture(page, "dragged");
  await page.focus("[data-minutes='15']");
  await page.keyboard.press("Enter");
  await whenAnswered(page, answered);
  const again = await page.$eval("[data-minutes='15']", (button) => button.getAttribute("aria-pressed"));
  return { before, during, pressed, again };
}

async function looking_into_a_connection(page) {
  await page.focus("#connections tbody button");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll("#lines tbody tr").length > 0, PATIENCE);
  const title = await text(page, "messages-title");
  const focused = await page.evaluate(() => document.activeElement.id);
  const lines = await rows(page, "lines");
  await page.focus("#messages-close");
  await page.keyboard.press("Enter");
  const closed = await page.$eval("#messages", (element) => element.hidden);
  return { title, focused, lines, closed };
}

async function main() {
  // A module that `require` does not load; `import` alone does not look into NODE_PATH.
  const { default: puppeteer } = await import(require.resolve("puppeteer-core"));
  const browser = await puppeteer.launch({
    executablePath: "/usr/bin/chromium",
    userDataDir: profile,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  });
  try {
    const page = await browser.newPage();
    page.on("console", (message) => { if (["error", "warn"].includes(message.type())) complaints.push(message.text()); });
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("response", (response) => { if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`); });
    await page.setViewport({ width: 1280, height: 900 });
    await page.goto(options.url, { waitUntil: "load" });
    await whenAnswered(page, answered);
    const result = { methods: await rows(page, "methods"), connections: await rows(page, "connections"), feeds: await rows(page, "feeds"), sentence: await text(page, "sentence") };
    await pause(1500);
    await picture(page, "light");
    result.axe = { light: await findings(page) };
    result.sorting = await sorting(page);
    result.filtered = await filtering(page, "fail");
    result.dragging = await dragging(page);
    result.connection = await looking_into_a_connection(page);
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
    await pause(1200);
    await picture(page, "dark");
    result.axe.dark = await findings(page);
    await page.setViewport({ width: 390, height: 844 });
    await pause(1200);
    await picture(page, "narrow-dark");
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }]);
    await pause(1200);
    await picture(page, "narrow");
    result.axe.narrow = await findings(page);
    result.outside = await outside(page);
    result.complaints = [...complaints];
    console.log(JSON.stringify(result));
    await new Promise((resolve) => readline.createInterface({ input: process.stdin }).once("line", resolve));
    await page.waitForFunction(() => !document.getElementById("stale").hidden, PATIENCE);
    console.log(JSON.stringify({ stale: await text(page, "stale"), sentence: await text(page, "sentence"), gone: await page.evaluate(() => document.body.className) }));
  } finally {
    await browser.close();
    fs.rmSync(profile, { recursive: true, force: true });
  }
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
