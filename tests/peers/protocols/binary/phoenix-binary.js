'use strict';

module.exports = require('../support/phoenix')((n) => Uint8Array.of(n).buffer, 'binary');
