'use strict';

const { deleteApp, initializeApp } = require('@firebase/app');
const database = require('@firebase/database');
const { delay, listener } = require('../support/socket');

async function answer({ r, a, b }) {
  const said = (s, d) => ({ t: 'd', d: { r, b: { s, d } } });
  if (a === 'p' && b.p === '/forbidden') return said('permission_denied', 'Permission denied');
  if (a === 'p') await delay();
  return said('ok', '');
}

function accept(socket, { headers }) {
  const send = (message) => socket.send(JSON.stringify(message));
  send({ t: 'c', d: { t: 'h', d: { ts: Date.now(), v: '5', h: headers.host, s: 'session' } } });
  socket.on('message', async (data) => {
    const message = JSON.parse(data);
    if (message.t === 'd') send(await answer(message.d));
  });
}

let apps = 0;

module.exports = {
  protocol: 'firebase',
  client: '@firebase/database',
  server: null,
  path: '.ws',
  echo: ['p', 'matched'],
  other: ['p', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    // Elsewhere than at `wss` it would begin with long polling.
    const databaseURL = `${new URL(url).origin}?ns=test`;
    const app = initializeApp({ databaseURL, projectId: 'test' }, `app-${apps++}`);
    const db = database.getDatabase(app);
    // Statistics.
    tally.count('s', 'matched');
    return {
      echo: (n) => database.set(database.ref(db, 'rooms'), n),
      other: (n) => database.set(database.ref(db, 'forbidden'), n),
      close: () => deleteApp(app),
    };
  },
};
