// The samples of the last ten minutes, and what the page computes from them.

export const SPAN_MS = 10 * 60 * 1000;

// A longer time without a sample is a gap in the plots.
const GAP_MS = 2500;

export class Series {
  constructor() {
    this.samples = [];
    // The epoch minus the host's uptime, as the clock stands now.
    this.offset = 0;
  }

  /** Takes in the history. What is older than it, of the same boot, stays: an earlier run's. */
  load(history) {
    const { unix_ms, uptime_ms, connections, transitions } = history;
    if (unix_ms.length === 0) return;
    const offset = unix_ms.at(-1) - uptime_ms.at(-1);
    const sameBoot = Math.abs(offset - this.offset) < 2000;
    const earlier = this.samples.filter((sample) => sameBoot && sample.uptime < uptime_ms[0]);
    const loaded = uptime_ms.map((uptime, place) => ({
      uptime,
      connections: pick(connections, place),
      transitions: transitions && pick(transitions, place),
    }));
    // Its counts are not to be compared with those before.
    loaded[0].first = true;
    const newer = this.samples.filter((sample) => sameBoot && sample.uptime > uptime_ms.at(-1));
    this.samples = [...earlier, ...loaded, ...newer];
    this.offset = offset;
    this.trim();
  }

  /** Takes in a sample of the stream. */
  add({ unix_ms, uptime_ms, connections, transitions }) {
    const newest = this.newest();
    if (newest && uptime_ms < newest.uptime) this.samples = [];
    if (newest && uptime_ms === newest.uptime) return;
    this.offset = unix_ms - uptime_ms;
    this.samples.push({ uptime: uptime_ms, connections, transitions });
    this.trim();
  }

  trim() {
    const oldest = this.newest().uptime - SPAN_MS;
    const kept = this.samples.findIndex((sample) => sample.uptime > oldest);
    this.samples.splice(0, kept);
  }

  newest() {
    return this.samples.at(-1);
  }

  /** When a sample was taken, in seconds since the epoch. */
  time(sample) {
    return (sample.uptime + this.offset) / 1000;
  }

  /** Transitions a second between the last two samples; null where they are not known. */
  rate(families, move) {
    return rate(this.samples.at(-2), this.samples.at(-1), families, move);
  }

  /** Times in seconds and one column of values for each key, as uPlot takes them: null is a gap, and so
      is a column without anything. */
  columns(keys, value) {
    const times = [];
    const columns = keys.map(() => []);
    const something = keys.map(() => false);
    let before;
    for (const sample of this.samples) {
      if (before && (sample.first || sample.uptime - before.uptime > GAP_MS)) {
        times.push((before.uptime + this.offset + 1) / 1000);
        columns.forEach((column) => column.push(null));
      }
      times.push(this.time(sample));
      keys.forEach((key, place) => {
        const found = value(key, before, sample);
        something[place] ||= found > 0;
        columns[place].push(found);
      });
      before = sample;
    }
    const nothing = times.map(() => null);
    return [times, ...columns.map((column, place) => (something[place] ? column : nothing))];
  }
}

/** Sockets in a state at a sample. */
export function sockets(sample, families, state) {
  return families.reduce((sum, family) => sum + sample.connections[family][state], 0);
}

/** Transitions since the tracer's start at a sample; null without one. */
export function total(sample, families, move) {
  if (!sample?.transitions) return null;
  const [from, to] = move.split(" ");
  const counts = families.map((family) => sample.transitions[family]?.[from]?.[to] ?? 0);
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Transitions a second between two samples; null where they are not known. */
export function rate(earlier, later, families, move) {
  const before = total(earlier, families, move);
  const after = total(later, families, move);
  if (before === null || after === null || later.first || after < before) return null;
  return ((after - before) * 1000) / (later.uptime - earlier.uptime);
}

// The same tree with the value at `place` in place of each array.
function pick(tree, place) {
  if (Array.isArray(tree)) return tree[place];
  return Object.fromEntries(Object.entries(tree).map(([key, below]) => [key, pick(below, place)]));
}
