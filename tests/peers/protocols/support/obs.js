// obs-websocket 5 in one of its encodings.
'use strict';

const { delay, listener } = require('./socket');

async function answer({ requestType, requestId }) {
  const result = requestType === 'GetVersion';
  if (result) await delay();
  const requestStatus = result ? { result, code: 100 } : { result, code: 600, comment: 'as asked' };
  return { op: 7, d: { requestType, requestId, requestStatus, responseData: {} } };
}

function accept(socket, { encode, decode }) {
  const send = (message) => socket.send(encode(message));
  send({ op: 0, d: { obsWebSocketVersion: '5.5.0', rpcVersion: 1 } });
  socket.on('message', async (data) => {
    const { op, d } = decode(data);
    if (op === 1) send({ op: 2, d: { negotiatedRpcVersion: 1 } });
    if (op === 6) send(await answer(d));
  });
}

// The peer of `OBSWebSocket`, which speaks `subprotocol`, and of a server that writes by `coder`.
module.exports = (OBSWebSocket, subprotocol, coder, form) => ({
  protocol: 'obs',
  client: 'obs-websocket-js',
  form,
  server: null,
  echo: ['GetVersion', 'matched'],
  other: ['SetCurrentProgramScene', 'error'],

  serve: () => listener(subprotocol, (socket) => accept(socket, coder)),

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
});
