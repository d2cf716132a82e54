// Socket.IO with one of its parsers.
'use strict';

const { Server } = require('socket.io');
const { io } = require('socket.io-client');
const { behind, delay } = require('./socket');

// The peer under the path `name`; `parser` is left out for the one that is built in.
module.exports = (name, parser, form) => {
  const path = `/${name}/socket.io/`;
  const parsed = parser === undefined ? {} : { parser };
  return {
    protocol: 'socketio',
    client: 'socket.io-client',
    form,
    server: 'socket.io',
    echo: ['echo', 'matched'],
    // An acknowledgement does not know of errors.
    other: ['blob', 'matched'],

    serve() {
      return behind((http) => {
        const server = new Server(http, { path, transports: ['websocket'], ...parsed });
        server.of('/rooms').on('connection', (socket) => {
          socket.on('echo', async (n, acknowledge) => {
            await delay();
            acknowledge(n);
          });
          // Attachments both ways.
          socket.on('blob', (data, acknowledge) => acknowledge(data));
        });
      });
    },

    async connect(url) {
      const { origin } = new URL(url);
      const socket = io(`${origin}/rooms`, {
        path,
        transports: ['websocket'],
        rejectUnauthorized: false,
        forceNew: true,
        ...parsed,
      });
      await new Promise((resolve, reject) => {
        socket.on('connect', resolve);
        socket.on('connect_error', reject);
      });
      return {
        echo: (n) => socket.emitWithAck('echo', n),
        other: (n) => socket.emitWithAck('blob', Buffer.from([n])),
        close: () => socket.disconnect(),
      };
    },
  };
};
