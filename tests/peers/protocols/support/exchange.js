// What the clients of exchanges have in common.
'use strict';

// A logger that keeps standard output to the account.
exports.quiet = Object.fromEntries(['trace', 'info', 'error'].map((level) => [level, () => {}]));
