'use strict';

const { delay, listener, load } = require('../support/socket');

async function answer({ id, service, args }) {
  const result = service === '/echo';
  if (result) await delay();
  return { op: 'service_response', id, service, values: result ? args : 'as asked', result };
}

function accept(socket) {
  socket.on('message', async (text) => {
    const message = JSON.parse(text);
    if (message.op === 'call_service') socket.send(JSON.stringify(await answer(message)));
  });
}

module.exports = {
  protocol: 'rosbridge',
  client: 'roslib',
  server: null,
  echo: ['call_service', 'matched'],
  other: ['call_service', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url) {
    const { Ros, Service } = await load('roslib', 'dist/RosLib.js');
    const ros = new Ros({});
    await ros.connect(url);
    const call = (name, n) => {
      const service = new Service({ ros, name, serviceType: 'test/Echo' });
      return new Promise((resolve, reject) => service.callService({ n }, resolve, reject));
    };
    return {
      echo: (n) => call('/echo', n),
      other: (n) => call('/fail', n),
      close: () => ros.close(),
    };
  },
};
