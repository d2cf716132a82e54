'use strict';

const WebSocket = require('ws');
const { delay, listener, load } = require('../support/socket');

// What the package has for AppSync Events, which is otherwise one for all of the process.
const PROVIDER = 'dist/cjs/Providers/AWSAppSyncEventsProvider/index.js';

async function answer({ type, id, channel }) {
  if (type === 'connection_init') return { type: 'connection_ack', connectionTimeoutMs: 300000 };
  if (channel === '/default/forbidden') return { type: `${type}_error`, id, errors: [{ errorType: 'UnauthorizedException', message: 'as asked' }] };
  if (type === 'publish') await delay();
  const published = type === 'publish' ? { successful: [{ identifier: 'i', index: 0 }], failed: [] } : {};
  return { type: `${type}_success`, id, ...published };
}

function accept(socket) {
  socket.on('message', async (data) => socket.send(JSON.stringify(await answer(JSON.parse(data)))));
}

module.exports = {
  protocol: 'appsync',
  client: '@aws-amplify/api-graphql',
  server: null,
  echo: ['publish', 'matched'],
  other: ['publish', 'error'],

  serve: () => listener('aws-appsync-event-ws', accept),

  async connect(url, tally) {
    // The package takes the one of browsers.
    globalThis.WebSocket = WebSocket;
    const { AWSAppSyncEventProvider } = await load('@aws-amplify/api-graphql', PROVIDER);
    const provider = new AWSAppSyncEventProvider();
    const options = { appSyncGraphqlEndpoint: url.replace('wss', 'https'), authenticationType: 'apiKey', apiKey: 'key' };
    await provider.connect(options);
    tally.count('connection_init', 'matched');
    await new Promise((resolve, reject) => {
      const ready = { onSubscriptionReady: resolve, onSubscriptionError: (id, error) => reject(error) };
      provider.subscribe({ ...options, query: '/default/room', ...ready }).subscribe({ error: reject });
    });
    tally.count('subscribe', 'matched');
    const publish = (query, n) => provider.publish({ ...options, query, variables: [{ n }] });
    return {
      echo: (n) => publish('/default/room', n),
      other: (n) => publish('/default/forbidden', n),
      close: () => provider.close(),
    };
  },
};
