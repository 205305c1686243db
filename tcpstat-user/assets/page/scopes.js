// The section of scopes, which is hidden if none are counted: the table, and the plot of a chosen scope.

import { age } from "./health.js";
import { Plot } from "./plot.js";
import { ScopeTable, filtered, sorted } from "./scope-table.js";
import { count } from "./tables.js";

const INTERVAL_MS = 10_000;
const LINES = new Map([
  ["total", { state: "muted", dash: [2, 3] }],
  ["established", { state: "established", dash: [] }],
  ["close_wait", { state: "close_wait", dash: [] }],
]);
const KINDS = { netns: "network namespaces", cgroup: "cgroups", port: "local ports" };

export class Scopes {
  /** Reads the scopes every ten seconds while `wanted` returns true. `ticks` are the steps of the plot's axis. */
  constructor(section, figure, ticks, wanted) {
    this.section = section;
    this.figure = figure;
    this.own = document.getElementById("own");
    this.select = section.querySelector("select");
    this.filter = section.querySelector("input");
    this.said = section.querySelector("[role=status]");
    this.wanted = wanted;
    this.answer = { kinds: [] };
    this.sort = { column: "close_wait", descending: true };
    this.chosen = null;
    this.table = new ScopeTable(section.querySelector("table"), {
      sorted: (column) => this.sortBy(column),
      chosen: (name) => this.choose(name),
    });
    this.plot = new Plot(figure, LINES, { words: count, ticks });
    this.select.addEventListener("change", () => this.choose(null));
    this.filter.addEventListener("input", () => this.draw());
    const scale = figure.querySelector(".scale");
    scale.addEventListener("click", () => {
      const logarithmic = scale.getAttribute("aria-pressed") !== "true";
      scale.setAttribute("aria-pressed", String(logarithmic));
      this.plot.scale(logarithmic);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.plot.plot && this.plot.build());
    document.addEventListener("visibilitychange", () => this.load());
    setInterval(() => this.load(), INTERVAL_MS);
  }

  /** Reads the scopes now. If that fails, the page shows those that it has. */
  async load() {
    if (this.loading || !this.wanted()) return;
    this.loading = true;
    try {
      const answer = await fetch("api/v1/scopes");
      if (answer.ok) {
        this.answer = await answer.json();
        this.draw();
      }
    } catch {
      // The next attempt follows, and the page says that it reconnects.
    } finally {
      this.loading = false;
    }
  }

  sortBy(column) {
    const descending = column === this.sort.column ? !this.sort.descending : column !== "name";
    this.sort = { column, descending };
    this.draw();
  }

  /** Shows the plot of a scope; hides it if it is shown already, or with null. */
  choose(name) {
    this.chosen = name === this.chosen ? null : name;
    this.draw();
  }

  draw() {
    const { kinds } = this.answer;
    this.section.hidden = kinds.length === 0;
    this.own.hidden = !kinds.some(({ kind }) => kind === "netns");
    this.offer(kinds.map(({ kind }) => kind));
    const shown = kinds.find(({ kind }) => kind === this.select.value) ?? kinds[0];
    const scopes = shown?.scopes ?? [];
    const found = sorted(filtered(scopes, this.filter.value), this.sort);
    const chosen = scopes.find(({ name }) => name === this.chosen);
    const rows = this.table.show(found, this.sort, chosen?.name);
    if (shown) say(this.said, summary(shown, rows));
    this.drawPlot(chosen);
  }

  offer(kinds) {
    if (kinds.join() === [...this.select.options].map(({ value }) => value).join()) return;
    const before = this.select.value;
    this.select.replaceChildren(...kinds.map((kind) => new Option(KINDS[kind] ?? kind, kind)));
    if (kinds.includes(before)) this.select.value = before;
  }

  drawPlot(scope) {
    this.figure.hidden = !scope;
    if (!scope) return;
    say(this.figure.querySelector("h2"), `${scope.name}, last 10 minutes`);
    say(this.figure.querySelector(".details"), details(scope));
    if (!this.plot.plot) this.plot.scale(false);
    const { unix_ms: times } = this.answer.history;
    this.plot.show([times.map((ms) => ms / 1000), ...[...LINES.keys()].map((key) => scope.history[key])]);
    this.plot.describe();
  }
}

function summary({ scopes, hidden, overflow }, rows) {
  const parts = [`${count(rows)} of ${count(scopes.length)} shown`];
  if (hidden > 0) parts.push(`${count(hidden)} cannot be counted: the files of their processes cannot be read`);
  if (overflow > 0) parts.push(`${count(overflow)} found no room since the start and count in “other”`);
  return parts.join("; ");
}

/** What is known of a scope besides its numbers. */
function details({ netns, consistent, snapshot_ended_ms_ago: ended }) {
  const labels = Object.entries(netns ?? {}).filter(([, value]) => value !== "" && value !== null);
  const parts = labels.map(([label, value]) => `${label} ${value}`);
  if (consistent !== null) parts.push(consistent ? "agrees with the kernel" : "differs from the kernel");
  if (ended !== null) parts.push(`last snapshot ${age(ended)} ago`);
  return parts.join(" · ");
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
