'use strict';

const { execute, subscribe } = require('graphql');
const { SubscriptionClient, SubscriptionServer } = require('subscriptions-transport-ws');
const WebSocket = require('ws');
const { echo, fail, schema } = require('../support/graphql');
const { behind } = require('../support/socket');

module.exports = {
  protocol: 'graphql-ws',
  client: 'subscriptions-transport-ws',
  server: 'subscriptions-transport-ws',
  echo: ['echo', 'matched'],
  other: ['fail', 'error'],

  serve() {
    return behind((server) => SubscriptionServer.create({ schema, execute, subscribe }, { server }));
  },

  async connect(url, tally) {
    const client = new SubscriptionClient(url, { minTimeout: 30_000 }, WebSocket);
    await new Promise((resolve) => client.onConnected(resolve));
    tally.count('connection_init', 'matched');
    const query = (payload) =>
      new Promise((resolve, reject) => {
        let failure;
        client.request(payload).subscribe({
          next: ({ errors }) => { failure = errors; },
          error: reject,
          complete: () => (failure ? reject(failure) : resolve()),
        });
      });
    return {
      echo: (n) => query(echo(n)),
      other: () => query(fail),
      close: () => client.close(),
    };
  },
};
