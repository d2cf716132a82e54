'use strict';

const { once } = require('events');
const { WSv2 } = require('bitfinex-api-node');
const { delay, listener } = require('../support/socket');

// Says what became of a request about an order.
const notification = (type, order, status, text) => [0, 'n', [Date.now(), type, null, null, order, null, status, text]];

let channels = 1;

async function answer(request) {
  if (Array.isArray(request)) {
    const [, type, , { id, cid }] = request;
    if (type === 'oc') return notification('oc-req', [id, null, null, 'tBTCUSD'], 'ERROR', 'as asked');
    await delay();
    return notification('on-req', [1, null, cid, 'tBTCUSD'], 'SUCCESS', 'Submitting an order.');
  }
  const { event, chanId, flags } = request;
  if (event === 'auth') return { event, status: 'OK', chanId: 0, userId: 1, caps: {} };
  if (event === 'conf') return { event, status: 'OK', flags };
  if (event === 'unsubscribe') return { event: 'unsubscribed', status: 'OK', chanId };
  return { ...request, event: 'subscribed', chanId: channels++ };
}

function accept(socket) {
  const send = (message) => socket.send(JSON.stringify(message));
  send({ event: 'info', version: 2, serverId: 's', platform: { status: 1 } });
  socket.on('message', async (data) => send(await answer(JSON.parse(data))));
}

// Three subscriptions, of which one is given up. They may be confirmed in one turn of the loop.
function subscribe(client, tally) {
  client.on('subscribed', ({ chanId, channel }) => {
    tally.count('subscribe', 'matched');
    if (channel === 'trades') client.unsubscribe(chanId);
  });
  client.subscribeCandles('trade:1m:tBTCUSD');
  client.subscribeCandles('trade:1m:tETHUSD');
  client.subscribeTrades('tBTCUSD');
  return once(client, 'unsubscribed');
}

module.exports = {
  protocol: 'bitfinex',
  client: 'bitfinex-api-node',
  server: null,
  echo: ['on', 'matched'],
  other: ['oc', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const client = new WSv2({ apiKey: 'key', apiSecret: 'secret', url });
    await client.open();
    await client.auth();
    tally.count('auth', 'matched');
    await client.enableFlag(WSv2.flags.TIMESTAMP);
    tally.count('conf', 'matched');
    await subscribe(client, tally);
    tally.count('unsubscribe', 'matched');
    const order = { type: 'EXCHANGE MARKET', symbol: 'tBTCUSD', amount: 1 };
    return {
      echo: (n) => client.submitOrder({ ...order, cid: 1000 + n }),
      other: (n) => client.cancelOrder(2000 + n),
      close: () => client.close(1000),
    };
  },
};
