// The same as tests/peers/python/rule_breakers.py over Node's TLS, with the breaches that one frame
// makes by itself.
'use strict';
const fs = require('node:fs');
const readline = require('node:readline');
const tls = require('node:tls');
const { parseArgs } = require('node:util');

const { positionals: [role], values: options } = parseArgs({
  allowPositionals: true,
  options: {
    certificate: { type: 'string' },
    key: { type: 'string' },
    port: { type: 'string' },
    // Peers that keep a log of their messages write it there.
    log: { type: 'string' },
  },
});

const FIN = 0x80;
const [TEXT, BINARY, CLOSE, PING, PONG] = [1, 2, 8, 9, 10];
const NAMES = { 0: 'continuation', 1: 'text', 2: 'binary', 8: 'close', 9: 'ping', 10: 'pong' };
const GET = 'GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
const SWITCHING = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n' +
  'Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';

function frame(first, payload, masked) {
  let header = Buffer.from([first, payload.length]);
  if (payload.length > 65535) {
    header = Buffer.alloc(10);
    header[1] = 127;
    header.writeBigUInt64BE(BigInt(payload.length), 2);
  } else if (payload.length > 125) {
    header = Buffer.alloc(4);
    header[1] = 126;
    header.writeUInt16BE(payload.length, 2);
  }
  header[0] = first;
  if (!masked) return Buffer.concat([header, payload]);
  header[1] |= 0x80;
  const key = Buffer.from([0x37, 0xfa, 0x21, 0x3d]);
  return Buffer.concat([header, key, payload.map((byte, i) => byte ^ key[i % 4])]);
}

function* broken(masked) {
  const text = Buffer.from('a rule is broken');
  for (let rsv = 1; rsv < 8; rsv++) yield frame(FIN | rsv << 4 | TEXT, text, masked);
  for (const opcode of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) yield frame(FIN | opcode, text, masked);
  for (const size of [0, 125, 126, 65535, 70000]) {
    yield frame(FIN | PING, Buffer.alloc(size, 'p'), masked);
    yield frame(FIN | PONG, Buffer.alloc(size, 'p'), masked);
  }
  yield frame(PING, text, masked);
  yield frame(FIN, text, masked);
  yield frame(FIN | TEXT, Buffer.from([0xff]), masked);
  yield frame(FIN | BINARY, text, !masked);
}

function conversation(masked, says) {
  const calls = [];
  let number = 0;
  for (const breach of broken(masked)) {
    number += 1;
    const text = frame(FIN | TEXT, Buffer.from(JSON.stringify(says(number))), masked);
    if (number % 3 === 0) calls.push(Buffer.concat([text, breach]));
    else calls.push(text, breach);
  }
  const reason = Buffer.alloc(200, 'r');
  reason.writeUInt16BE(1000);
  calls.push(frame(FIN | CLOSE, reason, masked));
  return calls;
}

function count(stream) {
  const found = {};
  for (let at = 0; at < stream.length;) {
    let [length, start] = [stream[at + 1] & 0x7f, at + 2];
    if (length === 126) [length, start] = [stream.readUInt16BE(start), start + 2];
    else if (length === 127) [length, start] = [Number(stream.readBigUInt64BE(start)), start + 8];
    const name = NAMES[stream[at] & 0x0f] ?? 'reserved';
    found[name] = (found[name] ?? 0) + 1;
    at = start + (stream[at + 1] & 0x80 ? 4 : 0) + length;
  }
  return found;
}

const asked = conversation(true, (id) => ({ jsonrpc: '2.0', id, method: 'ask' }));
const answered = conversation(false, (id) => ({ jsonrpc: '2.0', id, result: id }));
const isClient = role === 'client';
const [mine, theirs] = isClient ? [asked, answered] : [answered, asked];
const expected = Buffer.concat(theirs).length;

function talk(socket) {
  let [stream, isOpen] = [Buffer.alloc(0), false];
  const say = () => mine.forEach((call) => socket.write(call));
  if (isClient) socket.write(GET);
  socket.on('data', (bytes) => {
    stream = Buffer.concat([stream, bytes]);
    const end = stream.indexOf('\r\n\r\n');
    if (!isOpen && end >= 0) {
      [stream, isOpen] = [stream.subarray(end + 4), true];
      if (isClient) say();
      else socket.write(SWITCHING);
    }
    if (!isOpen || stream.length < expected) return;
    const tell = () => {
      console.log(JSON.stringify({ sent: count(Buffer.concat(mine)), received: count(stream) }));
    };
    if (isClient) return tell();
    mine.slice(0, -1).forEach((call) => socket.write(call));
    socket.write(mine.at(-1), tell);
  });
  socket.on('error', () => process.exit(1));
}

const input = readline.createInterface({ input: process.stdin });
input.on('close', () => process.exit(0));
if (isClient) {
  console.log('ready');
  input.once('line', () => {
    const socket = tls.connect({ port: options.port, host: '127.0.0.1', rejectUnauthorized: false });
    socket.on('secureConnect', () => talk(socket));
  });
} else {
  const [key, cert] = [options.key, options.certificate].map((file) => fs.readFileSync(file));
  const server = tls.createServer({ key, cert }, talk);
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
}
