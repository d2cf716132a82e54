// What several protocols need of the layer below.
'use strict';

const fs = require('fs');
const http = require('http');
const net = require('net');
const path = require('path');
const { pathToFileURL } = require('url');
const { WebSocketServer } = require('ws');

// What a server takes for an answer that is not given at once.
const DELAY_NS = 5_000_000n;

// Timers count from the beginning of the loop's turn, and may be early by its length.
exports.delay = async () => {
  const due = process.hrtime.bigint() + DELAY_NS;
  for (let left = DELAY_NS; left > 0n; left = due - process.hrtime.bigint()) {
    await new Promise((resolve) => setTimeout(resolve, Math.ceil(Number(left) / 1e6)));
  }
};

// A listener for 'upgrade' that tells `accept` of each WebSocket. Of the subprotocols offered it
// takes `subprotocol`, if that is given and among them.
exports.listener = (subprotocol, accept) => {
  const handleProtocols = (offered) => (offered.has(subprotocol) ? subprotocol : false);
  const server = new WebSocketServer({ noServer: true, handleProtocols });
  return (request, socket, head) => {
    server.handleUpgrade(request, socket, head, (websocket) => accept(websocket, request));
  };
};

// The same for a library that wants a server of its own: one that never listens.
exports.behind = (attach) => {
  const server = http.createServer();
  attach(server);
  return (...upgrade) => server.emit('upgrade', ...upgrade);
};

// The same for a server that does listen, at `path` of a port of this machine and without encryption.
exports.passOn = ({ port, path: target }, request, socket, head) => {
  const upstream = net.connect(port, '127.0.0.1', () => {
    upstream.write(`GET ${target} HTTP/1.1\r\n`);
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      upstream.write(`${request.rawHeaders[i]}: ${request.rawHeaders[i + 1]}\r\n`);
    }
    upstream.write('\r\n');
    upstream.write(head);
    upstream.pipe(socket).pipe(upstream);
  });
  for (const [one, other] of [[socket, upstream], [upstream, socket]]) {
    one.on('error', () => other.destroy());
    one.on('close', () => other.destroy());
  }
};

// A package that is a module; those are not looked for where NODE_PATH says. `file` is given where it
// has nothing for `require`.
exports.load = (name, file) => {
  if (file === undefined) return import(pathToFileURL(require.resolve(name)));
  const root = require.resolve.paths(name).find((folder) => fs.existsSync(path.join(folder, name)));
  return import(pathToFileURL(path.join(root, name, file)));
};
