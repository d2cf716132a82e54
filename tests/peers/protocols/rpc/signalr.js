'use strict';

const { JsonHubProtocol } = require('@microsoft/signalr');
const signalr = require('../support/signalr');

module.exports = signalr(new JsonHubProtocol(), '@microsoft/signalr');
