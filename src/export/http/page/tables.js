// Figures as people read them, and tables that keep their order. Everything is set as text, never as
// markup.
"use strict";

// The name of a format, not an address: nothing is loaded from there.
const SVG = "http://www.w3.org/2000/svg";
const whole = new Intl.NumberFormat("en");

/** Three digits of a number below 1,000. */
const three = (value) => value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value <= 0) return "0 s";
  if (value < 1e-3) return three(value * 1e6) + " µs";
  if (value < 1) return three(value * 1e3) + " ms";
  if (value < 100) return three(value) + " s";
  return span(value);
}

/** A long time: 2 min 5 s, 3 h 2 min. */
function span(value) {
  const all = Math.max(Math.round(value), 0);
  if (all < 60) return `${all} s`;
  if (all < 3600) return `${Math.floor(all / 60)} min ${all % 60} s`;
  return `${Math.floor(all / 3600)} h ${Math.floor(all / 60) % 60} min`;
}

const rate = (value) => (value === 0 ? "0" : value < 10 ? value.toFixed(1) : whole.format(Math.round(value)));
const share = (part, all) => {
  if (all === 0) return "–";
  const percent = 100 * part / all;
  return (percent === 0 || percent >= 9.95 ? percent.toFixed(0) : percent.toFixed(1)) + " %";
};
const clock = (unix) => new Date(unix * 1000).toLocaleTimeString();

function sparkline(values) {
  const svg = document.createElementNS(SVG, "svg");
  const most = Math.max(...values, 1);
  const step = 100 / Math.max(values.length - 1, 1);
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", values.map((value, i) => `${i === 0 ? "M" : "L"}${(i * step).toFixed(1)},${(19 - 18 * value / most).toFixed(1)}`).join(""));
  svg.setAttribute("viewBox", "0 0 100 20");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "spark");
  svg.append(path);
  return svg;
}

/**
 * A table. Each column has a `head`, a `text` (or an `element`) of a row, and may have `sort` (a value
 * of a row), `kind` (classes), `bad` (whether a row's value is something wrong) and `least` (the sort
 * begins with the smallest).
 */
class Table {
  constructor(id, columns, { order = null, act = null } = {}) {
    this.table = document.getElementById(id);
    this.columns = columns;
    this.order = order; // { column, down }, or null for the server's order
    this.act = act;
    this.rows = [];
    const heads = document.createElement("tr");
    this.heads = columns.map((column) => {
      const head = document.createElement("th");
      head.scope = "col";
      if (column.kind === "number") head.className = "number";
      if (column.sort) {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = column.head;
        button.addEventListener("click", () => this.sortBy(column));
        head.append(button);
      } else {
        head.textContent = column.head;
      }
      heads.append(head);
      return head;
    });
    this.table.tHead.append(heads);
  }

  sortBy(column) {
    const same = this.order?.column === column;
    this.order = { column, down: same ? !this.order.down : !column.least };
    this.fill(this.rows);
  }

  fill(rows) {
    this.rows = rows;
    const { order } = this;
    this.columns.forEach((column, i) => {
      if (order?.column === column) this.heads[i].setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else this.heads[i].removeAttribute("aria-sort");
    });
    const sorted = order ? [...rows].sort((a, b) => {
      const [x, y] = [order.column.sort(a), order.column.sort(b)];
      if (x === y) return 0;
      // What has no value stands last, whichever way.
      if (x === null || x === undefined) return 1;
      if (y === null || y === undefined) return -1;
      return (x < y ? -1 : 1) * (order.down ? -1 : 1);
    }) : rows;
    const focused = this.table.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
    this.table.tBodies[0].replaceChildren(...sorted.map((row) => this.row(row)));
    if (focused) this.table.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    this.table.hidden = rows.length === 0;
    this.table.nextElementSibling.hidden = rows.length > 0;
  }

  row(row) {
    const element = document.createElement("tr");
    element.append(...this.columns.map((column) => {
      const cell = document.createElement("td");
      cell.dataset.head = column.head;
      cell.className = column.kind ?? "";
      if (column.bad?.(row)) cell.classList.add("bad");
      if (column.element) cell.append(column.element(row));
      else cell.textContent = column.text(row);
      return cell;
    }));
    return element;
  }
}

/** A button inside a cell, which keeps the focus when its table is filled anew. */
function cellButton(text, label, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.dataset.key = text;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", act);
  return button;
}
