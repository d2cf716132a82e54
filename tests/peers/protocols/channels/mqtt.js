'use strict';

const mqtt = require('mqtt');
const { createWebSocketStream } = require('ws');
const { delay, listener, load } = require('../support/socket');

module.exports = {
  protocol: 'mqtt',
  client: 'mqtt',
  server: 'aedes',
  echo: ['PUBLISH', 'matched'],
  other: ['SUBSCRIBE', 'error'],

  async serve() {
    const { Aedes } = await load('aedes');
    const broker = await Aedes.createBroker({
      authorizePublish: (client, packet, done) => delay().then(() => done(null)),
      // No topic is granted: the answer is a SUBACK with 0x80.
      authorizeSubscribe: (client, subscription, done) => done(null, null),
    });
    return listener('mqtt', (socket, request) => broker.handle(createWebSocketStream(socket), request));
  },

  async connect(url, tally) {
    const client = await mqtt.connectAsync(url, { rejectUnauthorized: false, reconnectPeriod: 0 });
    tally.count('CONNECT', 'matched');
    return {
      echo: (n) => client.publishAsync('a/b', `${n}`, { qos: 1 }),
      other: async (n) => {
        const [granted] = await client.subscribeAsync(`forbidden/${n}`);
        if (granted.qos === 128) throw new Error('not granted');
      },
      close: () => client.endAsync(),
    };
  },
};
