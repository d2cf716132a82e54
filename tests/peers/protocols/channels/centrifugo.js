'use strict';

const { Centrifuge } = require('centrifuge');
const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

async function answer({ id, connect, rpc }) {
  if (connect) return { id, connect: { client: 'c', version: '5.4.0', ping: 25, pong: true } };
  if (rpc.method === 'fail') return { id, error: { code: 108, message: 'as asked' } };
  await delay();
  return { id, rpc: { data: rpc.data } };
}

function accept(socket) {
  socket.on('message', (text) => {
    for (const line of String(text).split('\n')) {
      const command = JSON.parse(line);
      if (command.id) answer(command).then((reply) => socket.send(JSON.stringify(reply)));
    }
  });
}

module.exports = {
  protocol: 'centrifugo',
  client: 'centrifuge',
  server: null,
  echo: ['echo', 'matched'],
  other: ['fail', 'error'],

  serve: () => listener('centrifuge-json', accept),

  async connect(url, tally) {
    const centrifuge = new Centrifuge(url, { websocket: WebSocket });
    const connected = new Promise((resolve) => centrifuge.once('connected', resolve));
    centrifuge.connect();
    await connected;
    tally.count('connect', 'matched');
    return {
      echo: (n) => centrifuge.rpc('echo', { n }),
      other: (n) => centrifuge.rpc('fail', { n }),
      close: () => centrifuge.disconnect(),
    };
  },
};
