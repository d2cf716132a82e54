'use strict';

const { WebsocketAPIClient } = require('bybit-api');
const { delay, listener } = require('../support/socket');
const { quiet } = require('../support/exchange');

async function answer({ op, reqId, req_id }) {
  if (op === 'auth') return { success: true, ret_msg: '', op, req_id, conn_id: 'c' };
  if (op === 'order.cancel') return { reqId, retCode: 110001, retMsg: 'as asked', op, connId: 'c' };
  await delay();
  return { reqId, retCode: 0, retMsg: 'OK', op, data: { orderId: '1' }, connId: 'c' };
}

module.exports = {
  protocol: 'bybit',
  client: 'bybit-api',
  server: null,
  echo: ['order.create', 'matched'],
  other: ['order.cancel', 'error'],

  serve() {
    return listener(undefined, (socket) => {
      socket.on('message', async (data) => socket.send(JSON.stringify(await answer(JSON.parse(data)))));
    });
  },

  async connect(url, tally) {
    const options = { key: 'key', secret: 'secret', wsUrl: url, attachEventListeners: false, authPrivateConnectionsOnConnect: false };
    const client = new WebsocketAPIClient(options, quiet);
    client.getWSClient().on('exception', () => {});
    client.getWSClient().on('authenticated', () => tally.count('auth', 'matched'));
    const order = { category: 'linear', symbol: 'BTCUSDT' };
    await client.getWSClient().connectWSAPI();
    return {
      echo: () => client.submitNewOrder({ ...order, side: 'Buy', orderType: 'Market', qty: '1' }),
      other: () => client.cancelOrder({ ...order, orderId: '1' }),
      close: () => client.getWSClient().closeAll(true),
    };
  },
};
