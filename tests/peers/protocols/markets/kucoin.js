'use strict';

const threads = require('worker_threads');
// Each connection has a thread, whose log would go to standard output, which is for the account.
threads.Worker = class extends threads.Worker {
  constructor(file) {
    super(file, { stdout: true });
  }
};
const { ClientOptionBuilder, DefaultClient, logger, WebSocketClientOptionBuilder, WebSocketEvent } = require('kucoin-universal-sdk');
const { delay, listener } = require('../support/socket');
const { overHttp, quiet } = require('../support/exchange');

logger.setGlobalLogger({ ...quiet, warn() {}, debug() {} });

const refusal = (topic) => `topic ${topic} is not found`;

async function answer({ id, type, topic }) {
  if (topic.includes('NOBODY')) return { id, type: 'error', code: 404, data: refusal(topic) };
  if (type === 'subscribe') await delay();
  return { id, type: 'ack' };
}

function accept(socket, { url }) {
  const id = new URL(url, 'wss://none').searchParams.get('connectId');
  socket.send(JSON.stringify({ id, type: 'welcome' }));
  socket.on('message', async (data) => socket.send(JSON.stringify(await answer(JSON.parse(data)))));
}

// What the client asks over HTTP first: where the WebSocket is, and how often to ping. On a slow machine it
// would do that, and what it asks then is in nobody's account.
const whereabouts = (endpoint) => ({
  code: '200000',
  data: {
    token: 'token',
    instanceServers: [{ endpoint, encrypt: true, protocol: 'websocket', pingInterval: 3_600_000, pingTimeout: 10000 }],
  },
});

module.exports = {
  protocol: 'kucoin',
  client: 'kucoin-universal-sdk',
  server: null,
  echo: ['subscribe', 'matched'],
  other: ['subscribe', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const exchange = await overHttp(whereabouts(url));
    const refusals = new Set();
    const events = new WebSocketClientOptionBuilder().withEventCallback((event, text) => {
      if (event === WebSocketEvent.EventErrorReceived) refusals.add(text);
    });
    const client = new DefaultClient(new ClientOptionBuilder()
      .setSpotEndpoint(exchange.url)
      .setTransportOption({ timeout: 10_000 })
      .setWebSocketClientOption(events.build())
      .build());
    const feed = client.wsService().newSpotPublicWS();
    await feed.start();
    exchange.close();
    const subscribe = (symbol) => feed.ticker([symbol], () => {});
    await feed.unSubscribe(await subscribe('BTC-USDT'));
    tally.count('subscribe', 'matched');
    tally.count('unsubscribe', 'matched');
    return {
      echo: (n) => subscribe(`C${n}-USDT`),
      // The promise is kept even so; of the refusal only the event tells.
      async other(n) {
        await subscribe(`NOBODY${n}`);
        if (refusals.has(refusal(`/market/ticker:NOBODY${n}`))) throw new Error('refused');
      },
      close: () => feed.stop(),
    };
  },
};
