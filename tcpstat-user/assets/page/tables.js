// The two tables: numbers, and the buttons that show and hide a line.

import { paintSwatch } from "./palette.js";
import { sockets, total } from "./series.js";

const whole = new Intl.NumberFormat("en-US");
const tenths = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const BOTH = ["ipv4", "ipv6"];

/** A rate in words. */
export function perSecond(rate) {
  if (rate === null) return "–";
  return rate === 0 || rate >= 100 ? whole.format(Math.round(rate)) : tenths.format(rate);
}

/** A number of sockets in words. */
export function count(number) {
  return number === null ? "–" : whole.format(number);
}

/** The rows of a table by their keys. */
export class Rows {
  constructor(table) {
    this.rows = new Map();
    for (const row of table.querySelectorAll("tbody tr")) this.rows.set(row.dataset.series, row);
    this.foot = table.querySelector("tfoot tr");
  }

  get keys() {
    return [...this.rows.keys()];
  }

  /** Shows each series' line, and tells `on` of what is done to a row: `shown` by its button, `pointed`
      at by the pointer or the focus (null when no longer). */
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
export function fillStates(rows, series, families, moves) {
  const sample = series.newest();
  for (const [state, row] of rows.rows) {
    const all = sockets(sample, BOTH, state);
    row.classList.toggle("zero", all === 0);
    write(row, "total", count(all));
    for (const family of BOTH) write(row, family, count(sockets(sample, [family], state)));
    // Mini-sockets make none of these transitions.
    const known = state !== "time_wait";
    write(row, "in", known ? perSecond(sum(series, families, moves.filter((move) => enters(move, state)))) : "–");
    write(row, "out", known ? perSecond(sum(series, families, moves.filter((move) => leaves(move, state)))) : "–");
  }
  const states = rows.keys;
  const everything = (of) => states.reduce((all, state) => all + sockets(sample, of, state), 0);
  write(rows.foot, "total", count(everything(BOTH)));
  for (const family of BOTH) write(rows.foot, family, count(everything([family])));
  write(rows.foot, "in", perSecond(sum(series, families, moves.filter(begins))));
  write(rows.foot, "out", perSecond(sum(series, families, moves.filter((move) => move.endsWith(" close")))));
}

/** Fills in the table of moves. */
export function fillMoves(rows, series, families) {
  for (const [move, row] of rows.rows) {
    const times = total(series.newest(), families, move);
    row.classList.toggle("zero", !times);
    const now = series.rate(families, move);
    write(row, "rate", perSecond(now));
    row.querySelector(".rate").classList.toggle("nothing", !now);
    write(row, "total", count(times));
  }
}

// An accepted child has its listener's state before its first, which the listener does not leave.
const isBirthOfChild = (move) => move === "listen syn_recv";
const begins = (move) => move.startsWith("close ") || isBirthOfChild(move);
const enters = (move, state) => state !== "close" && move.endsWith(` ${state}`);
const leaves = (move, state) => state !== "close" && move.startsWith(`${state} `) && !isBirthOfChild(move);

function sum(series, families, moves) {
  if (!series.newest().transitions) return null;
  const rates = moves.map((move) => series.rate(families, move));
  return rates.includes(null) ? null : rates.reduce((all, rate) => all + rate, 0);
}

function write(row, column, text) {
  const cell = row.querySelector(`.${column}`);
  if (cell.textContent !== text) cell.textContent = text;
}
