// WAMP v2 in one of its serializations: a router for one session, and a client that calls itself.
'use strict';

const autobahn = require('autobahn');
const WebSocket = require('ws');
const { delay, listener } = require('./socket');

// A router for one session, whose calls go to its own registrations.
function accept(socket, serializer) {
  const registrations = new Map();
  const invocations = new Map();
  let ids = 1;
  // The next is written when the one before it was: some serializers are not done at once.
  let written = Promise.resolve();
  const send = (...message) => {
    written = written.then(async () => socket.send(await serializer.serialize(message)));
  };
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
    const [type, ...rest] = serializer.unserialize(serializer.BINARY ? data : String(data));
    received[type](...rest);
  });
}

// The peer that speaks `subprotocol`.
module.exports = (subprotocol, serializer, form) => ({
  protocol: 'wamp2',
  client: 'autobahn',
  form,
  server: null,
  echo: ['com.example.echo', 'matched'],
  other: ['com.example.fail', 'error'],

  serve: () => listener(subprotocol, (socket) => accept(socket, serializer)),

  async connect(url, tally) {
    // The package takes the one of browsers.
    globalThis.WebSocket = WebSocket;
    const connection = new autobahn.Connection({
      url,
      realm: 'realm1',
      protocols: [subprotocol],
      serializers: [serializer],
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
});
