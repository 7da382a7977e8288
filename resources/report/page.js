"use strict";
// Unpacks the runs, draws them once, and on each move of the scrub bar changes what depends on it.

const text = (s) => String(s).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const element = (tag, attributes = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
};

async function unpacked(id) {
  const holder = document.getElementById(id);
  const bytes = Uint8Array.from(atob(holder.textContent), (c) => c.charCodeAt(0));
  holder.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// An array as it was packed; `row(i)` is a view of its i-th row, `rows()` are all of a matrix.
class Packed {
  constructor({ array, shape, data }) {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    this.values = array === "Uint8Array" ? bytes : new Float32Array(bytes.buffer);
    this.shape = shape;
  }
  row(...at) {
    let size = this.values.length, first = 0;
    at.forEach((i, axis) => { size /= this.shape[axis] || 1; first += i * size; });
    return this.values.subarray(first, first + size);
  }
  rows() { return Array.from({ length: this.shape[0] }, (_, i) => this.row(i)); }
}

const finite = (values) => Array.from(values, (v) => (Number.isFinite(v) ? v : null));
const column = (packed, j) => finite(packed.rows().map((row) => row[j]));
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const plural = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const HUES = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#999933"];
const CONFIG = { displayModeBar: false, responsive: true };
const FONT = 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif';

function layout(more) {
  const axis = { gridcolor: css("--line"), zerolinecolor: css("--line"), linecolor: css("--line"), automargin: true };
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    font: { color: css("--ink"), size: 12, family: FONT }, margin: { l: 60, r: 12, t: 8, b: 44 }, hovermode: "closest",
    hoverlabel: { bgcolor: css("--paper"), bordercolor: css("--line"), font: { color: css("--ink"), family: FONT } },
  };
  const out = { ...base, ...more };
  for (const key of ["xaxis", "yaxis"])
    if (!more.scene) {
      out[key] = { ...axis, ...(more[key] || {}) };
      // Titles keep away from the numbers, which may be names of any length.
      if (out[key].title) out[key].title = { standoff: 10, ...out[key].title };
    }
  return out;
}

const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;

// Ticks at whole numbers, where an axis has fewer of these than it would have ticks.
const counting = (n, title) => ({
  title: { text: title }, range: [0.5, n + 0.5],
  ...(n <= 10 ? { tickvals: Array.from({ length: n }, (_, i) => i + 1) } : {}),
});

const line = (r) => ({
  type: "line", x0: r, x1: r, yref: "paper", y0: 0, y1: 1, line: { color: css("--mark"), width: 2 },
});

class Run {
  constructor(run, number) {
    Object.assign(this, run, { number, token: null, at: 0, head: 0 });
    this.points = new Packed(run.state_space.points);
    this.steps = new Packed(run.settling.values);
    this.median = new Packed(run.settling.median);
    this.change = new Packed(run.heads_change.values);
    this.probabilities = new Packed(run.readout.probabilities);
    this.flips = new Packed(run.readout.flips);
    this.attention = run.patterns && new Packed(run.patterns.values);
    this.plots = {};
  }

  // `alone` where the head of the page names it already.
  build(alone) {
    const tokens = element("div", { className: "tokens" });
    this.chips = this.tokens.map((label, i) => {
      const chip = element("button", { type: "button", textContent: label, title: `token ${i}` });
      chip.onclick = () => { this.token = this.token === i ? null : i; this.draw(); };
      tokens.append(chip);
      return chip;
    });
    const panels = element("div", { className: "panels" });
    const panel = (key, title, about, wide, ...body) => {
      const details = element("details", {}, element("summary", { textContent: "Formulas" }));
      for (const f of about.formulas) details.append(element("div", { textContent: f }));
      const node = element("section", { className: "panel" + (wide ? " wide" : "") },
        element("h3", { textContent: title }), element("p", { textContent: about.statement }), ...body, details);
      node.dataset.panel = key;
      panels.append(node);
    };
    const plot = (key) => (this.plots[key] = element("div", { className: "plot" }));
    this.where = element("p");
    this.kept = element("p");
    this.chooser = element("select", { title: "Head" }, ...this.heads.map((name) =>
      element("option", { textContent: `head ${name}` })));
    this.chooser.onchange = () => { this.head = this.chooser.selectedIndex; this.move(this.at); };
    this.list = element("div", { className: "answers" });
    const image = element("img", { alt: "the looped graph beside the run unrolled" });
    image.src = URL.createObjectURL(new Blob([this.graph.svg], { type: "image/svg+xml" }));
    panel("state_space", "State space", this.state_space, false, plot("space"));
    panel("settling", "Settling", this.settling, false, plot("settling"), this.where);
    panel("heads", "Head consistency", this.heads_change, false, plot("heads"));
    if (this.attention)
      panel("pattern", "Attention pattern", { statement: sentence(this.thinned.join("; ")), formulas: [] }, false,
        this.chooser, plot("pattern"), this.kept);
    panel("readout", "Readout", this.readout, false, plot("readout"));
    panel("answers", "Answers at the cursor", { statement: this.readout.lens, formulas: [] }, false, this.list);
    panel("graph", "Computation graph", this.graph, true, element("div", { className: "graph" }, image));
    const table = element("table");
    for (const [key, value] of Object.entries(this.provenance))
      table.append(element("tr", {}, element("th", { textContent: key }), element("td", { textContent: value })));
    panel("provenance", "Provenance", { statement: "What was run.", formulas: [] }, true, table);
    return element("article", { className: "run" }, element("h2", { textContent: this.name, hidden: alone }),
      element("p", { textContent: `${plural(this.recurrences, "recurrence")} of a ${this.block}, ${plural(this.tokens.length, "token")}` }),
      tokens, panels);
  }

  hue(i) { return this.token === null || this.token === i ? HUES[i % HUES.length] : css("--line"); }

  // Everything, for a new theme or another chosen token.
  draw() {
    this.chips.forEach((chip, i) => chip.setAttribute("aria-pressed", String(this.token === i)));
    this.drawSpace();
    this.drawSettling();
    this.drawHeads();
    this.drawReadout();
    this.move(this.at);
  }

  react(key, data, shape) { Plotly.react(this.plots[key], data, layout(shape), CONFIG); }

  drawSpace() {
    const coordinate = (i, k) => finite(Array.from({ length: this.points.shape[1] }, (_, s) => this.points.row(i, s)[k]));
    const flat = this.points.shape[2] < 3;
    const paths = this.tokens.map((label, i) => ({
      type: "scatter3d", mode: "lines", x: coordinate(i, 0), y: coordinate(i, 1),
      z: flat ? coordinate(i, 0).map(() => 0) : coordinate(i, 2),
      line: { color: this.hue(i), width: this.token === i ? 6 : 3 },
      text: coordinate(i, 0).map((_, r) => `token ${i} ${text(label)}, r = ${r}`), hoverinfo: "text",
    }));
    this.dots = paths.length;
    const axis = (k) => ({
      title: { text: text(this.state_space.axes[k] || "") }, color: css("--ink"), gridcolor: css("--line"),
      zerolinecolor: css("--line"), backgroundcolor: "rgba(0,0,0,0)",
    });
    paths.push({ type: "scatter3d", mode: "markers", x: [], y: [], z: [], hoverinfo: "skip",
      marker: { color: css("--mark"), size: 4 } });
    this.react("space", paths, { scene: { xaxis: axis(0), yaxis: axis(1), zaxis: axis(2), aspectmode: "data",
      // Far enough that no axis is cut off at first; its names stand below the middle.
      camera: { eye: { x: 1.75, y: 1.75, z: 1.25 }, center: { x: 0, y: 0, z: -0.18 } } },
      uirevision: "kept", margin: { l: 0, r: 0, t: 0, b: 0 } });
  }

  drawSettling() {
    const r = Array.from({ length: this.steps.shape[0] }, (_, i) => i + 1);
    const curves = this.tokens.map((label, i) => ({
      x: r, y: column(this.steps, i), mode: r.length > 1 ? "lines" : "markers",
      line: { color: this.hue(i), width: this.token === i ? 3 : 1 }, opacity: this.token === i ? 1 : 0.6,
      hovertemplate: `token ${i} ${text(label)}<br>r = %{x}<br>relative step %{y:.3g}<extra></extra>`,
    }));
    const extra = (name, packed, dash) => ({ x: r, y: finite(packed.values), mode: "lines", name,
      line: { color: css("--ink"), width: dash ? 1 : 2.5, dash }, hovertemplate: `${name}: %{y:.3g}<extra></extra>` });
    curves.push(extra("median over tokens", this.median), extra("tolerance", new Packed(this.settling.tolerance), "dash"),
      extra("rounding floor", new Packed(this.settling.floor), "dot"));
    this.react("settling", curves, { xaxis: counting(r.length, "recurrence r"),
      yaxis: { type: "log", title: { text: "relative step ‖Δs‖/‖s‖" }, exponentformat: "power" } });
  }

  drawHeads() {
    const names = this.heads.map((name) => `head ${name}`);
    const values = names.map((_, h) => column(this.change, h)), R = values[0].length;
    // One recurrence has none before it to be compared with: the words say so.
    this.plots.heads.hidden = values.every((row) => row.every((v) => v === null));
    const { near, measure, reference } = this.heads_change, far = this.heads_change.far || 1;
    const scaled = (v) => (near && v !== null ? Math.log10(Math.max(v, near)) : v);
    const tens = Array.from({ length: 20 }, (_, i) => 2 - i);
    const ticks = near ? { tickvals: tens, ticktext: tens.map((k) => (k < -1 ? `10<sup>−${-k}</sup>` : String(10 ** k))) } : {};
    this.react("heads", [{ type: "heatmap", z: values.map((row) => row.map(scaled)), customdata: values,
      x: values[0].map((_, i) => i + 1), y: names, zmin: near ? scaled(near) : 0, zmax: scaled(far),
      colorscale: "Cividis", reversescale: true,
      colorbar: { thickness: 10, title: { text: text(measure) + (near ? " (log scale)" : ""), side: "right" }, ...ticks },
      hovertemplate: "%{y}, r = %{x}: %{customdata:.3g}<extra></extra>" }],
      { xaxis: counting(R, `recurrence r, compared with ${text(reference)}`),
        yaxis: { type: "category", autorange: "reversed", nticks: 16 } });
    const plot = this.plots.heads;
    plot.removeAllListeners?.("plotly_click");
    plot.on("plotly_click", ({ points: [point] }) => {
      this.head = this.chooser.selectedIndex = names.indexOf(point.y);
      scrub.to(point.x);
    });
  }

  drawReadout() {
    const n = this.tokens.length, R = this.readout.answers.length;
    const at = (r, i) => this.readout.texts[this.readout.answers[r][i][0]] ?? "–";
    const rows = this.tokens.map((label, i) => `${i} ${text(label)}`);
    const z = rows.map((_, i) => finite(Array.from({ length: R }, (_, r) => this.probabilities.row(r, i)[0])));
    const said = rows.map((_, i) => Array.from({ length: R }, (_, r) => text(at(r, i))));
    this.react("readout", [{ type: "heatmap", z, text: said, x: Array.from({ length: R }, (_, r) => r + 1), y: rows,
      zmin: 0, zmax: 1, colorscale: "Cividis", texttemplate: R <= 12 && n <= 30 ? "%{text}" : "",
      colorbar: { thickness: 10, title: { text: "top answer's probability", side: "right" } },
      hovertemplate: "token %{y}, r = %{x}<br>%{text}: %{z:.3f}<extra></extra>" }],
      { xaxis: counting(R, "recurrence r"), yaxis: { type: "category", autorange: "reversed", nticks: 24 } });
  }

  // What follows the scrub bar.
  move(recurrence) {
    this.at = Math.min(recurrence, this.recurrences);
    const r = this.at, chosen = this.tokens.map((_, i) => i).filter((i) => this.token === null || this.token === i);
    const there = (k) => finite(chosen.map((i) => this.points.row(i, r)[k] ?? 0));
    Plotly.restyle(this.plots.space, { x: [there(0)], y: [there(1)], z: [there(2)] }, [this.dots]);
    for (const key of ["settling", "heads", "readout"]) Plotly.relayout(this.plots[key], { shapes: r && this.recurrences > 1 ? [line(r)] : [] });
    const step = r ? this.median.values[r - 1] : NaN;
    this.where.textContent = (r ? `At r = ${r}: median relative step ${step.toExponential(2)}. ` : "At r = 0 nothing has moved yet. ")
      + (this.token === null ? "" : `Token ${this.token} ${this.tokens[this.token]}: ${this.settling.classes[this.token] || "no class yet"} (${this.settling.judged}).`);
    this.showPattern(r);
    this.showAnswers(r);
  }

  showPattern(r) {
    if (!this.attention) return;
    const kept = this.patterns.recurrences;
    let k = kept.findLastIndex((at) => at <= r);
    if (k < 0) k = 0;
    const t = this.tokens.length, values = this.attention.row(k, this.head);
    const labels = this.tokens.map((label, i) => `${i} ${text(label)}`);
    const z = labels.map((_, q) => Array.from(values.subarray(q * t, (q + 1) * t), (v) => v / 255));
    this.kept.textContent = `Head ${this.heads[this.head]} at r = ${kept[k]}` +
      (kept[k] === r ? "." : kept[k] > r ? ", the first recurrence kept." : `, the recurrence kept that is nearest before r = ${r}.`);
    this.react("pattern", [{ type: "heatmap", z, x: labels, y: labels, zmin: 0, zmax: 1, colorscale: "Cividis",
      colorbar: { thickness: 10, title: { text: "attention probability", side: "right" } },
      hovertemplate: "query %{y}<br>key %{x}<br>%{z:.3f}<extra></extra>" }],
      { xaxis: { type: "category", title: { text: "key" }, nticks: 20 },
        yaxis: { type: "category", autorange: "reversed", title: { text: "query" }, nticks: 20 } });
  }

  showAnswers(r) {
    const table = element("table");
    if (r && this.readout.answers.length >= r)
      this.tokens.forEach((label, i) => {
        const p = this.probabilities.row(r - 1, i);
        const said = this.readout.answers[r - 1][i]
          .map((a, k) => (Number.isFinite(p[k]) ? `${this.readout.texts[a]} ${p[k].toFixed(3)}` : "not finite"));
        const flip = this.flips.row(r - 1)[i] ? "flips" : "";
        table.append(element("tr", { className: this.token === i ? "chosen" : "" },
          element("th", { textContent: `${i} ${label}` }), element("td", { textContent: said.join("   ") }),
          element("td", { textContent: flip })));
      });
    else table.append(element("tr", {}, element("td", { textContent: r ? "No readouts were kept." : "r = 0 is the start: nothing is read out." })));
    this.list.replaceChildren(table);
  }
}

const scrub = {
  runs: [], bar: document.getElementById("recurrence"), word: document.querySelector("output"), timer: null,
  start(runs) {
    this.runs = runs;
    this.bar.max = Math.max(...runs.map((run) => run.recurrences));
    this.bar.oninput = () => this.to(Number(this.bar.value));
    document.getElementById("play").onclick = () => this.play();
    addEventListener("keydown", (event) => {
      if (event.target instanceof HTMLButtonElement || event.ctrlKey || event.metaKey) return;
      if (event.key === " ") { event.preventDefault(); this.play(); }
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by && event.target !== this.bar) this.to(Number(this.bar.value) + by);
    });
    this.to(Number(this.bar.max));
  },
  to(recurrence) {
    const r = Math.max(0, Math.min(recurrence, Number(this.bar.max)));
    this.bar.value = r;
    this.word.textContent = `r = ${r} of ${this.bar.max}`;
    this.runs.forEach((run) => run.move(r));
  },
  play() {
    const button = document.getElementById("play");
    const stop = () => { clearInterval(this.timer); this.timer = null; button.textContent = "Play"; };
    if (this.timer) return stop();
    if (this.bar.value === this.bar.max) this.to(0);
    button.textContent = "Stop";
    this.timer = setInterval(() => {
      this.to(Number(this.bar.value) + 1);
      if (this.bar.value === this.bar.max) stop();
    }, 250);
  },
};

async function main() {
  const library = document.createElement("script");
  library.textContent = await unpacked("library");
  document.head.append(library);
  const page = JSON.parse(await unpacked("data"));
  const runs = page.runs.map((run, i) => new Run(run, i));
  document.querySelector("h1").textContent = runs.map((run) => run.name).join(" and ");
  const body = document.querySelector("main");
  body.classList.toggle("two", runs.length > 1);
  body.append(...runs.map((run) => run.build(runs.length === 1)));
  runs.forEach((run) => { run.at = run.recurrences; run.draw(); });
  scrub.start(runs);
  document.querySelector("footer").append(
    runs.length > 1 ? "Both runs are shown recurrence by recurrence; the shorter one stays at its end. " : "",
    "Made by ", element("code", { textContent: page.command }));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => runs.forEach((run) => run.draw()));
  document.body.dataset.ready = "true";
}

main().catch((error) => {
  document.body.append(element("p", { id: "fault", textContent: `This page cannot be drawn: ${error.message}` }));
  throw error;
});
