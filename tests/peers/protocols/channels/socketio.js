'use strict';

const socketio = require('../support/socketio');

module.exports = socketio('socketio');
