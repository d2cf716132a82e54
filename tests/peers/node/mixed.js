// Both ends of wss connections with all kinds of messages over `ws`, as mixed.py.
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
    deflate: { type: 'string', default: 'off' },
    bits: { type: 'string' },
    connections: { type: 'string', default: '1' },
    messages: { type: 'string', default: '100' },
  },
});

const WORDS = ['order', 'book', 'ETH-USD', 'größer', '価格', '😀', '\\u0041', '0.00012345', 'null'];
const SIZES = [0, 1, 125, 126, 127, 1000, 5000];
// Requests that wait for an answer at a time.
const BATCH = 8;

let log = [];
let sentFrames = 0;

function record(connection, direction, data, isBinary) {
  const kind = isBinary ? 'binary' : 'text';
  log.push(`${connection} ${direction} ${kind} ${Buffer.from(data).toString('base64')}\n`);
}

function forget() {
  log = [];
  sentFrames = 0;
}

function flush() {
  fs.writeFileSync(options.log, log.join(''));
  console.log(JSON.stringify({ sent_frames: sentFrames, messages: Number(options.messages) }));
}

// The same numbers in every run.
function chance(seed) {
  let state = seed + 1;
  return (bound) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * bound);
  };
}

function message(random, number) {
  if (number % 5 === 3) {
    const size = number % 97 === 3 ? 70000 : SIZES[random(SIZES.length)];
    return Buffer.from(Uint8Array.from({ length: size }, () => random(256)));
  }
  const length = [0, 1, 10, 300][random(4)];
  const words = Array.from({ length }, () => WORDS[random(WORDS.length)]);
  const params = { words, salt: random(2 ** 30) };
  return JSON.stringify({ jsonrpc: '2.0', id: number, method: 'mix', params });
}

function answer(data, isBinary) {
  if (isBinary) return Buffer.from(data).reverse();
  const request = JSON.parse(data);
  return JSON.stringify({ jsonrpc: '2.0', id: request.id, result: request.params });
}

function say(socket, connection, message, number) {
  const data = Buffer.from(message);
  const binary = Buffer.isBuffer(message);
  record(connection, 'sent', data, binary);
  if (number % 4 === 1) {
    // Not at the borders of characters.
    const third = Math.floor(data.length / 3);
    socket.send(data.subarray(0, third), { binary, fin: false });
    socket.send(data.subarray(third, 2 * third), { binary, fin: false });
    socket.send(data.subarray(2 * third), { binary, fin: true });
    sentFrames += 3;
  } else {
    socket.send(data, { binary });
    sentFrames += 1;
  }
  if (number % 11 === 0) socket.ping();
}

function deflate() {
  const bits = Number(options.bits);
  return {
    off: false,
    default: { threshold: 0 },
    'no-takeover': { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
    'server-no-takeover': { threshold: 0, serverNoContextTakeover: true },
    'client-no-takeover': { threshold: 0, clientNoContextTakeover: true },
    bits: { threshold: 0, serverMaxWindowBits: bits, clientMaxWindowBits: bits },
  }[options.deflate];
}

function serve() {
  const server = https.createServer({
    cert: fs.readFileSync(options.certificate),
    key: fs.readFileSync(options.key),
  });
  const sockets = new WebSocket.WebSocketServer({ server, perMessageDeflate: deflate() });
  let connections = 0;
  sockets.on('connection', (socket) => {
    const connection = connections++;
    let number = 0;
    socket.on('message', (data, isBinary) => {
      record(connection, 'received', data, isBinary);
      say(socket, connection, answer(data, isBinary), number++);
    });
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
  const input = readline.createInterface({ input: process.stdin });
  input.on('line', () => {
    forget();
    console.log('forgotten');
  });
  input.on('close', () => {
    flush();
    process.exit(0);
  });
}

function open() {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`wss://127.0.0.1:${options.port}/mixed?token=secret`, {
      rejectUnauthorized: false,
      perMessageDeflate: deflate(),
    });
    socket.on('open', () => resolve(socket));
    socket.on('error', reject);
  });
}

function talk(socket, connection, first, count) {
  return new Promise((resolve) => {
    const random = chance(connection * 1000003 + first);
    let said = 0;
    let answered = 0;
    const more = () => {
      for (let left = BATCH; left > 0 && said < count; left--, said++) {
        say(socket, connection, message(random, first + said), first + said);
      }
    };
    socket.removeAllListeners('message');
    socket.on('message', (data, isBinary) => {
      record(connection, 'received', data, isBinary);
      answered++;
      if (answered === count) resolve();
      else if (answered === said) more();
    });
    more();
  });
}

async function connect() {
  const count = Math.floor(Number(options.messages) / Number(options.connections));
  const sockets = [];
  let first = 0;
  console.log('ready');
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    while (sockets.length < Number(options.connections)) sockets.push(await open());
    forget();
    await Promise.all(sockets.map((socket, c) => talk(socket, c, first, count)));
    first += count;
    flush();
  }
  const closed = sockets.map((socket) => new Promise((resolve) => socket.on('close', resolve)));
  sockets.forEach((socket) => socket.close(1000));
  await Promise.all(closed);
  process.exit(0);
}

if (role === 'server') serve();
else connect();
