'use strict';

const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { WebSocketClientTransport } = require('@modelcontextprotocol/sdk/client/websocket.js');
const { Server } = require('@modelcontextprotocol/sdk/server/index.js');
const types = require('@modelcontextprotocol/sdk/types.js');
const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

const NAMED = { name: 'test', version: '1' };

// The package has no server side of this transport; it is three functions.
function transport(socket) {
  const it = {
    start: async () => socket.on('message', (text) => it.onmessage(JSON.parse(text))),
    send: async (message) => socket.send(JSON.stringify(message)),
    close: async () => socket.close(),
  };
  return it;
}

function accept(socket) {
  const server = new Server(NAMED, { capabilities: { tools: {}, resources: {} } });
  server.setRequestHandler(types.CallToolRequestSchema, async () => {
    await delay();
    return { content: [] };
  });
  server.setRequestHandler(types.ReadResourceRequestSchema, () => {
    throw new Error('as asked');
  });
  server.connect(transport(socket));
}

module.exports = {
  protocol: 'mcp',
  client: '@modelcontextprotocol/sdk',
  server: '@modelcontextprotocol/sdk',
  echo: ['tools/call', 'matched'],
  other: ['resources/read', 'error'],

  serve: () => listener('mcp', accept),

  async connect(url, tally) {
    // The package takes the one of browsers.
    globalThis.WebSocket = WebSocket;
    const client = new Client(NAMED);
    await client.connect(new WebSocketClientTransport(new URL(url)));
    tally.count('initialize', 'matched');
    return {
      echo: (n) => client.callTool({ name: 'echo', arguments: { n } }),
      other: () => client.readResource({ uri: 'test://none' }),
      close: () => client.close(),
    };
  },
};
