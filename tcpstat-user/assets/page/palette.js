// The line of each series: the colour depends on the state, the dash tells lines of one colour apart.

const DASHED = [7, 4];
const DOTTED = [2, 3];
const DASHED_STATES = new Set(["fin_wait2", "last_ack", "closing", "listen"]);

/** The colour of a state in the current theme. */
export function colour(state) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${state}`).trim();
}

export function stateLine(state) {
  return { state, dash: DASHED_STATES.has(state) ? DASHED : [] };
}

/** The line of a transition "from to", of all `transitions`: in the colour of the new state; if that is close,
    dotted, in the colour of the old state. */
export function transitionLine(transition, transitions) {
  const [from, to] = transition.split(" ");
  if (to === "close") return { state: from, dash: DOTTED };
  const index = transitions.filter((other) => other.endsWith(` ${to}`)).indexOf(transition);
  return { state: to, dash: [[], DASHED, [7, 3, 2, 3]][index] ?? DOTTED };
}

/** Draws the line of a series in its row. */
export function paintSwatch(row, { state, dash }) {
  const line = row.querySelector(".swatch line");
  line.style.stroke = `var(--${state})`;
  line.setAttribute("stroke-dasharray", dash.map((length) => length * 0.75).join(" "));
}
