'use strict';

const { HttpTransportType, HubConnectionBuilder, JsonHubProtocol, LogLevel, MessageType } = require('@microsoft/signalr');
const { delay, listener } = require('../support/socket');

const protocol = new JsonHubProtocol();
const logger = { log() {} };

async function complete({ invocationId, target, arguments: [n] }) {
  if (target === 'Fail') return { type: MessageType.Completion, invocationId, error: 'as asked' };
  await delay();
  return { type: MessageType.Completion, invocationId, result: n };
}

// The package is a client; its protocol code reads and writes both ends.
function accept(socket) {
  socket.once('message', () => {
    socket.send('{}\x1e');
    socket.on('message', (data) => {
      for (const message of protocol.parseMessages(String(data), logger)) {
        if (message.type !== MessageType.Invocation) continue;
        complete(message).then((answer) => socket.send(protocol.writeMessage(answer)));
      }
    });
  });
}

module.exports = {
  protocol: 'signalr',
  client: '@microsoft/signalr',
  server: '@microsoft/signalr',
  echo: ['Echo', 'matched'],
  other: ['Fail', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const transport = { skipNegotiation: true, transport: HttpTransportType.WebSockets };
    const builder = new HubConnectionBuilder().configureLogging(LogLevel.None);
    const hub = builder.withUrl(url.replace('wss', 'https'), transport).build();
    await hub.start();
    tally.count('handshake', 'matched');
    return {
      echo: (n) => hub.invoke('Echo', n),
      other: (n) => hub.invoke('Fail', n),
      close: () => hub.stop(),
    };
  },
};
