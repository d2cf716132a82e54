// The lines and the heat map. Dragging across one of them chooses the window.
"use strict";

const HEAT_FROM = -14; // 2^-14 s = 61 us
const HEAT_TO = 7; // 128 s

const charts = (() => {
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // `light-dark()` is resolved where a property uses it, not in the property itself.
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  function resolved(name) {
    probe.style.color = `var(${name})`;
    return getComputedStyle(probe).color;
  }

  /** Whole powers of ten around two times, so that each line of the grid has its label. */
  const decades = (least, most) => [10 ** Math.floor(Math.log10(Math.max(least, 1e-6))), 10 ** Math.ceil(Math.log10(Math.max(most, 2e-6)))];

  const plots = [];
  let points = [];
  let shown = null;
  let choose = () => {};

  function line(label, name, extra = {}) {
    return { label, stroke: () => resolved(name), width: 1.5, spanGaps: false, points: { size: 4 }, ...extra };
  }

  function plot(id, series, options = {}) {
    const host = document.getElementById(id);
    const format = options.format ?? ((value) => (value === null || value === undefined ? "–" : String(value)));
    const axis = { stroke: () => resolved("--faint"), grid: { stroke: () => resolved("--line"), width: 1 }, ticks: { stroke: () => resolved("--line") } };
    const chart = new uPlot({
      width: host.clientWidth || 300,
      height: 170,
      series: [{ label: "time" }, ...series.map((it) => ({ ...it, value: (_, value) => format(value) }))],
      scales: { y: options.scale ?? { range: (_, __, most) => [0, Math.max(most, 1)] } },
      axes: [axis, { ...axis, size: 64, values: (_, values) => values.map((value) => (value === null ? "" : format(value))) }],
      cursor: { sync: { key: "time" }, drag: { x: true, y: false, setScale: false } },
      hooks: {
        setSelect: [(self) => {
          if (self.select.width < 4) return;
          const at = (x) => Math.round(self.posToVal(x, "x"));
          choose(at(self.select.left), at(self.select.left + self.select.width));
        }],
      },
    }, [[]].concat(series.map(() => [])), host);
    plots.push(chart);
    new ResizeObserver(() => chart.setSize({ width: host.clientWidth, height: 170 })).observe(host);
    return chart;
  }

  const rate = plot("rate", [line("answers", "--accent"), line("sent", "--second"), line("received", "--third")]);
  const latency = plot("latency", [line("p50", "--accent"), line("p90", "--second"), line("p99", "--bad")], {
    format: (value) => (value === null || value === undefined ? "–" : seconds(value)),
    scale: { distr: 3, range: (_, least, most) => (least === null ? [0.001, 1] : decades(least, most)) },
  });
  const failures = plot("failures", [line("errors", "--bad"), line("no answer", "--second")]);

  const heat = document.getElementById("heat");
  function drawHeat() {
    const ratio = devicePixelRatio || 1;
    const [width, height] = [heat.clientWidth * ratio, heat.clientHeight * ratio];
    [heat.width, heat.height] = [width, height];
    const canvas = heat.getContext("2d");
    canvas.clearRect(0, 0, width, height);
    if (points.length === 0) return;
    const left = 64 * ratio;
    const [from, to] = [points[0].time, points[points.length - 1].time + 1];
    const step = (width - left) / Math.max(to - from, 1);
    const rows = HEAT_TO - HEAT_FROM;
    const row = height / rows;
    const most = Math.max(...points.flatMap((point) => point.heat.map(([, count]) => count)), 1);
    canvas.fillStyle = resolved("--accent");
    for (const { time, heat: cells } of points) {
      for (const [octave, count] of cells) {
        const at = Math.min(Math.max(octave, HEAT_FROM + 1), HEAT_TO) - HEAT_FROM;
        canvas.globalAlpha = 0.15 + 0.85 * Math.log1p(count) / Math.log1p(most);
        canvas.fillRect(left + (time - from) * step, height - at * row, Math.max(step, ratio), Math.max(row - ratio, 1));
      }
    }
    canvas.globalAlpha = 1;
    canvas.fillStyle = resolved("--faint");
    canvas.font = `${11 * ratio}px system-ui, sans-serif`;
    canvas.textAlign = "right";
    for (let octave = HEAT_FROM + 4; octave < HEAT_TO; octave += 5) {
      canvas.fillText(seconds(2 ** octave), left - 6 * ratio, height - (octave - HEAT_FROM) * row);
    }
    if (shown) {
      canvas.strokeStyle = resolved("--accent");
      canvas.lineWidth = ratio;
      const x = left + (Math.max(shown.from, from) - from) * step;
      canvas.strokeRect(x, 0.5, (Math.min(shown.to + 1, to) - Math.max(shown.from, from)) * step, height - 1);
    }
  }
  new ResizeObserver(drawHeat).observe(heat);

  function heatTime(event) {
    const box = heat.getBoundingClientRect();
    const [from, to] = [points[0].time, points[points.length - 1].time + 1];
    const share = (event.clientX - box.left - 64) / Math.max(box.width - 64, 1);
    return Math.round(from + Math.min(Math.max(share, 0), 1) * (to - from));
  }
  let pressed = null;
  heat.addEventListener("pointerdown", (event) => {
    pressed = points.length > 0 ? heatTime(event) : null;
    heat.setPointerCapture(event.pointerId);
  });
  heat.addEventListener("pointerup", (event) => {
    if (pressed === null) return;
    const now = heatTime(event);
    if (now !== pressed) choose(Math.min(pressed, now), Math.max(pressed, now));
    pressed = null;
  });

  function draw() {
    const column = (key) => points.map((point) => point[key]);
    const time = column("time");
    rate.setData([time, column("answered"), column("sent"), column("received")]);
    latency.setData([time, column("p50"), column("p90"), column("p99")]);
    failures.setData([time, column("errors"), column("unanswered")]);
    drawHeat();
  }

  /** The lines ask for their colour when they are drawn; the legend was given it once. */
  function recolor(chart) {
    chart.redraw();
    chart.root.querySelectorAll(".u-series").forEach((row, i) => {
      const marker = row.querySelector(".u-marker");
      if (marker && chart.series[i].stroke) marker.style.borderColor = chart.series[i].stroke(chart, i);
    });
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    plots.forEach(recolor);
    drawHeat();
  });

  return {
    /** Called with the first and the last second of a stretch that was dragged. */
    onChoose(listener) { choose = listener; },
    show(all, window) {
      points = all;
      shown = window;
      draw();
    },
    clearSelection() { plots.forEach((chart) => chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false)); },
    color,
  };
})();
