// Real implementations of the built-in protocols, and their own account of what they did.
//
//   main.js server --certificate FILE --key FILE
//     serves every protocol, each under a path of its own; its first line is the port
//   main.js client --port N --requests N --connections N [--width N] [--at-once] [--only NAME]
//     says ready, asks over every protocol in turn at a line of input, and ends with one line of
//     JSON; of each protocol's connections --width are open at a time
//
// A protocol is a file in a folder here that exports
//   protocol     the name that wstap has for it
//   client       the npm package that asks
//   form         how it writes, if it is not the form that goes without saying
//   server       the npm or Python package or the program that answers, or null where the answers are
//                written by hand
//   path         what its URL begins with, where the client has no choice; else the file's name
//   echo, other  the two kinds of request: [method as wstap names it, expected outcome]; the
//                first is answered after a delay, the second at once, so answers overtake
//   serve()      a listener for 'upgrade'
//   connect(url, tally)
//                resolves to { echo(n), other(n), close() }; what it asks besides is told to tally
'use strict';

const fs = require('fs');
const https = require('https');
const path = require('path');
const { parseArgs } = require('util');
const Tally = require('./support/tally');

const { values: options, positionals: [role] } = parseArgs({
  allowPositionals: true,
  options: {
    certificate: { type: 'string' },
    key: { type: 'string' },
    log: { type: 'string' },
    port: { type: 'string' },
    'at-once': { type: 'boolean', default: false },
    only: { type: 'string' },
    requests: { type: 'string', default: '200' },
    connections: { type: 'string', default: '2' },
    width: { type: 'string', default: '8' },
  },
});

const KINDS = ['binary', 'browsers', 'calls', 'channels', 'chat', 'data', 'devices', 'markets', 'rpc', 'user'];
// Requests under way on one connection.
const CONCURRENCY = 4;
// Every tenth request is of the other kind.
const OTHER_EVERY = 10;

// The file of each protocol by its name. The folders are kinds of use, as in src/matching/protocols;
// `binary` holds further forms of protocols that are text elsewhere, `user` those that are not built in.
const FILES = new Map(KINDS.flatMap((kind) => {
  const scripts = fs.readdirSync(path.join(__dirname, kind)).filter((file) => file.endsWith('.js'));
  return scripts.map((file) => [path.basename(file, '.js'), path.join(__dirname, kind, file)]);
}));

function names() {
  const all = [...FILES.keys()];
  return all.filter((name) => options.only === undefined || options.only === name).sort();
}

async function serve() {
  const listeners = new Map();
  for (const name of names()) {
    const protocol = require(FILES.get(name));
    listeners.set(protocol.path ?? name, await protocol.serve());
  }
  const server = https.createServer({
    cert: fs.readFileSync(options.certificate),
    key: fs.readFileSync(options.key),
  });
  server.on('upgrade', (request, socket, head) => {
    const listener = listeners.get(request.url.split(/[/?]/)[1]);
    if (listener) listener(request, socket, head);
    else socket.destroy();
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
}

async function talk(protocol, url, count, tally) {
  const connection = await protocol.connect(url, tally);
  let asked = 0;
  const worker = async () => {
    while (asked < count) {
      const n = asked++;
      const kind = n % OTHER_EVERY === OTHER_EVERY - 1 ? 'other' : 'echo';
      await tally.ask(...protocol[kind], () => connection[kind](n));
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  await connection.close();
}

function version(name) {
  if (name === null) return null;
  const root = require.resolve.paths(name).find((folder) => fs.existsSync(path.join(folder, name)));
  if (root === undefined) return pythonVersion(name);
  return `${name} ${JSON.parse(fs.readFileSync(path.join(root, name, 'package.json'))).version}`;
}

function pythonVersion(name) {
  const lib = path.join(process.env.NODE_PATH, '../venv/lib');
  const packages = fs.readdirSync(lib).flatMap((python) => fs.readdirSync(path.join(lib, python, 'site-packages')));
  const info = packages.find((folder) => folder.startsWith(`${name}-`) && folder.endsWith('.dist-info'));
  // A program of the system has whatever version the system has.
  if (info === undefined) return name;
  return `${name} ${path.basename(info, '.dist-info').slice(name.length + 1)}`;
}

async function run(name) {
  const protocol = require(FILES.get(name));
  const tally = new Tally();
  const connections = Number(options.connections);
  const count = Math.floor(Number(options.requests) / connections);
  const url = `wss://127.0.0.1:${options.port}/${name}`;
  let talks = 0;
  const lane = async () => {
    while (talks < connections) {
      talks++;
      await talk(protocol, url, count, tally);
    }
  };
  await Promise.all(Array.from({ length: Number(options.width) }, lane));
  return {
    name,
    // By which its connections are known.
    path: protocol.path ?? name,
    protocol: protocol.protocol,
    client: [version(protocol.client), protocol.form].filter(Boolean).join(', '),
    server: version(protocol.server),
    method: protocol.echo[0],
    ...tally.summary(protocol.echo[0]),
  };
}

async function inTurn() {
  const rows = [];
  for (const name of names()) rows.push(await run(name));
  return rows;
}

async function ask() {
  try {
    console.log(JSON.stringify(options['at-once'] ? await Promise.all(names().map(run)) : await inTurn()));
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}

// Node and some packages warn of what is meant here.
process.removeAllListeners('warning');
console.warn = () => {};
console.debug = () => {};
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
if (role === 'server') {
  serve();
} else {
  // Loading takes long, and nobody's clock should run meanwhile.
  for (const name of names()) require(FILES.get(name));
  console.log('ready');
  process.stdin.once('data', ask);
  process.stdin.on('end', () => process.exit(0));
}
