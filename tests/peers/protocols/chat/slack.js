// The server asks here. What it asks, the client tells it over a socket of their own, whose port
// is in the address that the client is given.
'use strict';

const http = require('http');
const net = require('net');
const readline = require('readline');
const { LogLevel, SocketModeClient } = require('@slack/socket-mode');
const { delay, listener } = require('../support/socket');

function accept(socket, request) {
  const port = new URL(request.url, 'wss://127.0.0.1').searchParams.get('prompts');
  const send = (message) => socket.send(JSON.stringify(message));
  const prompts = net.connect(Number(port), '127.0.0.1');
  readline.createInterface({ input: prompts }).on('line', (line) => {
    const [type, n] = line.split(' ');
    const payload = { token: 't', event: { type: 'app_mention', text: n } };
    send({ envelope_id: `e-${n}`, payload, type, accepts_response_payload: true });
  });
  socket.on('close', () => prompts.destroy());
  send({ type: 'hello', num_connections: 1, connection_info: { app_id: 'A1' } });
}

// Where the client asks for the address of its socket.
function directory(url) {
  const server = http.createServer((_, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ ok: true, url }));
  });
  return listening(server);
}

function listening(server) {
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}

module.exports = {
  protocol: 'slack',
  client: '@slack/socket-mode',
  server: null,
  echo: ['events_api', 'matched'],
  other: ['slash_commands', 'matched'],

  serve: () => listener(undefined, accept),

  async connect(url) {
    const prompts = await listening(net.createServer());
    const prompter = new Promise((resolve) => prompts.once('connection', resolve));
    const open = await directory(`${url}?prompts=${prompts.address().port}`);
    const client = new SocketModeClient({
      appToken: 'xapp-token',
      autoReconnectEnabled: false,
      logLevel: LogLevel.ERROR,
      clientOptions: { slackApiUrl: `http://127.0.0.1:${open.address().port}/api/` },
    });
    const waiting = new Map();
    client.on('slack_event', async ({ ack, envelope_id: id, type }) => {
      if (type === 'events_api') await delay();
      await ack({ text: 'done' });
      waiting.get(id)();
    });
    await client.start();
    const prompt = await prompter;
    const ask = (type, n) =>
      new Promise((resolve) => {
        waiting.set(`e-${n}`, resolve);
        prompt.write(`${type} ${n}\n`);
      });
    return {
      echo: (n) => ask('events_api', n),
      other: (n) => ask('slash_commands', n),
      async close() {
        await client.disconnect();
        prompt.destroy();
        prompts.close();
        open.close();
      },
    };
  },
};
