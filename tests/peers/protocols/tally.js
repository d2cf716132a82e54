// What a client asked, how it was answered and how long that took, by its own account.
'use strict';

module.exports = class Tally {
  #methods = new Map();

  // Counts one request of `method`: `call` resolves when it was answered, and rejects when the
  // answer was an error.
  async ask(method, call) {
    const began = process.hrtime.bigint();
    let outcome = 'matched';
    try {
      await call();
    } catch (error) {
      if (process.env.WSTAP_PEERS_DEBUG) console.error(method, error);
      outcome = 'error';
    }
    this.count(method, outcome, Number(process.hrtime.bigint() - began));
  }

  // Counts one request of `method` that ended so.
  count(method, outcome, ns = undefined) {
    if (!this.#methods.has(method)) this.#methods.set(method, { matched: 0, error: 0, times: [] });
    const row = this.#methods.get(method);
    row[outcome] += 1;
    if (ns !== undefined) row.times.push(ns);
  }

  // Everything counted, and the median time of `method` in nanoseconds.
  summary(method) {
    const methods = {};
    for (const [name, { matched, error }] of this.#methods) methods[name] = { matched, error };
    const times = this.#methods.get(method).times.sort((a, b) => a - b);
    return { methods, median_ns: times[times.length >> 1] };
  }
};
