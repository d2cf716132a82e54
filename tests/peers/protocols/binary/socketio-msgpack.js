'use strict';

const parser = require('socket.io-msgpack-parser');
const socketio = require('../support/socketio');

module.exports = socketio('socketio-msgpack', parser, 'socket.io-msgpack-parser');
