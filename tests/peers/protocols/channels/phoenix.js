'use strict';

const { Serializer, Socket } = require('phoenix');
const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

async function reply({ join_ref, ref, topic, event }) {
  if (event === 'echo') await delay();
  const payload = { status: event === 'fail' ? 'error' : 'ok', response: {} };
  return { join_ref, ref, topic, event: 'phx_reply', payload };
}

// The package is a client; its serializer reads and writes both ends.
function accept(socket) {
  socket.on('message', (data) => {
    Serializer.decode(String(data), async (message) => {
      Serializer.encode(await reply(message), (text) => socket.send(text));
    });
  });
}

// A push, as a promise.
function replied(push) {
  return new Promise((resolve, reject) => {
    push.receive('ok', resolve).receive('error', reject);
  });
}

module.exports = {
  protocol: 'phoenix',
  client: 'phoenix',
  server: 'phoenix',
  echo: ['echo', 'matched'],
  other: ['fail', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const socket = new Socket(url, { transport: WebSocket });
    socket.connect();
    const channel = socket.channel('room:lobby', {});
    await tally.ask('phx_join', 'matched', () => replied(channel.join()));
    return {
      echo: (n) => replied(channel.push('echo', { n })),
      other: (n) => replied(channel.push('fail', { n })),
      close: () => new Promise((resolve) => socket.disconnect(resolve)),
    };
  },
};
