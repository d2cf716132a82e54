'use strict';

const { OBSWebSocket } = require('obs-websocket-js/json');
const { delay, listener } = require('../support/socket');

async function answer({ requestType, requestId }) {
  const result = requestType === 'GetVersion';
  if (result) await delay();
  const requestStatus = result ? { result, code: 100 } : { result, code: 600, comment: 'as asked' };
  return { op: 7, d: { requestType, requestId, requestStatus, responseData: {} } };
}

function accept(socket) {
  const send = (message) => socket.send(JSON.stringify(message));
  send({ op: 0, d: { obsWebSocketVersion: '5.5.0', rpcVersion: 1 } });
  socket.on('message', async (data) => {
    const { op, d } = JSON.parse(data);
    if (op === 1) send({ op: 2, d: { negotiatedRpcVersion: 1 } });
    if (op === 6) send(await answer(d));
  });
}

module.exports = {
  protocol: 'obs',
  client: 'obs-websocket-js',
  server: null,
  echo: ['GetVersion', 'matched'],
  other: ['SetCurrentProgramScene', 'error'],

  serve: () => listener('obswebsocket.json', accept),

  async connect(url, tally) {
    const obs = new OBSWebSocket();
    await obs.connect(url);
    tally.count('Identify', 'matched');
    return {
      echo: () => obs.call('GetVersion'),
      other: () => obs.call('SetCurrentProgramScene', { sceneName: 'none' }),
      close: () => obs.disconnect(),
    };
  },
};
