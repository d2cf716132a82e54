'use strict';

const { WebSocket } = require('ws');
const Wamp = require('wamp1');
const { delay, listener } = require('../support/socket');

const [WELCOME, PREFIX, CALL, RESULT, ERROR, SUBSCRIBE, , PUBLISH] = [0, 1, 2, 3, 4, 5, 6, 7];

const PREFIX_URI = 'com.example.';
const TOPIC = 'com.example.topic';

async function answer([, id, uri, ...args]) {
  if (uri !== `${PREFIX_URI}echo`) return [ERROR, id, 'com.example.error', 'as asked'];
  await delay();
  return [RESULT, id, { n: args[0] }];
}

function accept(socket) {
  const send = (message) => socket.send(JSON.stringify(message));
  send([WELCOME, 'v59mbCGDXZ7WTyxB', 1, 'written for the test']);
  socket.on('message', async (data) => {
    const message = JSON.parse(data);
    if (message[0] === CALL) send(await answer(message));
    // Prefixes and subscriptions have no answer, and whoever publishes so does not hear of it.
    else if (![PREFIX, SUBSCRIBE, PUBLISH].includes(message[0])) socket.terminate();
  });
}

module.exports = {
  protocol: 'ocpp',
  client: 'wamp1',
  form: 'WAMP v1',
  server: null,
  echo: [`${PREFIX_URI}echo`, 'matched'],
  other: [`${PREFIX_URI}fail`, 'error'],

  serve: () => listener('wamp', accept),

  async connect(url) {
    const socket = new WebSocket(url, 'wamp');
    const session = await new Promise((resolve) => {
      const wamp = new Wamp(socket, () => resolve(wamp));
    });
    session.prefix('example', PREFIX_URI);
    session.subscribe(TOPIC, () => {});
    const excludeMe = true;
    session.publish(TOPIC, { n: 1 }, excludeMe);
    const call = (name, n) => new Promise((resolve, reject) => {
      session.call(`${PREFIX_URI}${name}`, n, (error, result) => (error ? reject(error) : resolve(result)));
    });
    return {
      echo: (n) => call('echo', n),
      other: (n) => call('fail', n),
      close: () => socket.close(),
    };
  },
};
