// A JSON-RPC server over `ws`, as ws_server.py: port, log, summary. --plain serves ws:// instead
// of wss://, for use behind a proxy that takes the TLS off.
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const { parseArgs } = require('util');
const { WebSocketServer } = require('ws');

const { values: options } = parseArgs({
  options: {
    certificate: { type: 'string' },
    key: { type: 'string' },
    log: { type: 'string' },
    plain: { type: 'boolean', default: false },
    compression: { type: 'boolean', default: false },
  },
});

const log = fs.openSync(options.log, 'w');
const serviceNs = [];
let connections = 0;

function record(connection, direction, data, isBinary) {
  const kind = isBinary ? 'binary' : 'text';
  fs.writeSync(log, `${connection} ${direction} ${kind} ${Buffer.from(data).toString('base64')}\n`);
}

function answer(text) {
  const request = JSON.parse(text);
  if (request.method === undefined || request.id === undefined) return undefined;
  const reply = { jsonrpc: '2.0', id: request.id };
  if (request.method === 'fail') reply.error = { code: -32000, message: 'as asked' };
  else reply.result = request.params.echo;
  return JSON.stringify(reply);
}

const server = options.plain
  ? http.createServer()
  : https.createServer({
      cert: fs.readFileSync(options.certificate),
      key: fs.readFileSync(options.key),
    });
const sockets = new WebSocketServer({ server, perMessageDeflate: options.compression });
sockets.on('connection', (socket) => {
  const connection = connections++;
  socket.on('message', (data, isBinary) => {
    const began = process.hrtime.bigint();
    record(connection, 'received', data, isBinary);
    const reply = isBinary ? undefined : answer(data.toString());
    if (reply === undefined) return;
    socket.send(reply);
    serviceNs.push(Number(process.hrtime.bigint() - began));
    record(connection, 'sent', reply, false);
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on('end', () => {
  serviceNs.sort((a, b) => a - b);
  console.log(JSON.stringify({
    requests: serviceNs.length,
    median_ns: serviceNs[serviceNs.length >> 1] || 0,
  }));
  process.exit(0);
});
