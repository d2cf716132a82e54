// A protocol of one's own, which the README describes to wstap.
'use strict';

const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

async function answer({ cmd, seq }) {
  if (cmd === 'refuse') return { ok: false, seq };
  await delay();
  return { ok: true, seq };
}

module.exports = {
  protocol: 'orders',
  client: 'ws',
  server: 'ws',
  echo: ['place', 'matched'],
  other: ['refuse', 'matched'],

  serve() {
    return listener(undefined, (socket) => {
      socket.on('message', async (data) => socket.send(JSON.stringify(await answer(JSON.parse(data)))));
    });
  },

  async connect(url) {
    const socket = new WebSocket(url);
    await new Promise((resolve) => socket.on('open', resolve));
    const waiting = new Map();
    socket.on('message', (data) => {
      const { seq } = JSON.parse(data);
      waiting.get(seq)();
    });
    const ask = (cmd, seq) =>
      new Promise((resolve) => {
        waiting.set(seq, resolve);
        socket.send(JSON.stringify({ cmd, seq }));
      });
    return {
      echo: (n) => ask('place', n),
      other: (n) => ask('refuse', n),
      close: () => socket.close(1000),
    };
  },
};
