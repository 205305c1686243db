// The two tables: numbers, and the buttons that show and hide a line.

import { paintSwatch } from "./palette.js";
import { sockets, total } from "./series.js";

const whole = new Intl.NumberFormat("en-US");
const tenths = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const BOTH = ["ipv4", "ipv6"];

/** A rate as text. */
export function perSecond(rate) {
  if (rate === null) return "–";
  return rate === 0 || rate >= 100 ? whole.format(Math.round(rate)) : tenths.format(rate);
}

/** A count as text. */
export function count(number) {
  return number === null ? "–" : whole.format(number);
}

/** The rows of a table, by key. */
export class Rows {
  constructor(table) {
    this.rows = new Map();
    for (const row of table.querySelectorAll("tbody tr")) this.rows.set(row.dataset.series, row);
    this.foot = table.querySelector("tfoot tr");
  }

  get keys() {
    return [...this.rows.keys()];
  }

  /** Draws each series' line. Calls `on.shown` when the button of a row is pressed, and `on.pointed` when the
      pointer or the focus enters a row, or with null when it leaves. */
  wire(lines, hidden, on) {
    for (const [key, row] of this.rows) {
      const button = row.querySelector("button");
      paintSwatch(row, lines.get(key));
      button.setAttribute("aria-pressed", String(!hidden.has(key)));
      button.addEventListener("click", () => {
        const shown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(shown));
        on.shown(key, shown);
      });
      for (const event of ["mouseenter", "focusin"]) row.addEventListener(event, () => on.pointed(key));
      for (const event of ["mouseleave", "focusout"]) row.addEventListener(event, () => on.pointed(null));
    }
  }
}

/** Fills in the table of states. */
export function fillStates(rows, series, families, transitions) {
  const sample = series.newest();
  for (const [state, row] of rows.rows) {
    const all = sockets(sample, BOTH, state);
    row.classList.toggle("zero", all === 0);
    write(row, "total", count(all));
    for (const family of BOTH) write(row, family, count(sockets(sample, [family], state)));
    write(row, "peak", count(series.peak(BOTH, state)));
    // TIME_WAIT sockets are mini-sockets, which make no transitions.
    const known = state !== "time_wait";
    const rateOf = (test) => (known ? perSecond(sum(series, families, transitions.filter((one) => test(one, state)))) : "–");
    write(row, "in", rateOf(enters));
    write(row, "out", rateOf(leaves));
  }
  const states = rows.keys;
  const allSockets = (of) => states.reduce((all, state) => all + sockets(sample, of, state), 0);
  write(rows.foot, "total", count(allSockets(BOTH)));
  for (const family of BOTH) write(rows.foot, family, count(allSockets([family])));
  write(rows.foot, "in", perSecond(sum(series, families, transitions.filter(isBirth))));
  write(rows.foot, "out", perSecond(sum(series, families, transitions.filter((one) => one.endsWith(" close")))));
}

/** Fills in the table of transitions. */
export function fillTransitions(rows, series, families) {
  for (const [transition, row] of rows.rows) {
    const times = total(series.newest(), families, transition);
    row.classList.toggle("zero", !times);
    const now = series.rate(families, transition);
    write(row, "rate", perSecond(now));
    row.querySelector(".rate").classList.toggle("nothing", !now);
    write(row, "total", count(times));
  }
}

// An accepted socket starts in the state of its listener, and the listener stays in it.
const isAccepted = (transition) => transition === "listen syn_recv";
const isBirth = (transition) => transition.startsWith("close ") || isAccepted(transition);
const enters = (transition, state) => state !== "close" && transition.endsWith(` ${state}`);
const leaves = (transition, state) => state !== "close" && transition.startsWith(`${state} `) && !isAccepted(transition);

function sum(series, families, transitions) {
  if (!series.newest().transitions) return null;
  const rates = transitions.map((transition) => series.rate(families, transition));
  return rates.includes(null) ? null : rates.reduce((all, rate) => all + rate, 0);
}

function write(row, column, text) {
  const cell = row.querySelector(`.${column}`);
  if (cell.textContent !== text) cell.textContent = text;
}
