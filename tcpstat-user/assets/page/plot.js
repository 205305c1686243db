/* global uPlot */
// A plot of lines over the last ten minutes. The pointer or the arrow keys select a time, whose values are shown.

import { colour } from "./palette.js";
import { SPAN_MS } from "./series.js";

const MAX_READOUT = 5;

/** The time of day, from seconds since the epoch. */
export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");

export class Plot {
  /** `lines` are {state, dash} by key; `words` formats a value, `ticks` are the steps of its axis. Call `scale`
      next, which builds the plot. */
  constructor(figure, lines, { words, ticks }) {
    this.figure = figure;
    this.frame = figure.querySelector(".plot");
    this.readout = figure.querySelector(".readout");
    this.text = figure.querySelector("figcaption");
    this.lines = lines;
    this.words = words;
    this.ticks = ticks;
    this.hidden = new Set();
    this.logarithmic = false;
    this.data = [[], ...[...lines.keys()].map(() => [])];
    this.frame.addEventListener("keydown", (event) => this.key(event));
    this.frame.addEventListener("focus", () => this.readout.setAttribute("aria-live", "polite"));
    this.frame.addEventListener("blur", () => {
      this.readout.setAttribute("aria-live", "off");
      this.plot.setCursor({ left: -10, top: -10 });
    });
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.frame);
  }

  /** Builds the plot again, with the current colours and scale. */
  build() {
    this.plot?.destroy();
    const series = [...this.lines].map(([key, { state, dash }]) => ({
      label: key,
      stroke: colour(state),
      width: 1.75,
      dash,
      show: !this.hidden.has(key),
      points: { show: false },
    }));
    const axis = { stroke: colour("muted"), font: "11px system-ui, sans-serif", ticks: { show: false } };
    const grid = { stroke: colour("line"), width: 1 };
    this.plot = new uPlot({
      ...this.size(),
      padding: [10, 18, 0, 0],
      legend: { show: false },
      focus: { alpha: 0.2 },
      cursor: { sync: { key: "time", setSeries: false }, drag: { x: false, y: false }, y: false, points: { size: 6 } },
      scales: {
        x: { time: true, range: (_, __, max) => [max - SPAN_MS / 1000, max] },
        y: this.logarithmic
          ? { distr: 4, asinh: 1, range: (_, __, max) => [0, Math.max(max, 10) * 1.2] }
          : { range: (_, __, max) => [0, Math.max(max * 1.08, 1)] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 26, space: 70, values: clockOf },
        { ...axis, grid, size: 52, space: 44, incrs: this.ticks, values: (_, splits) => splits.map(short), ...(this.logarithmic && { splits: decades, filter: (_, splits) => splits }) },
      ],
      series: [{}, ...series],
      hooks: { setCursor: [() => this.read()] },
    }, this.data, this.frame);
  }

  /** Shows new columns, the times first. */
  show(data) {
    this.data = data;
    this.plot.setData(data);
    this.read();
  }

  /** Sets a logarithmic or a linear scale. */
  scale(logarithmic) {
    this.logarithmic = logarithmic;
    this.build();
  }

  /** Shows or hides one line. */
  toggle(key, shown) {
    if (shown) this.hidden.delete(key);
    else this.hidden.add(key);
    this.plot?.setSeries(this.index(key), { show: shown });
  }

  /** Highlights one line; none if the key is null. */
  point(key) {
    this.plot.setSeries(key === null ? null : this.index(key), { focus: key !== null });
  }

  /** Describes the lines in words, for screen readers. */
  describe() {
    const parts = this.visible().map(([key, column]) => {
      const values = column.filter((value) => value !== null);
      const [least, most] = [Math.min(...values), Math.max(...values)];
      return `${key.replace(" ", " to ")} now ${this.words(column.at(-1))}, minimum ${this.words(least)}, maximum ${this.words(most)}`;
    });
    this.text.textContent = parts.length > 0 ? `${parts.join("; ")}.` : "No data.";
  }

  index(key) {
    return [...this.lines.keys()].indexOf(key) + 1;
  }

  /** Lines that are shown and have values. */
  visible() {
    return [...this.lines.keys()]
      .map((key, index) => [key, this.data[index + 1]])
      .filter(([key, column]) => !this.hidden.has(key) && column.some((value) => value !== null));
  }

  read() {
    const at = this.plot.cursor.idx;
    const time = at === null || at === undefined ? undefined : this.data[0][at];
    if (time === undefined || this.plot.cursor.left < 0) {
      this.readout.textContent = "";
      return;
    }
    const found = this.visible()
      .map(([key, column]) => [key, column[at]])
      .filter(([, value]) => value !== null && value > 0)
      .sort(([, one], [, other]) => other - one);
    const more = found.length > MAX_READOUT ? ` · ${found.length - MAX_READOUT} more` : "";
    const parts = found.slice(0, MAX_READOUT).map(([key, value]) => `${key.replace(" ", "→")} ${this.words(value)}`);
    this.readout.textContent = `${clock(time)}  ${parts.join(" · ") || "nothing"}${more}`;
  }

  key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -60, PageDown: 60, Home: -Infinity, End: Infinity };
    const times = this.data[0];
    if (!(event.key in steps) || times.length === 0) return;
    event.preventDefault();
    const last = times.length - 1;
    const from = this.plot.cursor.left >= 0 ? this.plot.cursor.idx : last;
    const at = Math.min(Math.max(from + steps[event.key], 0), last);
    this.plot.setCursor({ left: this.plot.valToPos(times[at], "x"), top: 10 });
  }

  size() {
    return { width: Math.max(this.frame.clientWidth, 80), height: Math.max(this.frame.clientHeight, 80) };
  }
}

// Without samples the scale has no times.
function clockOf(plot, splits, _, __, step) {
  if (plot.data[0].length === 0) return splits.map(() => "");
  return splits.map((seconds) => (step >= 60 ? clock(seconds).slice(0, 5) : clock(seconds)));
}

// 1, 10, 100, … up to the end of the scale; in between 30, 300, … if there is room.
function decades(plot, axis, min, max) {
  const splits = [0];
  for (let decade = 1; decade <= max; decade *= 10) {
    splits.push(decade);
    if (max < 5000 && decade * 3 <= max && decade >= 10) splits.push(decade * 3);
  }
  return splits;
}

function short(number) {
  if (number >= 1e6) return `${+(number / 1e6).toFixed(2)}M`;
  if (number >= 1e4) return `${+(number / 1e3).toFixed(1)}k`;
  return number.toLocaleString("en-US");
}
