'use strict';

// Its log would go to standard output, which is for the account.
process.env.LOG_LEVEL = 'error';
const { Spot } = require('@binance/spot');
const { delay, listener } = require('../support/socket');

async function answer({ id, method }) {
  const rateLimits = [];
  if (method === 'klines') {
    return { id, status: 400, error: { code: -1121, msg: 'as asked' }, rateLimits };
  }
  await delay();
  return { id, status: 200, result: { serverTime: 1 }, rateLimits };
}

module.exports = {
  protocol: 'binance',
  client: '@binance/spot',
  server: null,
  echo: ['time', 'matched'],
  other: ['klines', 'error'],

  serve() {
    return listener(undefined, (socket) => {
      socket.on('message', async (data) => socket.send(JSON.stringify(await answer(JSON.parse(data)))));
    });
  },

  async connect(url) {
    const client = new Spot({ configurationWebsocketAPI: { apiKey: 'key', wsURL: url } });
    const connection = await client.websocketAPI.connect();
    return {
      echo: () => connection.time(),
      other: () => connection.klines({ symbol: 'NOBODY', interval: '1m' }),
      close: () => connection.disconnect(),
    };
  },
};
