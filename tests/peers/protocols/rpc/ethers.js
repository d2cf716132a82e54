'use strict';

const { JSONRPCErrorException, JSONRPCServer } = require('json-rpc-2.0');
const { Network, WebSocketProvider } = require('ethers');
const { delay, listener } = require('../support/socket');

module.exports = {
  protocol: 'jsonrpc',
  client: 'ethers',
  server: 'json-rpc-2.0',
  echo: ['eth_blockNumber', 'matched'],
  other: ['eth_sendRawTransaction', 'error'],

  serve() {
    const server = new JSONRPCServer({ errorListener: () => {} });
    server.addMethod('eth_blockNumber', async () => {
      await delay();
      return '0x4b7';
    });
    server.addMethod('eth_sendRawTransaction', () => {
      throw new JSONRPCErrorException('nonce too low', -32000);
    });
    return listener(undefined, (socket) => {
      socket.on('message', async (data) => socket.send(JSON.stringify(await server.receive(JSON.parse(data)))));
    });
  },

  async connect(url) {
    const staticNetwork = Network.from('mainnet');
    const provider = new WebSocketProvider(url, staticNetwork, { staticNetwork });
    return {
      echo: () => provider.send('eth_blockNumber', []),
      other: () => provider.send('eth_sendRawTransaction', ['0x00']),
      close: () => provider.destroy(),
    };
  },
};
