// The client of the name before, which writes JSON.
'use strict';

const { Surreal } = require('surrealdb.js');
const { delay, listener } = require('../support/socket');

async function answer({ id, method, params }) {
  if (method === 'signin') return { id, result: 'token' };
  if (method !== 'query') return { id, result: null };
  if (params[0].startsWith('THROW')) return { id, error: { code: -32000, message: 'as asked' } };
  await delay();
  return { id, result: [{ status: 'OK', time: '5ms', result: [] }] };
}

function accept(socket) {
  socket.on('message', async (data) => socket.send(JSON.stringify(await answer(JSON.parse(data)))));
}

module.exports = {
  protocol: 'surrealdb',
  client: 'surrealdb.js',
  form: 'JSON',
  server: null,
  path: 'rpc',
  echo: ['query', 'matched'],
  other: ['query', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const db = new Surreal();
    const auth = { username: 'root', password: 'root' };
    await db.connect(new URL(url).origin, { namespace: 'test', database: 'test', auth });
    tally.count('use', 'matched');
    tally.count('signin', 'matched');
    return {
      echo: () => db.query('SELECT * FROM person'),
      other: () => db.query('THROW "as asked"'),
      close: () => db.close(),
    };
  },
};
