// Takes the picture of the README: node picture.js URL FILE
"use strict";

const [url, path] = process.argv.slice(2);

async function main() {
  const { default: puppeteer } = await import(require.resolve("puppeteer-core"));
  const browser = await puppeteer.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
  try {
    const page = await browser.newPage();
    await page.setViewport({ width: 1200, height: 940 });
    await page.goto(url);
    await page.waitForFunction(() => document.querySelectorAll("#methods tbody tr").length > 0);
    await page.screenshot({ path });
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
