'use strict';

const OpenAI = require('openai');
const { OpenAIRealtimeWS } = require('openai/realtime/ws');
const { delay, listener } = require('../support/socket');

let ids = 0;

// A response is begun when it is asked for, one after the other.
function accept(socket) {
  const send = (message) => socket.send(JSON.stringify({ event_id: `event_${ids++}`, ...message }));
  send({ type: 'session.created', session: { type: 'realtime', object: 'realtime.session' } });
  socket.on('message', async (text) => {
    const { type, item } = JSON.parse(text);
    if (type === 'conversation.item.create') {
      send({ type: 'conversation.item.added', previous_item_id: null, item });
      return;
    }
    await delay();
    const response = { object: 'realtime.response', id: `resp_${ids++}`, status: 'in_progress', output: [] };
    send({ type: 'response.created', response });
    send({ type: 'response.output_text.delta', response_id: response.id, delta: 'a' });
    send({ type: 'response.done', response: { ...response, status: 'completed' } });
  });
}

module.exports = {
  protocol: 'openai-realtime',
  client: 'openai',
  server: null,
  echo: ['response.create', 'matched'],
  // Its errors name no request.
  other: ['conversation.item.create', 'matched'],

  serve: () => listener('realtime', accept),

  async connect(url) {
    const { host, pathname } = new URL(url);
    const client = new OpenAI({ apiKey: 'key', baseURL: `https://${host}${pathname}/v1` });
    const options = { rejectUnauthorized: false };
    const realtime = new OpenAIRealtimeWS({ model: 'test', options }, client);
    realtime.on('error', () => {});
    await new Promise((resolve) => realtime.socket.once('open', resolve));
    const waiting = [];
    const items = new Map();
    realtime.on('response.created', () => waiting.shift()());
    realtime.on('conversation.item.added', ({ item }) => items.get(item.id)());
    return {
      echo: () => new Promise((resolve) => {
        waiting.push(resolve);
        realtime.send({ type: 'response.create' });
      }),
      other: (n) => new Promise((resolve) => {
        items.set(`item_${n}`, resolve);
        const content = [{ type: 'input_text', text: 'hello' }];
        realtime.send({ type: 'conversation.item.create', item: { id: `item_${n}`, type: 'message', role: 'user', content } });
      }),
      close: () => realtime.close(),
    };
  },
};
