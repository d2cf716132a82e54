'use strict';

const { setTimeout: pause } = require('timers/promises');
const Pusher = require('pusher-js');
const { delay, listener } = require('../support/socket');

async function answer(channel) {
  if (channel.startsWith('refused')) {
    return { event: 'pusher:subscription_error', channel, data: { type: 'AuthError', status: 403 } };
  }
  await delay();
  return { event: 'pusher_internal:subscription_succeeded', channel, data: '{}' };
}

function accept(socket) {
  const send = (message) => socket.send(JSON.stringify(message));
  const data = JSON.stringify({ socket_id: '1.1', activity_timeout: 120 });
  send({ event: 'pusher:connection_established', data });
  socket.on('message', async (text) => {
    const message = JSON.parse(text);
    if (message.event === 'pusher:subscribe') send(await answer(message.data.channel));
  });
}

module.exports = {
  protocol: 'pusher',
  client: 'pusher-js',
  server: null,
  echo: ['subscribe', 'matched'],
  other: ['subscribe', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url) {
    const { hostname, port, pathname } = new URL(url);
    const pusher = new Pusher('key', {
      cluster: 'test',
      wsHost: hostname,
      wssPort: port,
      wsPath: pathname,
      forceTLS: true,
      enabledTransports: ['ws', 'wss'],
      disableStats: true,
    });
    await new Promise((resolve) => pusher.connection.bind('connected', resolve));
    const subscribe = (name) => new Promise((resolve, reject) => {
      const channel = pusher.subscribe(name);
      channel.bind('pusher:subscription_succeeded', resolve);
      channel.bind('pusher:subscription_error', reject);
    });
    return {
      echo: (n) => subscribe(`channel-${n}`),
      other: (n) => subscribe(`refused-${n}`),
      close: async () => {
        pusher.disconnect();
        await pause(1);
      },
    };
  },
};
