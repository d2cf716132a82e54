'use strict';

const { Client, Server } = require('rpc-websockets');
const { behind, delay } = require('../support/socket');

module.exports = {
  protocol: 'jsonrpc',
  client: 'rpc-websockets',
  server: 'rpc-websockets',
  echo: ['echo', 'matched'],
  other: ['fail', 'error'],

  serve() {
    return behind((http) => {
      const server = new Server({ server: http });
      server.register('echo', async ([a, b]) => {
        await delay();
        return a + b;
      }, '/rpc-websockets');
      server.register('fail', () => {
        throw new Error('as asked');
      }, '/rpc-websockets');
    });
  },

  async connect(url) {
    const client = new Client(url, { reconnect: false });
    await new Promise((resolve) => client.on('open', resolve));
    return {
      echo: (n) => client.call('echo', [n, 1]),
      other: (n) => client.call('fail', [n, 0]),
      close: () => client.close(),
    };
  },
};
