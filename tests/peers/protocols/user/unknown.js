// A protocol that nobody knows: lines of text with a number, and no id that rules could find.
'use strict';

const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

module.exports = {
  protocol: 'unknown',
  client: 'ws',
  server: 'ws',
  echo: ['say', 'matched'],
  other: ['shout', 'matched'],

  serve() {
    return listener(undefined, (socket) => {
      socket.on('message', async (data) => {
        await delay();
        socket.send(`heard ${data}`);
      });
    });
  },

  async connect(url) {
    const socket = new WebSocket(url);
    await new Promise((resolve) => socket.on('open', resolve));
    const waiting = [];
    socket.on('message', () => waiting.shift()());
    const say = (line) =>
      new Promise((resolve) => {
        waiting.push(resolve);
        socket.send(line);
      });
    return {
      echo: (n) => say(`say ${n}`),
      other: (n) => say(`SAY ${n}`),
      close: () => socket.close(1000),
    };
  },
};
