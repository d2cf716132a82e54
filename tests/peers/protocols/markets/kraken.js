'use strict';

const { Kraken } = require('node-kraken-api');
const { delay, listener } = require('../support/socket');

// One status for each pair, all with the request's number.
const statuses = ({ reqid, event, pair, subscription }) => pair.map((pair, index) => ({
  channelID: index,
  channelName: subscription.name,
  event: 'subscriptionStatus',
  pair,
  reqid,
  status: `${event}d`,
  subscription,
}));

async function answers(request) {
  const { event, reqid } = request;
  if (event === 'ping') return [{ event: 'pong', reqid }];
  if (event === 'subscribe') return statuses(request);
  if (event === 'cancelOrder') return [{ event: 'cancelOrderStatus', reqid, status: 'error', errorMessage: 'EOrder:Unknown order' }];
  await delay();
  return [{ event: 'addOrderStatus', reqid, status: 'ok', txid: 'O', descr: 'buy 1 XBTUSD @ market' }];
}

function accept(socket) {
  const send = (message) => socket.send(JSON.stringify(message));
  send({ connectionID: 8628615390848610000, event: 'systemStatus', status: 'online', version: '1.0.0' });
  socket.on('message', async (data) => {
    for (const message of await answers(JSON.parse(data))) send(message);
  });
}

module.exports = {
  protocol: 'kraken',
  client: 'node-kraken-api',
  server: null,
  echo: ['addOrder', 'matched'],
  other: ['cancelOrder', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    // The package puts a port behind it, which becomes the query here.
    const connection = new Kraken.WS.Connection(`${url.replace('wss://', '')}?`, () => 10_000);
    connection.on('error', () => {});
    await connection.open();
    await connection.ping();
    tally.count('ping', 'matched');
    const subscriber = new Kraken.WS.Subscriber(connection, 'ticker', () => {}, {});
    await subscriber.subscribe('XBT/USD', 'ETH/USD');
    tally.count('subscribe', 'matched');
    const order = { token: 'token', ordertype: 'market', type: 'buy', pair: 'XBT/USD', volume: '1' };
    return {
      echo: () => connection.request({ event: 'addOrder', ...order }),
      other: () => connection.request({ event: 'cancelOrder', token: 'token', txid: ['O'] }),
      close: () => connection.close(),
    };
  },
};
