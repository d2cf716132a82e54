// What a client asked, how it was answered and how long that took, by its own account.
'use strict';

module.exports = class Tally {
  #methods = new Map();

  // Counts one request of `method`: `call` resolves when it was answered, and rejects when the
  // answer was an error. It is itself an error if the outcome is not `expected`.
  async ask(method, expected, call) {
    const began = process.hrtime.bigint();
    let failure;
    await call().catch((error) => { failure = error; });
    const ns = Number(process.hrtime.bigint() - began);
    const outcome = failure === undefined ? 'matched' : 'error';
    if (outcome !== expected) throw new Error(`${method}: ${outcome}`, { cause: failure });
    this.count(method, outcome, ns);
  }

  // Counts one request of `method` that ended so.
  count(method, outcome, ns = undefined) {
    if (!this.#methods.has(method)) this.#methods.set(method, { matched: 0, error: 0, times: [] });
    const row = this.#methods.get(method);
    row[outcome] += 1;
    if (ns !== undefined && outcome === 'matched') row.times.push(ns);
  }

  // Everything counted, and the median time of `method` in nanoseconds, errors left out.
  summary(method) {
    const methods = {};
    for (const [name, { matched, error }] of this.#methods) methods[name] = { matched, error };
    const times = this.#methods.get(method).times.sort((a, b) => a - b);
    return { methods, median_ns: times[times.length >> 1] };
  }
};
