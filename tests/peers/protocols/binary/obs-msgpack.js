'use strict';

const { encode, decode } = require('@msgpack/msgpack');
const { OBSWebSocket } = require('obs-websocket-js/msgpack');
const obs = require('../support/obs');

module.exports = obs(OBSWebSocket, 'obswebsocket.msgpack', { encode, decode }, 'MessagePack');
