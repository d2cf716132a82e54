'use strict';

const rhea = require('rhea');
const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

// Who asks with a `reply_to` is answered over the link from there; anything else is rejected.
function accept(socket) {
  const container = rhea.create_container();
  let replies;
  container.on('sender_open', ({ sender }) => { replies = sender; });
  container.on('message', async ({ message, delivery }) => {
    if (message.reply_to === undefined) {
      // In a turn of its own: rhea puts neighbours into one disposition, and gives the second the first's state.
      setImmediate(() => delivery.reject({ condition: 'amqp:not-allowed', description: 'as asked' }));
      return;
    }
    delivery.accept();
    await delay();
    replies.send({ correlation_id: message.message_id, body: message.body });
  });
  container.on('disconnected', () => {});
  container.websocket_accept(socket, { receiver_options: { autoaccept: false } });
}

function event(emitter, name) {
  return new Promise((resolve) => emitter.once(name, resolve));
}

module.exports = {
  protocol: 'amqp',
  client: 'rhea',
  server: 'rhea',
  echo: ['message', 'matched'],
  other: ['transfer', 'error'],

  serve: () => listener('amqp', accept),

  async connect(url, tally) {
    const container = rhea.create_container();
    const dial = container.websocket_connect(WebSocket);
    const connection = container.connect({ connection_details: dial(url, ['amqp'], {}), reconnect: false });
    container.on('disconnected', () => {});
    await event(connection, 'connection_open');
    tally.count('open', 'matched');
    const receiver = connection.open_receiver('replies');
    await event(receiver, 'receiver_open');
    const sender = connection.open_sender('orders');
    await event(sender, 'sendable');
    tally.count('begin', 'matched');
    tally.count('attach', 'matched');
    tally.count('attach', 'matched');
    const answered = new Map();
    receiver.on('message', ({ message }) => {
      tally.count('transfer', 'matched');
      answered.get(message.correlation_id)();
    });
    const rejected = new Map();
    sender.on('accepted', () => tally.count('transfer', 'matched'));
    sender.on('rejected', ({ delivery }) => rejected.get(delivery)(new Error('rejected')));
    return {
      echo: (n) => new Promise((resolve) => {
        answered.set(`m${n}`, resolve);
        sender.send({ message_id: `m${n}`, reply_to: 'replies', body: n });
      }),
      other: (n) => new Promise((_, reject) => {
        rejected.set(sender.send({ body: n }), reject);
      }),
      async close() {
        // The last answers are acknowledged in the loop's next turn.
        await new Promise((resolve) => setImmediate(resolve));
        receiver.close();
        sender.close();
        await Promise.all([event(receiver, 'receiver_close'), event(sender, 'sender_close')]);
        tally.count('detach', 'matched');
        tally.count('detach', 'matched');
        connection.close();
        await event(connection, 'connection_close');
        tally.count('close', 'matched');
      },
    };
  },
};
