'use strict';

module.exports = require('../support/phoenix')((n) => ({ n }));
