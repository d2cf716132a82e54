'use strict';

const { CborCodec, Surreal } = require('surrealdb');
const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

const codec = new CborCodec({});

async function answer({ id, method, params }) {
  if (method === 'version') return { id, result: 'surrealdb-2.6.0' };
  if (method !== 'query') return { id, result: null };
  if (String(params[0]).startsWith('THROW')) return { id, error: { code: -32000, message: 'as asked' } };
  await delay();
  return { id, result: [{ status: 'OK', time: '5ms', type: null, result: [] }] };
}

function accept(socket) {
  socket.on('message', async (data) => {
    const request = codec.decode(new Uint8Array(data));
    socket.send(codec.encode(await answer(request)));
  });
}

module.exports = {
  protocol: 'surrealdb',
  client: 'surrealdb',
  form: 'CBOR',
  server: null,
  echo: ['query', 'matched'],
  other: ['query', 'error'],

  serve: () => listener('cbor', accept),

  async connect(url, tally) {
    // The package takes the one of browsers.
    globalThis.WebSocket = WebSocket;
    const db = new Surreal();
    await db.connect(`${url}/rpc`, { namespace: 'test', database: 'test', reconnect: false });
    tally.count('version', 'matched');
    tally.count('use', 'matched');
    return {
      echo: () => db.query('SELECT * FROM person').collect(),
      other: () => db.query('THROW "as asked"').collect(),
      close: () => db.close(),
    };
  },
};
