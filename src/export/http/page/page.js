// Keeps the page's tables current. Everything shown is set as text, never as markup.
"use strict";

const REFRESH_MS = 2000;
const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

/** Answered requests at the refresh before, to show a rate. */
let before = { at: 0, counts: new Map() };

function seconds(value) {
  if (value === null) return "–";
  if (value < 1e-3) return (value * 1e6).toPrecision(3) + " µs";
  if (value < 1) return (value * 1e3).toPrecision(3) + " ms";
  return value.toPrecision(3) + " s";
}

/** Fills a table body: each row a list of cells, a cell a text or {text, kind}. */
function fill(id, rows) {
  byId("no-" + id).hidden = rows.length > 0;
  byId(id).replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((cell) => {
      const { text, kind } = typeof cell === "object" ? cell : { text: cell, kind: "name" };
      const element = document.createElement("td");
      element.textContent = text;
      element.className = kind;
      return element;
    }));
    return row;
  }));
}

const number = (text) => ({ text, kind: "number" });

function showTurnaround({ turnaround }) {
  const now = performance.now();
  const elapsed = (now - before.at) / 1000;
  const counts = new Map();
  fill("turnaround", turnaround.map((row) => {
    const key = JSON.stringify([row.target, row.origin, row.protocol, row.method]);
    counts.set(key, row.count);
    const rate = before.at === 0 ? null : (row.count - (before.counts.get(key) ?? 0)) / elapsed;
    const others = Object.entries(row.outcomes).filter(([outcome]) => outcome !== "matched");
    return [
      row.target,
      row.origin === "local" ? "this process" : "the peer",
      row.protocol,
      row.method || "–",
      number(whole.format(row.count)),
      number(rate === null ? "–" : whole.format(Math.round(rate * 10) / 10)),
      number(seconds(row.p50_seconds)),
      number(seconds(row.p99_seconds)),
      { text: others.map(([outcome, count]) => `${whole.format(count)} ${outcome}`).join(", "), kind: "bad" },
    ];
  }));
  before = { at: now, counts };
}

function showStatus(status) {
  byId("version").textContent = status.version;
  byId("state").textContent = status.ready ? "ready" : "waiting for a target";
  byId("state").className = status.ready ? "ready" : "waiting";
  const figures = [
    ["connections", status.totals.connections, ""],
    ["messages sent", status.totals.messages_sent, ""],
    ["messages received", status.totals.messages_received, ""],
    ["answered", status.totals.answered, ""],
    ["pending", status.totals.pending, ""],
    ["orphan responses", status.totals.orphans, ""],
    ["bytes lost", status.totals.gap_bytes, "bad"],
    ["protocol errors", status.totals.protocol_errors, "bad"],
  ];
  byId("totals").replaceChildren(...figures.map(([name, value, kind]) => {
    const card = document.createElement("div");
    const term = document.createElement("dt");
    const figure = document.createElement("dd");
    term.textContent = name;
    figure.textContent = whole.format(value);
    figure.className = value > 0 ? kind : "";
    card.append(term, figure);
    return card;
  }));
  fill("targets", status.targets.flatMap(({ name, processes }) => {
    if (processes.length === 0) return [[name, { text: "waiting", kind: "bad" }, "", "", "", ""]];
    return processes.map((process) => [
      name,
      process.up ? { text: "up", kind: "" } : { text: "gone", kind: "bad" },
      number(String(process.pid)),
      process.comm,
      process.exe,
      `${process.tls_library} ${process.tls_version}`.trim(),
    ]);
  }));
  fill("probes", status.probes.map((probe) => [
    probe.library,
    probe.function,
    probe.technique,
    probe.attached > 0 ? number(String(probe.attached)) : { text: "none", kind: "number bad" },
  ]));
}

async function load(path) {
  const response = await fetch(path, { cache: "no-store" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function refresh() {
  try {
    const [status, turnaround] = await Promise.all([load("api/v1/status"), load("api/v1/turnaround")]);
    showStatus(status);
    showTurnaround(turnaround);
    byId("offline").hidden = true;
  } catch {
    byId("offline").hidden = false;
  }
  setTimeout(refresh, REFRESH_MS);
}

refresh();
