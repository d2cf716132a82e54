'use strict';

const { serializer } = require('autobahn');
const wamp = require('../support/wamp');

module.exports = wamp('wamp.2.msgpack', new serializer.MsgpackSerializer(), 'MessagePack');
