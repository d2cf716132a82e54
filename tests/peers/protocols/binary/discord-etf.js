'use strict';

const { Erlang } = require('erlang_js');
const { Client } = require('oceanic.js');
const { delay, listener } = require('../support/socket');

const [HEARTBEAT, IDENTIFY, REQUEST_MEMBERS, HELLO, ACKNOWLEDGED] = [1, 2, 8, 10, 11];
const GUILD = '1';

// The client's decoder knows atoms as they were before UTF-8.
const atom = (name) => new Erlang.OtpErlangAtom(name, false);

// As Discord's gateway writes: keys, names of events and null are atoms, texts are binaries.
function term(value) {
  if (value === null) return atom('nil');
  if (typeof value === 'string') return new Erlang.OtpErlangBinary(Buffer.from(value));
  if (Array.isArray(value)) return new Erlang.OtpErlangList(value.map(term));
  if (typeof value !== 'object' || value instanceof Erlang.OtpErlangAtom) return value;
  const pairs = Object.entries(value).map(([key, inner]) => [atom(key), term(inner)]);
  return new Erlang.OtpErlangMap(new Map(pairs));
}

function plain(value) {
  if (value instanceof Erlang.OtpErlangBinary) return value.value.toString();
  if (!(value instanceof Erlang.OtpErlangMap)) return value;
  return Object.fromEntries([...value.value].map(([key, inner]) => [plain(key), plain(inner)]));
}

async function answer(dispatch, send, { op, d }) {
  if (op === HEARTBEAT) send({ op: ACKNOWLEDGED, s: null, t: null, d: null });
  if (op === IDENTIFY) {
    dispatch('READY', {
      v: 10,
      application: { id: '2', flags: 0 },
      guilds: [],
      resume_gateway_url: 'wss://127.0.0.1',
      session_id: 's',
      user: { id: '3', username: 'test', discriminator: '0', avatar: null },
    });
  }
  if (op === REQUEST_MEMBERS) {
    await delay();
    dispatch('GUILD_MEMBERS_CHUNK', {
      guild_id: GUILD, members: [], chunk_index: 0, chunk_count: 1, nonce: d.nonce,
    });
  }
}

function accept(socket) {
  let s = 0;
  const send = (message) => Erlang.term_to_binary(term(message), (error, bytes) => {
    if (error) throw error;
    socket.send(bytes);
  });
  const dispatch = (t, d) => send({ op: 0, t: atom(t), s: ++s, d });
  send({ op: HELLO, s: null, t: null, d: { heartbeat_interval: 41250, _trace: [] } });
  socket.on('message', (data) => Erlang.binary_to_term(data, (error, message) => {
    if (error) throw error;
    answer(dispatch, send, plain(message));
  }));
}

module.exports = {
  protocol: 'discord',
  client: 'oceanic.js',
  form: 'ETF',
  server: 'erlang_js',
  echo: ['REQUEST_GUILD_MEMBERS', 'matched'],
  other: ['REQUEST_GUILD_MEMBERS', 'matched'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const client = new Client({
      auth: 'Bot token',
      gateway: {
        autoReconnect: false,
        concurrency: 1,
        guildCreateTimeout: 0,
        intents: ['GUILDS'],
        maxShards: 1,
        override: { url: () => `${url}/?v=10&encoding=etf`, timeBetweenShardConnects: 0 },
      },
    });
    client.on('error', (error) => console.error(error));
    const ready = new Promise((resolve) => client.once('ready', resolve));
    await client.connect();
    await ready;
    tally.count('IDENTIFY', 'matched');
    const ask = (n) => client.shards.get(0).requestGuildMembers(GUILD, { query: `q${n}`, limit: 1 });
    return { echo: ask, other: ask, close: () => client.disconnect(false) };
  },
};
