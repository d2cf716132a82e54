'use strict';

const { adapters, createConsumer } = require('@rails/actioncable');
const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

async function confirm(identifier) {
  const { channel } = JSON.parse(identifier);
  if (channel === 'RefusedChannel') return { identifier, type: 'reject_subscription' };
  await delay();
  return { identifier, type: 'confirm_subscription' };
}

function accept(socket) {
  socket.send(JSON.stringify({ type: 'welcome' }));
  socket.on('message', async (data) => {
    const { command, identifier } = JSON.parse(data);
    if (command === 'subscribe') socket.send(JSON.stringify(await confirm(identifier)));
  });
}

module.exports = {
  protocol: 'actioncable',
  client: '@rails/actioncable',
  server: null,
  echo: ['subscribe', 'matched'],
  other: ['subscribe', 'error'],

  serve: () => listener('actioncable-v1-json', accept),

  async connect(url) {
    // The package expects a browser around it.
    adapters.WebSocket = WebSocket;
    globalThis.addEventListener ??= () => {};
    globalThis.removeEventListener ??= () => {};
    const consumer = createConsumer(url);
    // It would ask again after half a second, which an answer takes on a machine under load.
    consumer.subscriptions.guarantor.guarantee = () => {};
    const subscribe = (channel, n) =>
      new Promise((resolve, reject) => {
        const told = { connected: resolve, rejected: () => reject(new Error('rejected')) };
        consumer.subscriptions.create({ channel, n }, told);
      });
    return {
      echo: (n) => subscribe('RoomChannel', n),
      other: (n) => subscribe('RefusedChannel', n),
      close: () => consumer.disconnect(),
    };
  },
};
