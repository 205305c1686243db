// How the line of each series looks: its colour by the state, its dash among those of one colour.

const DASHED = [7, 4];
const DOTTED = [2, 3];
const DASHED_STATES = new Set(["fin_wait2", "last_ack", "closing", "listen"]);

/** The colour of a state in the theme of now. */
export function colour(state) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${state}`).trim();
}

/** The line of a state. */
export function lineOfState(state) {
  return { state, dash: DASHED_STATES.has(state) ? DASHED : [] };
}

/** The line of a move, by keys "from to" of all of them: the colour of the state entered; dotted, that
    of the state left where a socket ends. */
export function lineOfMove(move, moves) {
  const [from, to] = move.split(" ");
  if (to === "close") return { state: from, dash: DOTTED };
  const place = moves.filter((other) => other.endsWith(` ${to}`)).indexOf(move);
  return { state: to, dash: [[], DASHED, [7, 3, 2, 3]][place] ?? DOTTED };
}

/** Shows the line of a series in its row. */
export function paintSwatch(row, { state, dash }) {
  const line = row.querySelector(".swatch line");
  line.style.stroke = `var(--${state})`;
  line.setAttribute("stroke-dasharray", dash.map((length) => length * 0.75).join(" "));
}
