'use strict';

const { Client } = require('xrpl');
const { delay, listener } = require('../support/socket');

async function answer({ id, command }) {
  if (command === 'account_info') {
    return { id, type: 'response', status: 'error', error: 'actNotFound', error_message: 'as asked' };
  }
  await delay();
  return { id, type: 'response', status: 'success', result: { ledger_current_index: 1 } };
}

function accept(socket) {
  socket.on('message', async (text) => socket.send(JSON.stringify(await answer(JSON.parse(text)))));
}

module.exports = {
  protocol: 'xrpl',
  client: 'xrpl',
  server: null,
  echo: ['ledger_current', 'matched'],
  other: ['account_info', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url) {
    const client = new Client(url);
    await client.connect();
    return {
      echo: () => client.request({ command: 'ledger_current' }),
      other: () => client.request({ command: 'account_info', account: 'none' }),
      close: () => client.disconnect(),
    };
  },
};
