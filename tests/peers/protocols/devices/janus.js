'use strict';

const { delay, listener, load } = require('../support/socket');

// What Janus answers at once, and whether an event follows.
async function answer(send, { janus, transaction, session_id, body }) {
  const reply = (message) => send({ session_id, transaction, ...message });
  if (janus === 'create' || janus === 'attach') return reply({ janus: 'success', data: { id: 1 } });
  if (janus === 'destroy' || janus === 'detach') return reply({ janus: 'success' });
  const event = (data) => {
    const plugindata = { plugin: 'janus.plugin.echotest', data: { echotest: 'event', ...data } };
    reply({ janus: 'event', sender: 1, plugindata });
  };
  reply({ janus: 'ack' });
  if (!body.audio) return event({ error_code: 413, error: 'as asked' });
  await delay();
  event({ result: 'ok' });
}

module.exports = {
  protocol: 'janus',
  client: 'janode',
  server: null,
  echo: ['message', 'matched'],
  other: ['message', 'error'],

  serve() {
    return listener('janus-protocol', (socket) => {
      const send = (message) => socket.send(JSON.stringify(message));
      socket.on('message', (data) => answer(send, JSON.parse(data)));
    });
  },

  async connect(url, tally) {
    const { default: Janode } = await load('janode');
    const { default: EchoTest } = await load('janode/plugins/echotest');
    Janode.Logger.setLevel('none');
    const connection = await Janode.connect({ address: { url } });
    const session = await connection.create();
    const handle = await session.attach(EchoTest);
    const jsep = { type: 'offer', sdp: 'v=0' };
    for (const method of ['create', 'attach', 'destroy']) tally.count(method, 'matched');
    return {
      echo: () => handle.start({ audio: true, jsep }),
      other: () => handle.start({ audio: false, jsep }),
      async close() {
        await session.destroy();
        await connection.close();
      },
    };
  },
};
