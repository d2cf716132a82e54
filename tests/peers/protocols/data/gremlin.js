'use strict';

const gremlin = require('gremlin');
const { delay, listener } = require('../support/socket');

async function answer({ requestId, args }) {
  const id = requestId['@value'] ?? requestId;
  const refused = args.gremlin === 'fail';
  if (!refused) await delay();
  const code = refused ? 500 : 200;
  const result = { data: { '@type': 'g:List', '@value': [] }, meta: { '@type': 'g:Map', '@value': [] } };
  const attributes = { '@type': 'g:Map', '@value': [] };
  return { requestId: id, status: { message: refused ? 'as asked' : '', code, attributes }, result };
}

// A MIME type stands in front of each request, and its length in a byte before it.
function accept(socket) {
  socket.on('message', async (data) => {
    const request = JSON.parse(data.subarray(1 + data[0]));
    socket.send(JSON.stringify(await answer(request)));
  });
}

module.exports = {
  protocol: 'gremlin',
  client: 'gremlin',
  server: null,
  echo: ['eval', 'matched'],
  other: ['eval', 'error'],

  serve: () => listener(undefined, accept),

  async connect(url) {
    const { GraphSON3Reader, GraphSON3Writer } = gremlin.structure.io;
    const client = new gremlin.driver.Client(url, {
      rejectUnauthorized: false,
      mimeType: 'application/vnd.gremlin-v3.0+json',
      reader: new GraphSON3Reader(),
      writer: new GraphSON3Writer(),
    });
    await client.open();
    return {
      echo: () => client.submit('g.V()'),
      other: () => client.submit('fail'),
      close: () => client.close(),
    };
  },
};
