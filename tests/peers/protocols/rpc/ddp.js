'use strict';

const SimpleDDP = require('simpleddp');
const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

async function answer({ msg, id, method }) {
  if (msg === 'connect') return { msg: 'connected', session: 'one' };
  if (method === 'fail') return { msg: 'result', id, error: { error: 404, reason: 'as asked' } };
  await delay();
  return { msg: 'result', id, result: 1 };
}

function accept(socket) {
  socket.on('message', async (data) => {
    const message = JSON.parse(data);
    if (['connect', 'method'].includes(message.msg)) socket.send(JSON.stringify(await answer(message)));
  });
}

module.exports = {
  protocol: 'ddp',
  client: 'simpleddp',
  server: null,
  echo: ['echo', 'matched'],
  other: ['fail', 'error'],

  serve: () => listener(undefined, accept),

  async connect(endpoint, tally) {
    const client = new SimpleDDP({ endpoint, SocketConstructor: WebSocket, autoReconnect: false });
    await client.connect();
    tally.count('connect', 'matched');
    return {
      echo: (n) => client.call('echo', n),
      other: (n) => client.call('fail', n),
      close: () => client.disconnect(),
    };
  },
};
