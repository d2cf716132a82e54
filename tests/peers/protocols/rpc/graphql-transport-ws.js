'use strict';

const { createClient, makeServer } = require('graphql-ws');
const WebSocket = require('ws');
const { echo, fail, schema } = require('../support/graphql');
const { listener } = require('../support/socket');

module.exports = {
  protocol: 'graphql-transport-ws',
  client: 'graphql-ws',
  server: 'graphql-ws',
  echo: ['echo', 'matched'],
  other: ['fail', 'error'],

  serve() {
    const server = makeServer({ schema });
    return listener('graphql-transport-ws', (socket) => {
      const closed = server.opened(
        {
          protocol: socket.protocol,
          send: (data) => new Promise((resolve) => socket.send(data, resolve)),
          close: (code, reason) => socket.close(code, reason),
          onMessage: (listen) => socket.on('message', (data) => listen(String(data))),
        },
        {},
      );
      socket.on('close', (code, reason) => closed(code, String(reason)));
    });
  },

  async connect(url, tally) {
    let connected;
    const acknowledged = new Promise((resolve) => { connected = resolve; });
    const client = createClient({
      url,
      webSocketImpl: WebSocket,
      lazy: false,
      onNonLazyError: (error) => { throw error; },
      on: { connected },
    });
    await acknowledged;
    tally.count('connection_init', 'matched');
    const query = (payload) =>
      new Promise((resolve, reject) => {
        let failure;
        client.subscribe(payload, {
          next: ({ errors }) => { failure = errors; },
          error: reject,
          complete: () => (failure ? reject(failure) : resolve()),
        });
      });
    return {
      echo: (n) => query(echo(n)),
      other: () => query(fail),
      close: () => client.dispose(),
    };
  },
};
