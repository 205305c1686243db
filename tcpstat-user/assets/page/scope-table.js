// The table of scopes. Users choose the names of scopes: they are shown as text, never as HTML.

import { count } from "./tables.js";

const MAX_ROWS = 300;
const SVG = "http://www.w3.org/2000/svg";
const SPARK = { width: 90, height: 16 };

/** The order of `scopes` by `column`: a state, "total", or "name". Scopes without numbers come last. */
export function sorted(scopes, { column, descending }) {
  const sign = descending ? -1 : 1;
  const names = (one, other) => (one.name < other.name ? -1 : Number(one.name > other.name));
  return [...scopes].sort((one, other) => {
    if (column === "name") return sign * names(one, other);
    const [here, there] = [value(one, column), value(other, column)];
    if (here === null || there === null) return (here === null) - (there === null) || names(one, other);
    return sign * (here - there) || names(one, other);
  });
}

/** The scopes whose name or labels contain `text`, in any case. */
export function filtered(scopes, text) {
  const wanted = text.trim().toLowerCase();
  const labels = ({ name, netns }) => [name, ...Object.values(netns ?? {})].join(" ").toLowerCase();
  return wanted === "" ? scopes : scopes.filter((scope) => labels(scope).includes(wanted));
}

/** The sockets of a scope in a state, or in all with "total"; null before they are known. */
function value(scope, column) {
  return (column === "total" ? scope.total : scope.connections?.[column]) ?? null;
}

export class ScopeTable {
  /** Calls `on.sorted` with the column whose button is pressed, and `on.chosen` with the name of a scope. */
  constructor(table, on) {
    this.heads = [...table.querySelectorAll("thead th[data-column]")];
    this.body = table.querySelector("tbody");
    this.rows = new Map();
    this.on = on;
    for (const head of this.heads) {
      head.querySelector("button").addEventListener("click", () => on.sorted(head.dataset.column));
    }
  }

  /** Shows the first scopes in this order. Rows of scopes that were there before stay, and keep the focus.
      Returns the number of rows. */
  show(scopes, sort, chosen) {
    for (const head of this.heads) {
      if (head.dataset.column === sort.column) head.setAttribute("aria-sort", sort.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const focused = document.activeElement;
    const shown = scopes.slice(0, MAX_ROWS);
    const rows = new Map(shown.map((scope) => [scope.name, this.rows.get(scope.name) ?? this.row(scope.name)]));
    this.rows = rows;
    shown.forEach((scope) => fill(rows.get(scope.name), scope, scope.name === chosen));
    const order = [...rows.values()];
    if (order.length !== this.body.children.length || order.some((row, at) => row !== this.body.children[at])) {
      this.body.replaceChildren(...order);
      if (focused !== document.activeElement && this.body.contains(focused)) focused.focus({ preventScroll: true });
    }
    return shown.length;
  }

  row(name) {
    const row = document.createElement("tr");
    const head = row.appendChild(document.createElement("th"));
    head.scope = "row";
    const button = head.appendChild(document.createElement("button"));
    button.type = "button";
    button.textContent = name;
    button.setAttribute("aria-controls", "scope-plot");
    button.addEventListener("click", () => this.on.chosen(name));
    const doubt = head.appendChild(document.createElement("span"));
    doubt.className = "doubt";
    doubt.textContent = "differs from the kernel";
    row.appendChild(document.createElement("td")).append(spark());
    for (const { dataset } of this.heads.slice(1)) {
      const cell = row.appendChild(document.createElement("td"));
      cell.className = dataset.column;
    }
    return row;
  }
}

function fill(row, scope, chosen) {
  row.querySelector("button").setAttribute("aria-expanded", String(chosen));
  row.querySelector(".doubt").hidden = scope.consistent !== false;
  draw(row.querySelector("svg"), scope.history?.close_wait ?? []);
  for (const cell of row.querySelectorAll("td[class]")) {
    const found = value(scope, cell.className.split(" ")[0]);
    const text = count(found);
    if (cell.textContent !== text) cell.textContent = text;
    cell.classList.toggle("nothing", !found);
  }
}

/** A sparkline without points. */
function spark() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${SPARK.width} ${SPARK.height}`);
  svg.setAttribute("role", "img");
  svg.append(document.createElementNS(SVG, "path"));
  return svg;
}

/** Draws values from 0 to their highest, the newest at the right; null is a gap. */
function draw(svg, values) {
  const known = values.filter((one) => one !== null);
  const most = Math.max(1, ...known);
  const step = SPARK.width / Math.max(values.length - 1, 1);
  const y = (one) => SPARK.height - 1 - (one / most) * (SPARK.height - 2);
  let path = "";
  values.forEach((one, at) => {
    if (one === null) return;
    const first = at === 0 || values[at - 1] === null;
    path += `${first ? "M" : "L"}${(at * step).toFixed(1)} ${y(one).toFixed(1)}`;
  });
  svg.firstChild.setAttribute("d", path);
  svg.classList.toggle("flat", known.every((one) => one === 0));
  const words = known.length === 0 ? "not known yet" : `minimum ${count(Math.min(...known))}, maximum ${count(Math.max(...known))}`;
  svg.setAttribute("aria-label", `close_wait in the last 10 minutes: ${words}`);
}
