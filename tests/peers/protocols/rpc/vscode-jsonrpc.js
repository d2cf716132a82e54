'use strict';

const { createMessageConnection, ResponseError } = require('vscode-jsonrpc/node');
const WebSocket = require('ws');
const { delay, listener, load } = require('../support/socket');

function connection(library, socket) {
  const { toSocket, WebSocketMessageReader, WebSocketMessageWriter } = library;
  const wrapped = toSocket(socket);
  const reader = new WebSocketMessageReader(wrapped);
  return createMessageConnection(reader, new WebSocketMessageWriter(wrapped));
}

module.exports = {
  protocol: 'jsonrpc',
  client: 'vscode-jsonrpc',
  server: 'vscode-jsonrpc',
  echo: ['echo', 'matched'],
  other: ['fail', 'error'],

  async serve() {
    const library = await load('vscode-ws-jsonrpc');
    return listener(undefined, (socket) => {
      const server = connection(library, socket);
      server.onRequest('echo', async (params) => {
        await delay();
        return params;
      });
      server.onRequest('fail', () => new ResponseError(-32803, 'as asked'));
      server.listen();
    });
  },

  async connect(url) {
    const library = await load('vscode-ws-jsonrpc');
    const socket = new WebSocket(url);
    await new Promise((resolve) => socket.on('open', resolve));
    const client = connection(library, socket);
    client.listen();
    return {
      echo: (n) => client.sendRequest('echo', { n }),
      other: () => client.sendRequest('fail', {}),
      close: () => socket.close(1000),
    };
  },
};
