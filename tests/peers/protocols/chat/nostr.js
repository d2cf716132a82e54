'use strict';

const WebSocket = require('ws');
const { delay, listener, load } = require('../support/socket');

// Subscriptions are told one event and the end of what is stored, or refused.
function accept(socket) {
  const events = [];
  const send = (...message) => socket.send(JSON.stringify(message));
  const received = {
    EVENT: (event) => {
      events.push(event);
      send('OK', event.id, true, '');
    },
    REQ: async (id, filter) => {
      if (filter.limit === 0) return send('CLOSED', id, 'error: as asked');
      await delay();
      for (const event of events) send('EVENT', id, event);
      return send('EOSE', id);
    },
    CLOSE: () => {},
  };
  socket.on('message', (data) => {
    const [type, ...rest] = JSON.parse(data);
    received[type](...rest);
  });
}

module.exports = {
  protocol: 'nostr',
  client: 'nostr-tools',
  server: null,
  echo: ['REQ', 'matched'],
  // Another method would not be told from the first by its outcome.
  other: ['REQ', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const { finalizeEvent, generateSecretKey } = await load('nostr-tools', 'lib/esm/pure.js');
    const { Relay, useWebSocketImplementation } = await load('nostr-tools', 'lib/esm/relay.js');
    useWebSocketImplementation(WebSocket);
    const relay = await Relay.connect(url);
    const event = { kind: 1, created_at: 1, tags: [], content: 'hello' };
    await tally.ask('EVENT', 'matched', () => relay.publish(finalizeEvent(event, generateSecretKey())));
    const subscribe = (filter) => new Promise((resolve, reject) => {
      const subscription = relay.subscribe([filter], {
        oneose: () => {
          resolve();
          subscription.close();
        },
        onclose: reject,
      });
    });
    return {
      echo: () => subscribe({ kinds: [1] }),
      other: () => subscribe({ kinds: [1], limit: 0 }),
      close: () => relay.close(),
    };
  },
};
