// SignalR in one of its hub protocols.
'use strict';

const { HttpTransportType, HubConnectionBuilder, LogLevel, MessageType, TransferFormat } = require('@microsoft/signalr');
const { delay, listener } = require('./socket');

const logger = { log() {} };

async function complete({ invocationId, target, arguments: [n] }) {
  if (target === 'fail') return { type: MessageType.Completion, invocationId, error: 'as asked' };
  await delay();
  return { type: MessageType.Completion, invocationId, result: n };
}

// The package is a client; its protocol code reads and writes both ends.
function accept(socket, protocol) {
  socket.once('message', () => {
    // JSON in any case, in the kind of message that the hub protocol has.
    const done = '{}\x1e';
    const isText = protocol.transferFormat === TransferFormat.Text;
    socket.send(isText ? done : Buffer.from(done));
    socket.on('message', (data) => {
      for (const message of protocol.parseMessages(isText ? String(data) : new Uint8Array(data).buffer, logger)) {
        if (message.type !== MessageType.Invocation) continue;
        complete(message).then((answer) => socket.send(protocol.writeMessage(answer)));
      }
    });
  });
}

// The peer of `hubProtocol`, of which the package `name` has the code.
module.exports = (hubProtocol, name) => ({
  protocol: 'signalr',
  client: name,
  server: name,
  echo: ['echo', 'matched'],
  other: ['fail', 'error'],

  serve: () => listener(undefined, (socket) => accept(socket, hubProtocol)),

  async connect(url, tally) {
    const transport = { skipNegotiation: true, transport: HttpTransportType.WebSockets };
    const builder = new HubConnectionBuilder().configureLogging(LogLevel.None);
    const hub = builder.withUrl(url.replace('wss', 'https'), transport).withHubProtocol(hubProtocol).build();
    await hub.start();
    tally.count('handshake', 'matched');
    return {
      echo: (n) => hub.invoke('echo', n),
      other: (n) => hub.invoke('fail', n),
      close: () => hub.stop(),
    };
  },
});
