// benches/tap/pingpong.rs for Node.js: TLS between two ends in one process and one thread, over
// memory. Each line `SIZE` or `SIZE plain` on standard input runs one round and prints the
// nanoseconds that one message took on average. Keys are shared beforehand, so it is TLS 1.2.
'use strict';
const tls = require('tls');
const readline = require('readline');
const { Duplex } = require('stream');

const BATCH = 100;
const BATCHES = 40;

class End extends Duplex {
  _read() {}
  _write(bytes, encoding, done) {
    this.other.push(bytes);
    done();
  }
}

const [near, far] = [new End(), new End()];
near.other = far;
far.other = near;
const shared = {
  ciphers: 'PSK-AES128-GCM-SHA256',
  maxVersion: 'TLSv1.2',
  pskCallback: () => ({ psk: Buffer.alloc(16, 7), identity: 'peer' }),
  checkServerIdentity: () => undefined,
};
const server = new tls.TLSSocket(far, {
  ...shared,
  isServer: true,
  pskCallback: () => Buffer.alloc(16, 7),
});
const client = tls.connect({ socket: near, ...shared });

// Resolves when the other end has read the whole message.
function pass(message) {
  return new Promise((resolve) => {
    let left = message.length;
    server.on('data', function heard(bytes) {
      left -= bytes.length;
      if (left > 0) return;
      server.off('data', heard);
      resolve();
    });
    client.write(message);
  });
}

// A client's text frame of `size` bytes in all, as in pingpong.rs.
function frame(size) {
  if (size === 6) return Buffer.from([0x81, 0x80, 0, 0, 0, 0]);
  const bytes = Buffer.alloc(size, 'x');
  bytes[0] = 0x81;
  bytes[1] = 0x80 | (size < 132 ? size - 6 : 126);
  if (size >= 132) bytes.writeUInt16BE(size - 8, 2);
  const payload = size < 132 ? 6 : 8;
  bytes.fill(0, payload - 4, payload);
  bytes.write('{"jsonrpc":"2.0","id":1,"method":"put","params":["', payload);
  bytes.write('"]}', size - 3);
  return bytes;
}

async function round(message) {
  const times = [];
  for (let batch = 0; batch < BATCHES; batch++) {
    const began = process.hrtime.bigint();
    for (let i = 0; i < BATCH; i++) await pass(message);
    times.push(Number(process.hrtime.bigint() - began) / BATCH);
  }
  return times.sort((a, b) => a - b)[BATCHES / 2];
}

client.once('secureConnect', async () => {
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [size, plain] = line.split(' ');
    const message = plain ? Buffer.alloc(Number(size), 'x') : frame(Number(size));
    console.log((await round(message)).toFixed(1));
  }
  process.exit(0);
});
