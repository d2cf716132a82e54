'use strict';

const { WebSocketManager, WebSocketShardEvents } = require('@discordjs/ws');
const { delay, listener } = require('../support/socket');

const [HEARTBEAT, IDENTIFY, REQUEST_MEMBERS, HELLO, ACKNOWLEDGED] = [1, 2, 8, 10, 11];
// The library asks for the member list of any guild.
const GUILD = '1';

async function answer(dispatch, send, { op, d }) {
  if (op === HEARTBEAT) send({ op: ACKNOWLEDGED });
  if (op === IDENTIFY) dispatch('READY', { v: 10, session_id: 's', resume_gateway_url: 'wss://127.0.0.1' });
  if (op === REQUEST_MEMBERS) {
    await delay();
    dispatch('GUILD_MEMBERS_CHUNK', { guild_id: GUILD, members: [], nonce: d.nonce });
  }
}

function accept(socket) {
  let s = 0;
  const send = (message) => socket.send(JSON.stringify(message));
  const dispatch = (t, d) => send({ op: 0, t, s: ++s, d });
  send({ op: HELLO, d: { heartbeat_interval: 41250 } });
  socket.on('message', (data) => answer(dispatch, send, JSON.parse(data)));
}

module.exports = {
  protocol: 'discord',
  client: '@discordjs/ws',
  server: null,
  echo: ['REQUEST_GUILD_MEMBERS', 'matched'],
  other: ['REQUEST_GUILD_MEMBERS', 'matched'],

  serve: () => listener(undefined, accept),

  async connect(url, tally) {
    const limit = { total: 1000, remaining: 1000, reset_after: 0, max_concurrency: 16 };
    const gateway = { url, shards: 1, session_start_limit: limit };
    const manager = new WebSocketManager({
      token: 'token',
      intents: 0,
      shardCount: 1,
      rest: { get: async () => gateway },
    });
    const waiting = new Map();
    manager.on(WebSocketShardEvents.Dispatch, (payload) => {
      const { t, d } = payload.data ?? payload;
      if (t === 'GUILD_MEMBERS_CHUNK') waiting.get(d.nonce)();
    });
    manager.on(WebSocketShardEvents.Error, (error) => console.error(error));
    const ready = new Promise((resolve) => manager.once(WebSocketShardEvents.Ready, resolve));
    await manager.connect();
    await ready;
    tally.count('IDENTIFY', 'matched');
    const ask = (nonce) =>
      new Promise((resolve) => {
        waiting.set(nonce, resolve);
        manager.send(0, { op: REQUEST_MEMBERS, d: { guild_id: GUILD, query: '', limit: 0, nonce } });
      });
    return {
      echo: (n) => ask(`n${n}`),
      other: (n) => ask(`n${n}`),
      close: () => manager.destroy(),
    };
  },
};
