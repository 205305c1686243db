// Connects the parts of the page: samples of the stream go into the series, and from there into tables and
// plots.

import { connect } from "./connection.js";
import { Details } from "./details.js";
import { showStatus } from "./health.js";
import { stateLine, transitionLine } from "./palette.js";
import { Plot, clock } from "./plot.js";
import { Scopes } from "./scopes.js";
import { Series, rate, sockets } from "./series.js";
import { Rows, count, fillStates, fillTransitions, perSecond } from "./tables.js";

const WORDS = {
  connecting: "connecting",
  waiting: "waiting for the first snapshot",
  loading: "loading",
  live: "live",
  reconnecting: "reconnecting",
};
const STORAGE = "tcpstat";
const DESCRIBE_MS = 10_000;

const find = (selector) => document.querySelector(selector);
const whole = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();

const series = new Series();
// Counts of states differ by orders of magnitude, and the small ones matter: their scale is logarithmic.
const choices = { family: "both", logarithmic: { states: true, moves: false }, hidden: [], ...recall() };
const states = new Rows(find("#states"));
const moves = new Rows(find("#moves"));
// The first rows of a table are drawn last, above the others.
const stateLines = new Map(states.keys.reverse().map((state) => [state, stateLine(state)]));
const moveLines = new Map(moves.keys.reverse().map((move) => [move, transitionLine(move, moves.keys)]));
const statesPlot = new Plot(find("#states-plot"), stateLines, { words: count, ticks: whole });
const movesPlot = new Plot(find("#moves-plot"), moveLines, { words: perSecond, ticks: [0.1, 0.2, 0.5, ...whole] });
const isLive = () => !document.hidden && document.body.dataset.connection === "live";
const details = new Details(find("#causes"), find("#ages"), find("#listeners"), find("#ports"));
const scopes = new Scopes(find("#scopes"), find("#scope-plot"), whole, isLive);
let described = 0;

for (const [rows, lines, plot] of [[states, stateLines, statesPlot], [moves, moveLines, movesPlot]]) {
  const hidden = new Set(choices.hidden);
  rows.wire(lines, hidden, {
    shown: (key, shown) => {
      choices.hidden = choices.hidden.filter((other) => other !== key);
      if (!shown) choices.hidden.push(key);
      plot.toggle(key, shown);
      remember();
    },
    pointed: (key) => plot.point(key),
  });
  hidden.forEach((key) => lines.has(key) && plot.toggle(key, false));
}

for (const input of document.querySelectorAll("#families input")) {
  input.checked = input.value === choices.family;
  input.addEventListener("change", () => {
    choices.family = input.value;
    remember();
    draw();
  });
}
for (const [name, plot] of [["states", statesPlot], ["moves", movesPlot]]) {
  const button = plot.figure.querySelector(".scale");
  const scale = () => {
    button.setAttribute("aria-pressed", String(choices.logarithmic[name]));
    plot.scale(choices.logarithmic[name]);
  };
  button.addEventListener("click", () => {
    choices.logarithmic[name] = !choices.logarithmic[name];
    remember();
    scale();
  });
  scale();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  statesPlot.build();
  movesPlot.build();
});
document.addEventListener("visibilitychange", draw);

connect({
  state: (state, reason) => {
    const newest = series.newest();
    const old = state === "reconnecting" && newest ? `; the numbers are those of ${clock(series.time(newest))}` : "";
    document.body.dataset.connection = state;
    find("#connection").dataset.state = state;
    find("#connection").textContent = `${reason ? `refused: ${reason}` : WORDS[state]}${old}`;
    if (state === "live") scopes.load();
  },
  history: (history) => series.load(history),
  sample: (sample) => {
    series.add(sample);
    draw();
  },
  status: (status) => {
    showStatus(status);
    details.add(status);
    if (!document.hidden) details.draw(families());
  },
});

function families() {
  return choices.family === "both" ? ["ipv4", "ipv6"] : [choices.family];
}

function draw() {
  const newest = series.newest();
  if (!newest || document.hidden) return;
  const chosen = families();
  fillStates(states, series, chosen, moves.keys);
  fillTransitions(moves, series, chosen);
  details.draw(chosen);
  find("#moves-plot .untraced").hidden = newest.transitions !== null;
  statesPlot.show(series.columns([...stateLines.keys()], (state, _, sample) => sockets(sample, chosen, state)));
  movesPlot.show(series.columns([...moveLines.keys()], (move, before, sample) => rate(before, sample, chosen, move)));
  if (newest.uptime - described >= DESCRIBE_MS || newest.uptime < described) {
    described = newest.uptime;
    statesPlot.describe();
    movesPlot.describe();
  }
}

// The browser may forbid storage; the page works without it.
function recall() {
  try {
    return JSON.parse(localStorage.getItem(STORAGE)) ?? {};
  } catch {
    return {};
  }
}

function remember() {
  try {
    localStorage.setItem(STORAGE, JSON.stringify(choices));
  } catch {
    // See above.
  }
}
