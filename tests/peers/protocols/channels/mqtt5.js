'use strict';

const mqtt = require('mqtt');
const { generate, parser } = require('mqtt-packet');
const { delay, listener } = require('../support/socket');

const MQTT_5 = { protocolVersion: 5 };
const NOT_AUTHORIZED = 0x87;

async function answer({ cmd, messageId }) {
  const properties = { reasonString: 'as asked' };
  if (cmd === 'connect') return { cmd: 'connack', reasonCode: 0, sessionPresent: false, properties: { topicAliasMaximum: 4 } };
  if (cmd === 'subscribe') return { cmd: 'suback', messageId, granted: [NOT_AUTHORIZED], properties };
  if (cmd !== 'publish') return undefined;
  await delay();
  // Without a reason and properties an acknowledgement is as short as in MQTT 3.
  const said = messageId % 2 === 0 ? { reasonCode: 0, properties } : {};
  return { cmd: 'puback', messageId, ...said };
}

// A broker for one client, to which it grants nothing.
function accept(socket) {
  const packets = parser(MQTT_5);
  packets.on('packet', async (packet) => {
    const reply = await answer(packet);
    if (reply !== undefined) socket.send(generate(reply, MQTT_5));
  });
  socket.on('message', (data) => packets.parse(data));
}

module.exports = {
  protocol: 'mqtt',
  client: 'mqtt',
  form: 'MQTT 5',
  server: null,
  echo: ['PUBLISH', 'matched'],
  other: ['SUBSCRIBE', 'error'],

  serve: () => listener('mqtt', accept),

  async connect(url, tally) {
    const client = await mqtt.connectAsync(url, { ...MQTT_5, rejectUnauthorized: false, reconnectPeriod: 0, autoAssignTopicAlias: true });
    tally.count('CONNECT', 'matched');
    const userProperties = { of: 'the test' };
    return {
      echo: (n) => client.publishAsync('a/b', `${n}`, { qos: 1, properties: { messageExpiryInterval: 60, userProperties } }),
      other: (n) => client.subscribeAsync(`forbidden/${n}`, { qos: 1, properties: { subscriptionIdentifier: n, userProperties } }),
      close: () => client.endAsync(),
    };
  },
};
