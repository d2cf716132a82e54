// Both ends of wss connections that compress with context takeover, as python/windows: a server over
// `ws`, and busy clients over `ws` or the runtime's own WebSocket (undici).
'use strict';

const fs = require('fs');
const https = require('https');
const readline = require('readline');
const { parseArgs } = require('util');
const WebSocket = require('ws');

const { values: options, positionals: [role] } = parseArgs({
  allowPositionals: true,
  options: {
    certificate: { type: 'string' },
    key: { type: 'string' },
    port: { type: 'string' },
    log: { type: 'string' },
    stack: { type: 'string', default: 'ws' },
    connections: { type: 'string', default: '1' },
    bits: { type: 'string', default: '15' },
    pause: { type: 'string', default: '0' },
    depth: { type: 'string', default: '1' },
  },
});

const bits = Number(options.bits);
// Answers on each connection before it is called busy.
const FIRST = 3;
const WORDS = ['order', 'book', 'ETH-USD', 'größer', '価格', '0.00012345', 'null', 'quick'];

function serve() {
  const server = https.createServer({
    cert: fs.readFileSync(options.certificate),
    key: fs.readFileSync(options.key),
  });
  // Some sides do not ask for smaller windows than the largest.
  const perMessageDeflate = { threshold: 0 };
  if (bits < 15) perMessageDeflate.serverMaxWindowBits = bits;
  const sockets = new WebSocket.WebSocketServer({ server, perMessageDeflate });
  sockets.on('connection', (socket) => {
    socket.on('message', (data) => {
      const { id, params } = JSON.parse(data);
      socket.send(JSON.stringify({ jsonrpc: '2.0', id, result: params }));
    });
  });
  server.listen(0, '127.0.0.1', 1024, () => console.log(server.address().port));
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}

const answers = new Array(Number(options.connections)).fill(0);
let log = [];
let isOver = false;

function record(connection, direction, text) {
  log.push(`${connection} ${direction} text ${Buffer.from(text).toString('base64')}\n`);
}

// Much the same on all connections; some are longer.
function request(connection, number) {
  const params = { echo: 'x'.repeat(20), connection };
  if (number % 4 === 0) {
    const length = [3, 30, 300][Math.floor(Math.random() * 3)];
    params.words = Array.from({ length }, () => WORDS[Math.floor(Math.random() * WORDS.length)]);
  }
  return JSON.stringify({ jsonrpc: '2.0', id: number, method: 'echo', params });
}

function open() {
  const url = `wss://127.0.0.1:${options.port}/rpc?token=secret`;
  if (options.stack === 'undici') {
    const OwnWebSocket = globalThis.WebSocket ?? require('undici').WebSocket;
    return new OwnWebSocket(url);
  }
  const perMessageDeflate = { threshold: 0 };
  if (bits < 15) Object.assign(perMessageDeflate, { serverMaxWindowBits: bits, clientMaxWindowBits: bits });
  return new WebSocket(url, { rejectUnauthorized: false, perMessageDeflate });
}

function opened(socket) {
  return new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve);
    socket.addEventListener('error', reject);
  });
}

function talk(socket, connection) {
  return new Promise((resolve) => {
    let number = 0;
    let due = 0;
    const ask = () => {
      for (; due < Number(options.depth); due++) {
        const text = request(connection, number++);
        record(connection, 'sent', text);
        socket.send(text);
      }
    };
    socket.addEventListener('message', ({ data }) => {
      record(connection, 'received', data);
      due--;
      answers[connection]++;
      if (answers[connection] === FIRST && Math.min(...answers) >= FIRST) console.log('busy');
      if (due > 0) return;
      if (isOver) return resolve();
      const pause = Number(options.pause);
      if (pause === 0) return ask();
      setTimeout(ask, 1000 * pause * (0.5 + Math.random()));
    });
    ask();
  });
}

async function connect() {
  console.log('ready');
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  await lines.next();
  const sockets = [];
  for (let c = 0; c < Number(options.connections); c++) {
    const socket = open();
    await opened(socket);
    sockets.push(socket);
  }
  const talks = sockets.map(talk);
  await lines.next();
  isOver = true;
  await Promise.all(talks);
  fs.writeFileSync(options.log, log.join(''));
  const answered = answers.reduce((sum, count) => sum + count, 0);
  console.log(JSON.stringify({ answered, median_ns: 0 }));
  await lines.next();
  process.exit(0);
}

if (role === 'server') serve();
else connect();
