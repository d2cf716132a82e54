'use strict';

const { OBSWebSocket } = require('obs-websocket-js/json');
const obs = require('../support/obs');

module.exports = obs(OBSWebSocket, 'obswebsocket.json', { encode: JSON.stringify, decode: JSON.parse });
