'use strict';

const { market } = require('../support/exchange');
const { delay, listener, load } = require('../support/socket');

// Loading takes long; it begins at once.
const loaded = load('ccxt', 'js/src/pro/deribit.js');

// More than there are requests on one connection.
const SYMBOLS = 1_000;

const TOKEN = { access_token: 'token', expires_in: 31536000, refresh_token: 'token', scope: 'connection', token_type: 'bearer' };

const ticker = (channel) => ({
  timestamp: Date.now(),
  instrument_name: channel.split('.')[1],
  state: 'open',
  stats: { volume: 1, low: 1, high: 2 },
  last_price: 1,
  best_bid_price: 1,
  best_bid_amount: 1,
  best_ask_price: 2,
  best_ask_amount: 1,
});

const order = { order_id: '1', order_state: 'open', instrument_name: 'BTC-1', creation_timestamp: 1, direction: 'buy', amount: 1 };

async function result({ method, params: { channels } }) {
  if (method === 'public/auth') return { result: TOKEN };
  if (channels[0].includes('NOBODY')) return { error: { message: 'Invalid params', data: { reason: 'unknown', param: 'channels' }, code: -32602 } };
  if (method === 'public/subscribe') await delay();
  return { result: channels };
}

function accept(socket) {
  const send = (message) => socket.send(JSON.stringify({ jsonrpc: '2.0', ...message }));
  socket.on('message', async (data) => {
    const request = JSON.parse(data);
    const usIn = Date.now() * 1000;
    const answer = await result(request);
    const usOut = Date.now() * 1000;
    send({ id: request.id, ...answer, usIn, usOut, usDiff: usOut - usIn, testnet: false });
    if (!Array.isArray(answer.result)) return;
    for (const channel of answer.result) {
      const data = channel.startsWith('ticker.') ? ticker(channel) : [order];
      send({ method: 'subscription', params: { channel, data } });
    }
  });
}

module.exports = {
  protocol: 'deribit',
  client: 'ccxt',
  server: null,
  echo: ['public/subscribe', 'matched'],
  other: ['private/subscribe', 'matched'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const Deribit = (await loaded).default;
    const exchange = new Deribit({ apiKey: 'key', secret: 'secret', enableRateLimit: false });
    const symbols = Array.from({ length: SYMBOLS }, (_, n) => market(exchange, `C${n}/USD`, `C${n}-USD`));
    exchange.setMarkets([...symbols, market(exchange, 'NO/BODY', 'NOBODY'), market(exchange, 'BTC/USD', 'BTC-1')]);
    exchange.urls.api = { ...exchange.urls.api, ws: url };
    await exchange.authenticate();
    tally.count('public/auth', 'matched');
    // A refusal ends all that waits on the connection, so there is one only, and alone.
    const refused = await exchange.watchTicker('NO/BODY', { interval: '100ms' }).then(() => false, () => true);
    if (!refused) throw new Error('it is not refused');
    tally.count('public/subscribe', 'error');
    return {
      echo: (n) => exchange.watchTicker(`C${n}/USD`, { interval: '100ms' }),
      other: (n) => exchange.watchOrders(undefined, undefined, undefined, { currency: `C${n}` }),
      close: () => exchange.close(),
    };
  },
};
