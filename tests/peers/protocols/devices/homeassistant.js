'use strict';

const { createConnection, createLongLivedTokenAuth } = require('home-assistant-js-websocket');
const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

async function answer({ id, type }) {
  if (type === 'call_service') {
    return { id, type: 'result', success: false, error: { code: 'not_found', message: 'as asked' } };
  }
  if (type === 'get_states') await delay();
  return { id, type: 'result', success: true, result: null };
}

function accept(socket) {
  const send = (message) => socket.send(JSON.stringify(message));
  send({ type: 'auth_required', ha_version: '2026.1.0' });
  socket.on('message', async (data) => {
    const message = JSON.parse(data);
    if (message.type === 'auth') send({ type: 'auth_ok', ha_version: '2026.1.0' });
    else send(await answer(message));
  });
}

module.exports = {
  protocol: 'homeassistant',
  client: 'home-assistant-js-websocket',
  server: null,
  echo: ['get_states', 'matched'],
  other: ['call_service', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    // The package takes the one of browsers.
    globalThis.WebSocket = WebSocket;
    const auth = createLongLivedTokenAuth(url.replace('wss', 'https'), 'token');
    const connection = await createConnection({ auth });
    tally.count('auth', 'matched');
    // Sent by the package itself.
    tally.count('supported_features', 'matched');
    return {
      echo: () => connection.sendMessagePromise({ type: 'get_states' }),
      other: () => connection.sendMessagePromise({ type: 'call_service', domain: 'light', service: 'no' }),
      close: () => connection.close(),
    };
  },
};
