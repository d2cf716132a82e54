// A driver that starts a browser for each session.
'use strict';

const path = require('path');
const readline = require('readline');
const { spawn } = require('child_process');
const { load, passOn } = require('../support/socket');

const ECHO = 'script.callFunction';
const OTHER = 'browsingContext.navigate';

const CAPABILITIES = {
  alwaysMatch: {
    'goog:chromeOptions': {
      binary: '/usr/bin/chromium',
      args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    },
  },
};

// The port of a driver that ends with this process.
async function start() {
  const python = path.join(process.env.NODE_PATH, '../venv/bin/python');
  const driver = spawn(python, [path.join(__dirname, 'driver.py')], { stdio: ['pipe', 'pipe', 'ignore'] });
  const lines = readline.createInterface({ input: driver.stdout });
  return Number(await new Promise((resolve) => lines.once('line', resolve)));
}

// What the package itself says that it sends and receives, of which `tally` is told but for `asked`: those
// are counted where they are asked.
function logger(tally, asked) {
  const methods = new Map();
  const sent = ({ id, method }) => methods.set(id, method);
  const received = ({ id, type }) => {
    const method = methods.get(id);
    if (method === undefined || asked.includes(method)) return;
    tally.count(method, type === 'success' ? 'matched' : 'error');
  };
  const channels = { 'puppeteer:webDriverBiDi:SEND ►': sent, 'puppeteer:webDriverBiDi:RECV ◀': received };
  return (channel) => channels[channel] && ((text) => channels[channel](JSON.parse(text)));
}

module.exports = {
  protocol: 'webdriver-bidi',
  client: 'puppeteer-core',
  server: 'chromedriver',
  echo: [ECHO, 'matched'],
  other: [OTHER, 'error'],

  serve() {
    // Not before somebody comes: most tests do not.
    let port;
    return async (request, socket, head) => {
      port ??= start();
      passOn({ port: await port, path: '/session' }, request, socket, head);
    };
  },

  async connect(url, tally) {
    const { default: puppeteer } = await load('puppeteer-core');
    const browser = await puppeteer.connect({
      browserWSEndpoint: url,
      protocol: 'webDriverBiDi',
      capabilities: CAPABILITIES,
      logger: logger(tally, [ECHO, OTHER]),
    });
    const page = await browser.newPage();
    // It runs in the page. It takes so long that errors overtake it on a busy machine, too: by that the id is told
    // from a counter.
    const later = (n) => new Promise((resolve) => { setTimeout(() => resolve(n), 25); });
    return {
      echo: (n) => page.evaluate(later, n),
      other: () => page.goto('nobody://none'),
      close: () => browser.disconnect(),
    };
  },
};
