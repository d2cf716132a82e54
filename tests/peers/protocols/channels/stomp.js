'use strict';

const { Client, FrameImpl, Parser } = require('@stomp/stompjs');
const WebSocket = require('ws');
const { delay, listener } = require('../support/socket');

function frame(command, headers) {
  return FrameImpl.marshall({ command, headers, body: '', escapeHeaderValues: true });
}

async function answer({ command, headers: { receipt } }) {
  if (command === 'CONNECT') return frame('CONNECTED', { version: '1.2' });
  if (command === 'SEND') await delay();
  return receipt && frame('RECEIPT', { 'receipt-id': receipt });
}

// The package is a client; its parser and marshaller read and write both ends.
function accept(socket) {
  const parser = new Parser(
    async ({ command, headers }) => {
      const answered = await answer({ command, headers: Object.fromEntries(headers) });
      if (answered) socket.send(answered);
    },
    () => {},
  );
  socket.on('message', (data) => parser.parseChunk(new Uint8Array(data)));
}

module.exports = {
  protocol: 'stomp',
  client: '@stomp/stompjs',
  server: '@stomp/stompjs',
  echo: ['SEND', 'matched'],
  // An ERROR would end the connection.
  other: ['SUBSCRIBE', 'matched'],

  serve: () => listener('v12.stomp', accept),

  async connect(url, tally) {
    const client = new Client({
      webSocketFactory: () => new WebSocket(url, ['v12.stomp']),
      reconnectDelay: 0,
    });
    await new Promise((resolve) => {
      client.onConnect = resolve;
      client.activate();
    });
    tally.count('CONNECT', 'matched');
    let receipts = 0;
    const receipted = (send) =>
      new Promise((resolve) => {
        const receipt = `receipt-${receipts++}`;
        client.watchForReceipt(receipt, resolve);
        send({ receipt });
      });
    return {
      echo: (n) => receipted((headers) => client.publish({ destination: '/queue/a', headers, body: `${n}` })),
      other: (n) => receipted((headers) => client.subscribe(`/queue/${n}`, () => {}, headers)),
      close: async () => {
        await client.deactivate();
        tally.count('DISCONNECT', 'matched');
      },
    };
  },
};
