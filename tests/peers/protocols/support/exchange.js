// What the clients of exchanges have in common.
'use strict';

const http = require('http');

// A logger that keeps standard output to the account.
exports.quiet = Object.fromEntries(['trace', 'info', 'error'].map((level) => [level, () => {}]));

// An exchange's other interface, which some clients ask something before they open a WebSocket: it
// gives `value` to whatever is asked. Resolves to { url, close() }.
exports.overHttp = async (value) => {
  const server = http.createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(value));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
};

// What an exchange of the package ccxt is told of a market, so that it need not ask.
exports.market = (exchange, symbol, id) => exchange.safeMarketStructure({
  id,
  symbol,
  base: symbol.split('/')[0],
  quote: symbol.split('/')[1],
  type: 'spot',
  spot: true,
  active: true,
  precision: { amount: 1e-8, price: 0.1 },
});
