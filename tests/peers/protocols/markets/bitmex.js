'use strict';

const BitMEXClient = require('bitmex-realtime-api');
const { delay, listener } = require('../support/socket');
const { overHttp } = require('../support/exchange');

// What the client asks over HTTP first: the tables that there are.
const TABLES = { subscriptionSubjects: { public: ['trade'], authenticationRequired: [] } };

const refusal = (topic) => `Unknown or expired symbol: ${topic}`;

async function answers(request) {
  const topic = request.args;
  const [table, symbol] = topic.split(':');
  if (symbol.startsWith('NOBODY')) return [{ status: 400, error: refusal(topic), meta: {}, request }];
  await delay();
  return [{ success: true, subscribe: topic, request }, { table, action: 'partial', keys: [], filter: { symbol }, data: [] }];
}

function accept(socket) {
  const send = (message) => socket.send(JSON.stringify(message));
  send({ info: 'Welcome to the BitMEX Realtime API.', version: '2', timestamp: new Date(), docs: 'https://www.bitmex.com/app/wsAPI' });
  socket.on('message', async (data) => {
    for (const message of await answers(JSON.parse(data))) send(message);
  });
}

module.exports = {
  protocol: 'bitmex',
  client: 'bitmex-realtime-api',
  server: null,
  echo: ['subscribe', 'matched'],
  other: ['subscribe', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url) {
    const exchange = await overHttp(TABLES);
    const client = new BitMEXClient({ endpoint: url, httpEndpoint: exchange.url });
    client.socket.logConnection = false;
    await new Promise((resolve) => client.once('initialize', resolve));
    exchange.close();
    // The client passes an error on without saying whose it is; the server's text does.
    const refusals = new Map();
    client.on('error', (text) => refusals.get(text)(new Error(text)));
    client.on('end', () => {});
    const subscribe = (symbol) => new Promise((resolve, reject) => {
      refusals.set(refusal(`trade:${symbol}`), reject);
      client.addStream(symbol, 'trade', resolve);
    });
    return {
      echo: (n) => subscribe(`XBT${n}`),
      other: (n) => subscribe(`NOBODY${n}`),
      close: () => client.socket.instance.close(1000),
    };
  },
};
