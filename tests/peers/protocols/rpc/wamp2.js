'use strict';

const autobahn = require('autobahn');
const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

// A router for one session, whose calls go to its own registrations.
function accept(socket) {
  const registrations = new Map();
  const invocations = new Map();
  let ids = 1;
  const send = (...message) => socket.send(JSON.stringify(message));
  const received = {
    1: () => send(2, ids++, { roles: { broker: {}, dealer: {} } }),
    6: () => send(6, {}, 'wamp.close.goodbye_and_out'),
    64: (request, options, procedure) => {
      registrations.set(procedure, ids);
      send(65, request, ids++);
    },
    48: (request, options, procedure, args) => {
      invocations.set(ids, request);
      send(68, ids++, registrations.get(procedure), {}, args);
    },
    70: (request, options, args) => send(50, invocations.get(request), {}, args),
    8: (type, request, details, error) => send(8, 48, invocations.get(request), {}, error),
  };
  socket.on('message', (data) => {
    const [type, ...rest] = JSON.parse(data);
    received[type](...rest);
  });
}

module.exports = {
  protocol: 'wamp2',
  client: 'autobahn',
  server: null,
  echo: ['com.example.echo', 'matched'],
  other: ['com.example.fail', 'error'],

  serve: () => listener('wamp.2.json', accept),

  async connect(url, tally) {
    // The package takes the one of browsers.
    globalThis.WebSocket = WebSocket;
    const connection = new autobahn.Connection({
      url,
      realm: 'realm1',
      protocols: ['wamp.2.json'],
      max_retries: 0,
      on_user_error: () => {},
    });
    connection.onclose = () => true;
    const session = await new Promise((resolve) => {
      connection.onopen = resolve;
      connection.open();
    });
    tally.count('HELLO', 'matched');
    await session.register('com.example.echo', async ([n]) => {
      await delay();
      tally.count('INVOCATION', 'matched');
      return n;
    });
    await session.register('com.example.fail', () => {
      tally.count('INVOCATION', 'error');
      throw new autobahn.Error('com.example.error', ['as asked']);
    });
    tally.count('REGISTER', 'matched');
    tally.count('REGISTER', 'matched');
    const call = (procedure, n) =>
      new Promise((resolve, reject) => {
        session.call(procedure, [n]).then(resolve, reject);
      });
    return {
      echo: (n) => call('com.example.echo', n),
      other: (n) => call('com.example.fail', n),
      close: () => connection.close(),
    };
  },
};
