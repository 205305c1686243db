// The rows of a table whose keys come from the exporter: everything is shown as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

export class TextRows {
  /** `columns` are the classes of the cells after the head of a row; the cell `bar` has a bar beside its text. */
  constructor(body, columns, bar) {
    this.body = body;
    this.columns = columns;
    this.bar = bar;
    this.rows = new Map();
  }

  /** Shows these rows in this order. Each has a key, a head, texts by column, and perhaps titles by column, whether the
      text of a column is nothing, and the length of its bar from 0 to 1. */
  show(rows) {
    this.rows = new Map(rows.map(({ key }) => [key, this.rows.get(key) ?? this.row()]));
    rows.forEach((row) => fill(this.rows.get(row.key), row));
    const order = [...this.rows.values()];
    const same = order.length === this.body.children.length && order.every((row, at) => row === this.body.children[at]);
    if (!same) this.body.replaceChildren(...order);
  }

  row() {
    const row = document.createElement("tr");
    row.appendChild(document.createElement("th")).scope = "row";
    for (const column of this.columns) {
      const cell = row.appendChild(document.createElement("td"));
      cell.className = column;
      cell.appendChild(document.createElement("span"));
      if (column === this.bar) cell.append(bar());
    }
    return row;
  }
}

function fill(row, { head, texts, titles = {}, nothing = {}, bar: length }) {
  write(row.querySelector("th"), head);
  for (const [column, text] of Object.entries(texts)) {
    const cell = row.querySelector(`td.${column}`);
    write(cell.firstChild, text);
    cell.firstChild.title = titles[column] ?? "";
    cell.classList.toggle("nothing", nothing[column] === true);
  }
  const part = row.querySelector("svg .part");
  if (part) part.setAttribute("width", String(length * 100));
  row.classList.toggle("full", length === 1);
}

function bar() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "bar");
  svg.setAttribute("viewBox", "0 0 100 8");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, width] of [["whole", 100], ["part", 0]]) {
    const rect = svg.appendChild(document.createElementNS(SVG, "rect"));
    rect.setAttribute("class", name);
    rect.setAttribute("width", String(width));
    rect.setAttribute("height", "8");
  }
  return svg;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
