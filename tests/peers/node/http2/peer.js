// WebSockets over HTTP/2 (RFC 8441) with Node's own `http2`, as python/http2/peer.py. `ws` frames what
// passes on the streams. --ordinary makes a server that does not allow extended CONNECT, and a client
// that fetches --pages for each line it is told, and says so. With --halves a client stops after half
// of its requests, says so, and goes on when it is told.
'use strict';

const fs = require('fs');
const http2 = require('http2');
const { parseArgs } = require('util');
const WebSocket = require('ws');

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    certificate: { type: 'string' },
    key: { type: 'string' },
    log: { type: 'string' },
    port: { type: 'string' },
    streams: { type: 'string', default: '5' },
    requests: { type: 'string', default: '20' },
    size: { type: 'string', default: '10' },
    pages: { type: 'string', default: '0' },
    ordinary: { type: 'boolean', default: false },
    halves: { type: 'boolean', default: false },
  },
});

const log = fs.openSync(options.log, 'w');
const timesNs = [];

function record(connection, direction, text) {
  fs.writeSync(log, `${connection} ${direction} text ${Buffer.from(text).toString('base64')}\n`);
}

function summary() {
  timesNs.sort((a, b) => a - b);
  console.log(JSON.stringify({
    requests: timesNs.length,
    median_ns: timesNs[timesNs.length >> 1] || 0,
  }));
}

// A WebSocket whose handshake has passed on a stream.
function framed(stream, isServer) {
  const socket = new WebSocket(null, undefined, { autoPong: true });
  socket._isServer = isServer;
  socket.setSocket(stream, Buffer.alloc(0), {
    allowSynchronousEvents: true,
    maxPayload: 0,
    skipUTF8Validation: false,
  });
  return socket;
}

function serve() {
  const server = http2.createSecureServer({
    cert: fs.readFileSync(options.certificate),
    key: fs.readFileSync(options.key),
    settings: { enableConnectProtocol: !options.ordinary },
  });
  let connections = 0;
  server.on('stream', (stream, headers) => {
    if (headers[':method'] !== 'CONNECT' || headers[':protocol'] !== 'websocket') {
      stream.respond({ ':status': 200, 'x-page': '1' });
      stream.end('p'.repeat(2000));
      return;
    }
    stream.respond({ ':status': 200 });
    const connection = connections++;
    const socket = framed(stream, true);
    socket.on('error', () => {});
    socket.on('message', (data) => {
      const began = process.hrtime.bigint();
      const request = JSON.parse(data);
      record(connection, 'received', data);
      const reply = JSON.stringify({ jsonrpc: '2.0', id: request.id, result: request.params.echo });
      record(connection, 'sent', reply);
      socket.send(reply);
      timesNs.push(Number(process.hrtime.bigint() - began));
    });
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
  process.stdin.resume();
  process.stdin.on('end', () => {
    summary();
    process.exit(0);
  });
}

const stopped = [];

// Waits with the others for a line.
function stop(goOn) {
  stopped.push(goOn);
  if (stopped.length < Number(options.streams)) return;
  process.stdin.once('data', () => stopped.forEach((it) => it()));
  console.log('half');
}

function converse(session, number) {
  return new Promise((resolve) => {
    const stream = session.request({
      ':method': 'CONNECT',
      ':protocol': 'websocket',
      ':path': '/chat?token=secret',
      'sec-websocket-version': '13',
    });
    stream.on('response', (headers) => {
      if (headers[':status'] !== 200) throw new Error(`refused: ${headers[':status']}`);
      const socket = framed(stream, false);
      let asked = 0;
      let began = 0n;
      let waits = options.halves;
      const ask = () => {
        if (waits && asked === Number(options.requests) / 2) {
          waits = false;
          stop(ask);
          return;
        }
        if (asked === Number(options.requests)) {
          socket.close(1000);
          return;
        }
        asked += 1;
        const params = { echo: 'x'.repeat(Number(options.size)), stream: number };
        const request = JSON.stringify({ jsonrpc: '2.0', id: asked, method: 'echo', params });
        record(number, 'sent', request);
        began = process.hrtime.bigint();
        socket.send(request);
      };
      socket.on('message', (data) => {
        timesNs.push(Number(process.hrtime.bigint() - began));
        record(number, 'received', data);
        ask();
      });
      socket.on('close', resolve);
      socket.on('error', () => {});
      ask();
    });
  });
}

function page(session) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':path': '/page', cookie: 'secret=1' });
    stream.on('end', resolve);
    stream.on('error', reject);
    stream.resume();
    stream.end();
  });
}

async function pages(session) {
  for (let n = 0; n < Number(options.pages); n += 1) await page(session);
}

function talk() {
  const session = http2.connect(`https://127.0.0.1:${options.port}`, { rejectUnauthorized: false });
  session.once('remoteSettings', async () => {
    if (options.ordinary) {
      const fetched = () => pages(session).then(() => console.log('fetched'));
      process.stdin.on('data', fetched);
      process.stdin.on('end', () => process.exit(0));
      await fetched();
      return;
    }
    const numbers = [...Array(Number(options.streams)).keys()];
    await Promise.all([pages(session), ...numbers.map((number) => converse(session, number))]);
    summary();
    process.stdin.resume();
    process.stdin.on('end', () => process.exit(0));
  });
}

if (positionals[0] === 'server') {
  serve();
} else {
  console.log('ready');
  process.stdin.once('data', talk);
}
