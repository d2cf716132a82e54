'use strict';

const WebSocket = require('ws');
const { delay, listener, load } = require('../support/socket');

const STREAM = 'http://etherx.jabber.org/streams';
const FEATURES = {
  before: '<mechanisms xmlns="urn:ietf:params:xml:ns:xmpp-sasl"><mechanism>PLAIN</mechanism></mechanisms>',
  after: '<bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/>',
};

async function answer(id, text) {
  if (text.includes('<bind')) {
    return `<iq id="${id}" type="result"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><jid>a@localhost/b</jid></bind></iq>`;
  }
  if (text.includes('<time')) {
    return `<iq type="error" id="${id}"><error type="cancel"><item-not-found xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></iq>`;
  }
  await delay();
  return `<iq type="result" id="${id}"/>`;
}

// A server that knows one user, and answers each iq.
function accept(socket) {
  let state = 'before';
  socket.on('message', async (data) => {
    const text = String(data);
    if (text.startsWith('<open')) {
      socket.send('<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" from="localhost" id="s" version="1.0"/>');
      socket.send(`<stream:features xmlns:stream="${STREAM}">${FEATURES[state]}</stream:features>`);
    } else if (text.startsWith('<auth')) {
      state = 'after';
      socket.send('<success xmlns="urn:ietf:params:xml:ns:xmpp-sasl"/>');
    } else if (text.startsWith('<close')) {
      socket.send('<close xmlns="urn:ietf:params:xml:ns:xmpp-framing"/>');
    } else if (text.startsWith('<iq')) {
      socket.send(await answer(/\sid="([^"]+)"/.exec(text)[1], text));
    }
  });
}

module.exports = {
  protocol: 'xmpp',
  client: '@xmpp/client',
  server: null,
  echo: ['ping', 'matched'],
  other: ['time', 'error'],

  serve: () => listener('xmpp', accept),

  async connect(url, tally) {
    const { client, xml } = await load('@xmpp/client', 'index.js');
    // The package takes the one of browsers.
    globalThis.WebSocket = WebSocket;
    const xmpp = client({ service: url, domain: 'localhost', username: 'a', password: 'b' });
    xmpp.reconnect.stop();
    xmpp.on('error', () => {});
    await xmpp.start();
    tally.count('bind', 'matched');
    const { iqCaller } = xmpp;
    return {
      echo: () => iqCaller.get(xml('ping', 'urn:xmpp:ping')),
      other: () => iqCaller.get(xml('time', 'urn:xmpp:time')),
      close: () => xmpp.stop(),
    };
  },
};
