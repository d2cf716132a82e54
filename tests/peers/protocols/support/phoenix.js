// Phoenix channels, in the form that is text and in the one that is binary.
'use strict';

const { Serializer, Socket } = require('phoenix');
const WebSocket = require('ws');
const { delay, listener } = require('./socket');

async function reply({ join_ref, ref, topic, event }) {
  if (event === 'echo') await delay();
  const payload = { status: event === 'fail' ? 'error' : 'ok', response: {} };
  return { join_ref, ref, topic, event: 'phx_reply', payload };
}

// The binary form of a push: the lengths of four texts behind its kind, the texts, and what they are
// about. That of a reply is the same, with its status for an event.
const REPLY = 1;

function pushed(data) {
  let at = 5;
  const [join_ref, ref, topic, event] = [...data.subarray(1, 5)].map((length) => data.toString('utf8', at, at += length));
  return { join_ref, ref, topic, event };
}

function replyBytes({ join_ref, ref, topic, payload }) {
  const texts = [join_ref, ref, topic, payload.status];
  return Buffer.concat([Buffer.of(REPLY, ...texts.map((text) => text.length)), Buffer.from(texts.join(''))]);
}

// The package is a client; its serializer reads and writes both ends of the form that is text.
function accept(socket) {
  socket.on('message', async (data, isBinary) => {
    if (isBinary) return socket.send(replyBytes(await reply(pushed(data))));
    Serializer.decode(String(data), async (message) => {
      Serializer.encode(await reply(message), (text) => socket.send(text));
    });
  });
}

// A push, as a promise.
function replied(push) {
  return new Promise((resolve, reject) => {
    push.receive('ok', resolve).receive('error', reject);
  });
}

// `content` makes what the n-th push is about.
module.exports = (content, form) => ({
  protocol: 'phoenix',
  client: 'phoenix',
  form,
  server: 'phoenix',
  echo: ['echo', 'matched'],
  other: ['fail', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const socket = new Socket(url, { transport: WebSocket });
    socket.connect();
    const channel = socket.channel('room:lobby', {});
    await tally.ask('phx_join', 'matched', () => replied(channel.join()));
    return {
      echo: (n) => replied(channel.push('echo', content(n))),
      other: (n) => replied(channel.push('fail', { n })),
      close: () => new Promise((resolve) => socket.disconnect(resolve)),
    };
  },
});
