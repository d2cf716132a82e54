'use strict';

const { once } = require('events');
const { WebsocketAPIClient, WS_KEY_MAP } = require('gateio-api');
const { delay, listener } = require('../support/socket');
const { quiet } = require('../support/exchange');

// What the exchange answers, in turn.
async function answers({ time, channel, event, payload }) {
  if (event === 'subscribe') return [{ time, time_ms: time * 1000, channel, event, payload, error: null, result: { status: 'success' } }];
  const request_id = payload.req_id;
  const header = { response_time: `${Date.now()}`, status: '200', channel, event: 'api', client_id: '1', conn_id: 'c' };
  const done = { header, data: { result: { id: '1', status: 'open' } }, request_id };
  if (channel === 'spot.order_cancel') {
    const errs = { label: 'ORDER_NOT_FOUND', message: 'as asked' };
    return [{ header: { ...header, status: '400' }, data: { errs }, request_id }];
  }
  // An order is acknowledged before it is done.
  if (channel === 'spot.order_place') return [{ header, data: { result: payload }, request_id, ack: true }, done];
  if (channel === 'spot.order_status') await delay();
  return [done];
}

function accept(socket) {
  socket.on('message', async (data) => {
    for (const message of await answers(JSON.parse(data))) socket.send(JSON.stringify(message));
  });
}

module.exports = {
  protocol: 'gateio',
  client: 'gateio-api',
  server: null,
  echo: ['spot.order_status', 'matched'],
  other: ['spot.order_cancel', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    // On a slow machine it would ping, and what it asks then is in nobody's account.
    const pingInterval = 3_600_000;
    const options = { apiKey: 'key', apiSecret: 'secret', wsUrl: url, attachEventListeners: false, pingInterval };
    const client = new WebsocketAPIClient(options, quiet);
    const socket = client.getWSClient();
    socket.on('exception', () => {});
    await socket.connectWSAPI(WS_KEY_MAP.spotV4);
    tally.count('spot.login', 'matched');
    const subscribed = once(socket, 'response');
    socket.subscribe({ topic: 'spot.tickers', payload: ['BTC_USDT'] }, WS_KEY_MAP.spotV4);
    await subscribed;
    tally.count('subscribe', 'matched');
    const order = { currency_pair: 'BTC_USDT' };
    await client.submitNewSpotOrder({ ...order, side: 'buy', amount: '1', price: '1' });
    tally.count('spot.order_place', 'matched');
    return {
      echo: () => client.getSpotOrderStatus({ ...order, order_id: '1' }),
      other: () => client.cancelSpotOrder({ ...order, order_id: '1' }),
      close: () => socket.closeAll(true),
    };
  },
};
