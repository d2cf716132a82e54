'use strict';

const { WebsocketAPIClient, WS_KEY_MAP } = require('okx-api');
const { delay, listener } = require('../support/socket');
const { quiet } = require('../support/exchange');

// When the exchange had the request and its answer, in microseconds.
const TIMES = { inTime: '1695190491421339', outTime: '1695190491423240' };

async function answer({ id, op }) {
  if (op === 'login') return { event: 'login', code: '0', msg: '', connId: 'c' };
  if (op === 'cancel-order') return { id, op, code: '1', msg: '', data: [{ sCode: '51400', sMsg: 'as asked' }], ...TIMES };
  await delay();
  return { id, op, code: '0', msg: '', data: [{ ordId: '1', sCode: '0' }], ...TIMES };
}

module.exports = {
  protocol: 'okx',
  client: 'okx-api',
  server: null,
  echo: ['order', 'matched'],
  other: ['cancel-order', 'error'],

  serve() {
    return listener(undefined, (socket) => {
      socket.on('message', async (data) => {
        const text = data.toString();
        socket.send(text === 'ping' ? 'pong' : JSON.stringify(await answer(JSON.parse(text))));
      });
    });
  },

  async connect(url, tally) {
    const accounts = [{ apiKey: 'key', apiSecret: 'secret', apiPass: 'pass' }];
    const options = { accounts, wsUrl: url, attachEventListeners: false, authPrivateConnectionsOnConnect: false };
    const client = new WebsocketAPIClient(options, quiet);
    client.getWSClient().on('exception', () => {});
    client.getWSClient().on('authenticated', () => tally.count('login', 'matched'));
    await client.getWSClient().assertIsAuthenticated(WS_KEY_MAP.prodPrivate, false);
    const order = { instIdCode: 1, tdMode: 'cash', side: 'buy', ordType: 'market', sz: '1' };
    return {
      echo: () => client.submitNewOrder(order),
      other: () => client.cancelOrder({ instIdCode: 1, ordId: '1' }),
      close: () => client.getWSClient().closeAll(true),
    };
  },
};
