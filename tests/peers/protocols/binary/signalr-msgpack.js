'use strict';

const { MessagePackHubProtocol } = require('@microsoft/signalr-protocol-msgpack');
const signalr = require('../support/signalr');

module.exports = signalr(new MessagePackHubProtocol(), '@microsoft/signalr-protocol-msgpack');
