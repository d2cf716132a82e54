// Follows wstap's events and keeps the page current; when they stop, nothing is shown as current.
"use strict";

const STALE_MS = 4000;
const KEPT_SECONDS = 900;
const byId = (id) => document.getElementById(id);

/** One point for each second, oldest first. */
let points = [];
/** The stretch that the tables are about: the last `minutes`, or from one second to another. */
let chosen = { minutes: 15 };
let last = null;
let heard = 0;

const failed = (row) => row.errors + row.unanswered;
const asked = (row) => (row.origin === "local" ? "this process" : "the peer");
const method = (row) => row.method || "(no method)";

const methods = new Table("methods", [
  { head: "method", text: method, sort: method, kind: "name", least: true },
  { head: "protocol", text: (row) => row.protocol, sort: (row) => row.protocol, least: true },
  { head: "asked by", text: asked, sort: asked, least: true },
  { head: "answers", element: (row) => sparkline(row.spark) },
  { head: "answered", text: (row) => whole.format(row.answered), sort: (row) => row.answered, kind: "number" },
  { head: "a second", text: (row) => rate(row.rate), sort: (row) => row.rate, kind: "number" },
  { head: "p50", text: (row) => seconds(row.p50), sort: (row) => row.p50, kind: "number" },
  { head: "p99", text: (row) => seconds(row.p99), sort: (row) => row.p99, kind: "number" },
  { head: "slowest", text: (row) => seconds(row.slowest), sort: (row) => row.slowest, kind: "number" },
  { head: "errors", text: (row) => share(row.errors, row.answered), sort: (row) => row.errors, kind: "number", bad: (row) => row.errors > 0 },
  { head: "no answer", text: unanswered, sort: (row) => row.unanswered, kind: "number", bad: (row) => row.unanswered > 0 },
  { head: "waiting", text: (row) => whole.format(waitingOf(row).length), sort: (row) => waitingOf(row).length, kind: "number" },
]);

function unanswered(row) {
  const others = Object.entries(row.outcomes).filter(([outcome]) => outcome !== "matched" && outcome !== "error");
  return others.map(([outcome, count]) => `${whole.format(count)} ${outcome}`).join(", ") || "0";
}

function waitingOf(row) {
  return (last?.waiting ?? []).filter((it) => it.method === row.method && it.protocol === row.protocol && it.origin === row.origin);
}

const connections = new Table("connections", [
  { head: "connection", element: (row) => cellButton(row.conn, `Last messages of ${row.conn}`, () => openMessages(row.conn)), sort: (row) => row.conn, least: true },
  { head: "role", text: (row) => row.role, sort: (row) => row.role, least: true },
  { head: "host and path", text: (row) => (row.host ?? "–") + (row.path ?? ""), sort: (row) => row.host, kind: "name", least: true },
  { head: "over", text: (row) => (row.http === "2" ? `${row.transport}, HTTP/2` : row.transport) },
  { head: "protocol", text: (row) => row.protocol, sort: (row) => row.protocol, least: true },
  { head: "age", text: (row) => span(last.time - row.since), sort: (row) => row.since, kind: "number" },
  { head: "sent a second", text: (row) => rate(row.sent_rate), sort: (row) => row.sent_rate, kind: "number" },
  { head: "received a second", text: (row) => rate(row.received_rate), sort: (row) => row.received_rate, kind: "number" },
  { head: "p99", text: (row) => seconds(row.p99), sort: (row) => row.p99, kind: "number" },
  { head: "waiting", text: (row) => whole.format(row.pending), sort: (row) => row.pending, kind: "number" },
  { head: "ping", text: (row) => seconds(row.ping), sort: (row) => row.ping, kind: "number" },
  { head: "can be read", text: readable, sort: readable, bad: (row) => row.decode !== "full", least: true },
]);

function readable(row) {
  if (row.decode === "full") return "yes";
  return row.decode === "no_content" ? "no: compressed before wstap attached" : "not yet: looking for a frame";
}

const slowest = new Table("slowest", [
  { head: "took", text: (row) => seconds(row.seconds), kind: "number" },
  { head: "method", text: method, kind: "name" },
  { head: "ended", text: (row) => clock(row.ended) },
  { head: "connection", text: (row) => row.conn },
]);
/** A feed brings less than a tenth of what it did over the last hour. */
const isQuiet = (row) => row.hour_rate > 0.1 && row.rate < row.hour_rate / 10;
const numbered = (row, value) => (row.numbers === 0 ? "–" : whole.format(value));
const feeds = new Table("feeds", [
  { head: "target", text: (row) => row.target, sort: (row) => row.target, least: true },
  { head: "protocol", text: (row) => row.protocol, sort: (row) => row.protocol, least: true },
  { head: "direction", text: (row) => row.direction, sort: (row) => row.direction, least: true },
  { head: "now/s", text: (row) => rate(row.rate), sort: (row) => row.rate, kind: "number", bad: isQuiet },
  { head: "last hour/s", text: (row) => rate(row.hour_rate), sort: (row) => row.hour_rate, kind: "number" },
  { head: "last one", text: (row) => seconds(last ? last.time - row.last : null), sort: (row) => row.last, kind: "number" },
  { head: "lag p50", text: (row) => seconds(row.lag_p50), sort: (row) => row.lag_p50, kind: "number" },
  { head: "lag p99", text: (row) => seconds(row.lag_p99), sort: (row) => row.lag_p99, kind: "number" },
  { head: "from the future", text: (row) => whole.format(row.from_future), sort: (row) => row.from_future, kind: "number" },
  { head: "missing", text: (row) => numbered(row, row.missing), sort: (row) => row.missing, kind: "number", bad: (row) => row.missing > 0 },
  { head: "repeated", text: (row) => numbered(row, row.repeated), sort: (row) => row.repeated, kind: "number", bad: (row) => row.repeated > 0 },
  { head: "backward", text: (row) => numbered(row, row.backward), sort: (row) => row.backward, kind: "number", bad: (row) => row.backward > 0 },
  { head: "not compared", text: (row) => numbered(row, row.unchecked), sort: (row) => row.unchecked, kind: "number" },
]);
const waiting = new Table("waiting", [
  { head: "waits for", text: (row) => seconds(Math.max(last.time - row.asked, 0)), kind: "number" },
  { head: "method", text: method, kind: "name" },
  { head: "asked", text: (row) => clock(row.asked) },
  { head: "connection", text: (row) => row.conn },
]);
const lines = new Table("lines", [
  { head: "before", text: (row) => seconds(row.before), kind: "number" },
  { head: "direction", text: (row) => row.direction },
  { head: "type", text: (row) => row.type },
  { head: "bytes", text: (row) => whole.format(row.length), kind: "number" },
  { head: "kind", text: (row) => row.kind ?? "–" },
  { head: "method", text: (row) => row.method ?? "–", kind: "name" },
]);
const losses = new Table("losses", [
  { head: "reason", text: (row) => row.reason },
  { head: "records", text: (row) => whole.format(row.records), kind: "number" },
  { head: "bytes", text: (row) => whole.format(row.bytes), kind: "number" },
]);
const targets = new Table("targets", [
  { head: "target", text: (row) => row.target, kind: "name" },
  { head: "state", text: (row) => row.state, bad: (row) => row.state !== "tapped" },
  { head: "pid", text: (row) => row.pid ?? "–", kind: "number" },
  { head: "command", text: (row) => row.comm ?? "–", kind: "name" },
  { head: "executable", text: (row) => row.exe ?? "–", kind: "name" },
  { head: "TLS library", text: (row) => `${row.tls_library ?? ""} ${row.tls_version ?? ""}`.trim() || "–" },
]);
const probes = new Table("probes", [
  { head: "library", text: (row) => row.library, kind: "name" },
  { head: "function", text: (row) => row.function, kind: "name" },
  { head: "technique", text: (row) => row.technique },
  { head: "attached", text: (row) => (row.attached > 0 ? String(row.attached) : "none"), kind: "number", bad: (row) => row.attached === 0 },
]);

/** First and last second of the window. */
function windowNow() {
  const newest = points.at(-1)?.time ?? 0;
  if (chosen.minutes === undefined) return chosen;
  return { from: Math.max(newest - 60 * chosen.minutes + 1, points[0]?.time ?? 0), to: newest };
}

let lastWindow = { methods: [], slowest: [] };
let asking = false;
async function refreshWindow() {
  if (asking || points.length === 0) return;
  asking = true;
  try {
    const { from, to } = windowNow();
    const response = await fetch(`api/v1/window?from=${from}&to=${to}`, { cache: "no-store" });
    if (response.ok) {
      lastWindow = await response.json();
      showWindow();
    }
  } catch {
    // The events say when wstap is gone.
  } finally {
    asking = false;
  }
}

function showWindow() {
  const wanted = byId("filter").value.trim().toLowerCase();
  const matches = (row) => [row.method, row.protocol, row.target, asked(row)].some((text) => text.toLowerCase().includes(wanted));
  methods.fill(lastWindow.methods.filter(matches));
  slowest.fill(lastWindow.slowest.filter((row) => row.method === undefined || matches(row)));
  const note = byId("methods-note");
  note.hidden = !(lastWindow.methods_since > lastWindow.from);
  note.textContent = `Methods are known since ${clock(lastWindow.methods_since)}; of the time before only the lines are kept.`;
}

function showChoice() {
  const { from, to } = windowNow();
  byId("window-text").textContent = points.length === 0 ? "" : `${clock(from)} to ${clock(to)}`;
  for (const button of document.querySelectorAll("[data-minutes]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.minutes) === chosen.minutes));
  }
  charts.show(points, windowNow());
}

function choose(choice) {
  chosen = choice;
  if (choice.minutes !== undefined) charts.clearSelection();
  showChoice();
  refreshWindow();
}
charts.onChoose((from, to) => choose({ from, to }));
for (const button of document.querySelectorAll("[data-minutes]")) {
  button.addEventListener("click", () => choose({ minutes: Number(button.dataset.minutes) }));
}
byId("filter").addEventListener("input", showWindow);

let openConnection = null;
async function openMessages(id) {
  const wasOpen = openConnection === id;
  openConnection = id;
  byId("messages-title").textContent = `Last messages of ${id}`;
  byId("messages").hidden = false;
  await refreshMessages();
  if (!wasOpen) byId("messages-title").focus();
}
async function refreshMessages() {
  if (openConnection === null) return;
  const response = await fetch(`api/v1/connection?id=${encodeURIComponent(openConnection)}`, { cache: "no-store" }).catch(() => null);
  if (response?.status === 404) {
    byId("messages-title").textContent = `${openConnection} has been closed`;
  } else if (response?.ok) {
    const found = await response.json();
    const newest = found.at(-1)?.at_ns ?? 0;
    lines.fill(found.reverse().map((line) => ({ ...line, before: (newest - line.at_ns) / 1e9 })));
  }
}
byId("messages-close").addEventListener("click", () => {
  byId("messages").hidden = true;
  openConnection = null;
});

function show(event) {
  last = event;
  heard = performance.now();
  // An event that begins at the beginning replaces all: wstap may have been started anew.
  const newest = points.at(-1)?.time ?? 0;
  const first = event.points[0]?.time;
  if (first !== undefined) points = first > newest ? points.concat(event.points) : event.points;
  points = points.slice(-KEPT_SECONDS);
  byId("sentence").textContent = event.sentence;
  byId("version").textContent = event.version;
  connections.fill(event.connections);
  const more = event.open - event.connections.length;
  byId("connections-more").hidden = more <= 0;
  byId("connections-more").textContent = `${whole.format(more)} more are open and not listed.`;
  waiting.fill(event.waiting);
  feeds.fill(event.feeds);
  const lost = event.losses.filter((row) => row.records > 0 || row.bytes > 0);
  losses.fill(lost);
  byId("losses-summary").textContent = lost.length === 0 ? "none" : `${whole.format(lost.reduce((sum, row) => sum + row.bytes, 0))} bytes`;
  byId("losses-summary").className = lost.length === 0 ? "" : "bad";
  targets.fill(event.status.targets.flatMap(({ name, processes }) => (processes.length === 0
    ? [{ target: name, state: "waiting" }]
    : processes.map((process) => ({ target: name, state: process.up ? "tapped" : "ended", ...process })))));
  probes.fill(event.status.probes);
  byId("probes-summary").textContent = `${event.status.probes.filter((probe) => probe.attached > 0).length} of ${event.status.probes.length} attached`;
  showChoice();
  refreshWindow();
  refreshMessages();
  setStale(false);
}

function setStale(isGone) {
  document.body.classList.toggle("gone", isGone);
  const stale = byId("stale");
  if (stale.hidden === !isGone) return;
  stale.hidden = !isGone;
  stale.textContent = isGone ? `wstap does not answer. Nothing below is current: it was last heard at ${new Date().toLocaleTimeString()}.` : "";
  if (isGone) byId("sentence").textContent = "wstap is gone.";
}

function follow() {
  const events = new EventSource("api/v1/live");
  events.addEventListener("message", (message) => show(JSON.parse(message.data)));
  events.addEventListener("error", () => {
    // A refusal ends an EventSource for good; a lost connection is tried again by itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(follow, STALE_MS);
  });
}

setInterval(() => {
  if (performance.now() - heard > STALE_MS) setStale(true);
}, 1000);
follow();
