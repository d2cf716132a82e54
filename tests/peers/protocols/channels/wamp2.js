'use strict';

const { serializer } = require('autobahn');
const wamp = require('../support/wamp');

module.exports = wamp('wamp.2.json', new serializer.JSONSerializer());
