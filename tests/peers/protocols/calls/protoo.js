'use strict';

const { Peer, WebSocketTransport } = require('protoo-client');
const { Room, WebSocketServer } = require('protoo-server');
const { behind, delay } = require('../support/socket');

let peers = 0;

function join(room, transport) {
  const peer = room.createPeer(String(peers++), transport);
  peer.on('request', async ({ method, data }, accept, reject) => {
    if (method !== 'echo') return reject(500, 'as asked');
    await delay();
    return accept(data);
  });
}

module.exports = {
  protocol: 'protoo',
  client: 'protoo-client',
  server: 'protoo-server',
  echo: ['echo', 'matched'],
  other: ['fail', 'error'],

  serve() {
    const room = new Room();
    return behind((http) => {
      const server = new WebSocketServer(http);
      server.on('connectionrequest', (info, accept) => join(room, accept()));
    });
  },

  async connect(url) {
    const tls = { tlsOptions: { rejectUnauthorized: false } };
    const peer = new Peer(new WebSocketTransport(url, { retry: { retries: 0 }, clientConfig: tls }));
    await new Promise((resolve, reject) => {
      peer.on('open', resolve);
      peer.on('failed', reject);
    });
    return {
      echo: (n) => peer.request('echo', { n }),
      other: (n) => peer.request('fail', { n }),
      close: () => peer.close(),
    };
  },
};
