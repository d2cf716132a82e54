// A browser behind its own server, and a client that has none.
'use strict';

const { chromium } = require('playwright-core');
const { passOn } = require('../support/socket');

const CHROMIUM = {
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  host: '127.0.0.1',
  // Many start at once.
  timeout: 120_000,
};

module.exports = {
  protocol: 'playwright',
  client: 'playwright-core',
  server: 'playwright-core',
  echo: ['evaluateExpression', 'matched'],
  other: ['evaluateExpression', 'error'],

  serve() {
    // Not before somebody comes: it takes a while, and most tests do not.
    let launched;
    return async (request, socket, head) => {
      launched ??= chromium.launchServer(CHROMIUM);
      const { port, pathname } = new URL((await launched).wsEndpoint());
      passOn({ port, path: pathname }, request, socket, head);
    };
  },

  async connect(url, tally) {
    const browser = await chromium.connect(url);
    const page = await browser.newPage();
    for (const asked of ['initialize', 'newContext', 'newPage']) tally.count(asked, 'matched');
    // It runs in the page, whose timers may be early by less than a millisecond.
    const later = (n) => new Promise((resolve) => { setTimeout(() => resolve(n), 6); });
    return {
      echo: (n) => page.evaluate(later, n),
      other: () => page.evaluate(() => { throw new Error('as asked'); }),
      close: () => browser.close(),
    };
  },
};
