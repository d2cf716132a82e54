'use strict';

const JsSIP = require('jssip');
const NodeWebSocket = require('ws');
const { delay, listener } = require('../support/socket');

// The headers that an answer repeats (RFC 3261, section 8.2.6.2).
const REPEATED = /^(?:Via|From|To|Call-ID|CSeq):/i;

function answer(text, status) {
  const headers = text.split('\r\n').filter((line) => REPEATED.test(line));
  const tagged = headers.map((line) => (/^To:/i.test(line) && !/;tag=/.test(line) ? `${line};tag=t` : line));
  return `SIP/2.0 ${status}\r\n${tagged.join('\r\n')}\r\nContent-Length: 0\r\n\r\n`;
}

function accept(socket) {
  socket.on('message', async (data) => {
    const text = String(data);
    if (text.startsWith('ACK') || !text.trim()) return;
    if (text.startsWith('OPTIONS')) return socket.send(answer(text, '404 As Asked'));
    await delay();
    return socket.send(answer(text, '200 OK'));
  });
}

// What the library takes for a socket.
class Socket {
  constructor(url) {
    this.url = url;
    this.via_transport = 'WSS';
    this.sip_uri = 'sip:127.0.0.1;transport=ws';
  }

  connect() {
    this.ws = new NodeWebSocket(this.url, 'sip');
    this.ws.on('open', () => this.onconnect());
    this.ws.on('message', (data) => this.ondata(String(data)));
    this.ws.on('close', (code) => this.ondisconnect(false, code, ''));
  }

  disconnect() {
    this.ws.close();
  }

  send(message) {
    this.ws.send(message);
    return true;
  }

  isConnected() {
    return this.ws.readyState === NodeWebSocket.OPEN;
  }

  isConnecting() {
    return this.ws.readyState === NodeWebSocket.CONNECTING;
  }
}

module.exports = {
  protocol: 'sip',
  client: 'jssip',
  server: null,
  echo: ['MESSAGE', 'matched'],
  other: ['OPTIONS', 'error'],

  serve: () => listener('sip', accept),

  async connect(url) {
    JsSIP.debug.disable();
    const agent = new JsSIP.UA({ sockets: [new Socket(url)], uri: 'sip:a@127.0.0.1', register: false });
    await new Promise((resolve) => {
      agent.on('connected', resolve);
      agent.start();
    });
    const ended = (send) => new Promise((resolve, reject) => {
      send({ eventHandlers: { succeeded: resolve, failed: ({ cause }) => reject(new Error(cause)) } });
    });
    return {
      echo: (n) => ended((options) => agent.sendMessage('sip:b@127.0.0.1', String(n), options)),
      other: (n) => ended((options) => agent.sendOptions('sip:b@127.0.0.1', String(n), options)),
      close: () => agent.stop(),
    };
  },
};
