'use strict';

const { createRPCError, RPCClient, RPCServer } = require('ocpp-rpc');
const { delay } = require('../support/socket');

module.exports = {
  protocol: 'ocpp',
  client: 'ocpp-rpc',
  server: 'ocpp-rpc',
  echo: ['Heartbeat', 'matched'],
  other: ['DataTransfer', 'error'],

  serve() {
    const server = new RPCServer({ protocols: ['ocpp1.6'] });
    server.on('client', (client) => {
      client.handle('Heartbeat', async () => {
        await delay();
        return { currentTime: new Date().toISOString() };
      });
      client.handle('DataTransfer', () => {
        throw createRPCError('NotSupported', 'as asked');
      });
    });
    return server.handleUpgrade;
  },

  async connect(url) {
    const client = new RPCClient({
      endpoint: url,
      identity: 'CP-1',
      protocols: ['ocpp1.6'],
      callConcurrency: 4,
    });
    await client.connect();
    return {
      echo: () => client.call('Heartbeat', {}),
      other: () => client.call('DataTransfer', { vendorId: 'x' }),
      close: () => client.close(),
    };
  },
};
