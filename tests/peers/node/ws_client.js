// A JSON-RPC client over `ws`, as ws_client.py: ready, log, summary.
'use strict';

const fs = require('fs');
const { parseArgs } = require('util');
const WebSocket = require('ws');

const { values: options } = parseArgs({
  options: {
    port: { type: 'string' },
    log: { type: 'string' },
    plain: { type: 'boolean', default: false },
    compression: { type: 'boolean', default: false },
    connections: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '1' },
    requests: { type: 'string', default: '10' },
    size: { type: 'string', default: '20' },
  },
});

const log = fs.openSync(options.log, 'w');
const turnaroundNs = [];

function record(connection, direction, data) {
  fs.writeSync(log, `${connection} ${direction} text ${Buffer.from(data).toString('base64')}\n`);
}

function talk(connection) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${options.plain ? 'ws' : 'wss'}://127.0.0.1:${options.port}/rpc?token=secret`, {
      rejectUnauthorized: false,
      perMessageDeflate: options.compression,
    });
    const all = Number(options.connections) * Number(options.rounds);
    const count = Math.floor(Number(options.requests) / all);
    let number = 0;
    let began;
    const ask = () => {
      if (number === count) return socket.close(1000);
      const params = { echo: 'x'.repeat(Number(options.size)), connection };
      const request = JSON.stringify({ jsonrpc: '2.0', id: number++, method: 'echo', params });
      began = process.hrtime.bigint();
      socket.send(request);
      record(connection, 'sent', request);
    };
    socket.on('open', ask);
    socket.on('message', (data) => {
      turnaroundNs.push(Number(process.hrtime.bigint() - began));
      record(connection, 'received', data);
      ask();
    });
    socket.on('close', resolve);
    socket.on('error', reject);
  });
}

async function main() {
  // Each round's connections are closed before the next one's are opened.
  for (let round = 0; round < Number(options.rounds); round++) {
    const names = Array.from({ length: Number(options.connections) }, (_, c) => `${round}.${c}`);
    await Promise.all(names.map(talk));
  }
  turnaroundNs.sort((a, b) => a - b);
  console.log(JSON.stringify({
    answered: turnaroundNs.length,
    median_ns: turnaroundNs[turnaroundNs.length >> 1] || 0,
  }));
}

console.log('ready');
process.stdin.once('data', main);
process.stdin.on('end', () => process.exit(0));
