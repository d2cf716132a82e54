'use strict';

const { overHttp, market } = require('../support/exchange');
const { delay, listener, load } = require('../support/socket');

// Loading takes long; it begins at once.
const loaded = load('ccxt', 'js/src/pro/kraken.js');

const now = () => new Date().toISOString();

// One answer for each symbol, all with the request's number, and what was subscribed to.
const subscribed = ({ req_id, params: { channel, symbol } }) => symbol.flatMap((symbol) => [
  { method: 'subscribe', req_id, result: { channel, snapshot: true, symbol }, success: true, time_in: now(), time_out: now() },
  { channel, type: 'snapshot', data: [{ symbol, bid: 1, ask: 2, last: 1, volume: 1, vwap: 1, low: 1, high: 2, change: 0, change_pct: 0 }] },
]);

async function answers(request) {
  const { method, req_id } = request;
  const times = { time_in: now(), time_out: now() };
  if (method === 'subscribe') return subscribed(request);
  if (method === 'cancel_order') return [{ error: 'EOrder:Unknown order', method, req_id, success: false, ...times }];
  await delay();
  return [{ method, req_id, result: { order_id: 'OXM2QD-EALR2-YBAVEU' }, success: true, ...times }];
}

function accept(socket) {
  const send = (message) => socket.send(JSON.stringify(message));
  send({ channel: 'status', type: 'update', data: [{ api_version: 'v2', connection_id: 1, system: 'online', version: '2.0.0' }] });
  socket.on('message', async (data) => {
    for (const message of await answers(JSON.parse(data))) send(message);
  });
}

module.exports = {
  protocol: 'kraken',
  client: 'ccxt',
  form: 'version 2',
  server: null,
  echo: ['add_order', 'matched'],
  other: ['cancel_order', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    // The client asks for a token there.
    const token = await overHttp({ error: [], result: { token: 'token', expires: 900 } });
    const Kraken = (await loaded).default;
    const exchange = new Kraken({ apiKey: 'key', secret: 'c2VjcmV0', enableRateLimit: false });
    exchange.setMarkets(['BTC/USD', 'ETH/USD'].map((symbol) => market(exchange, symbol, symbol)));
    exchange.urls.api = {
      ...exchange.urls.api,
      private: token.url,
      ws: { public: url, private: url, publicV2: url, privateV2: url },
    };
    // On a slow machine it would ping, and that is in nobody's account.
    exchange.streaming.keepAlive = 3_600_000;
    await exchange.watchTickers(['BTC/USD', 'ETH/USD']);
    tally.count('subscribe', 'matched');
    await exchange.authenticate();
    token.close();
    return {
      echo: () => exchange.createOrderWs('BTC/USD', 'market', 'buy', 1),
      other: (n) => exchange.cancelOrderWs(`O${n}`),
      close: () => exchange.close(),
    };
  },
};
