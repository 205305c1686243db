// The samples of the last ten minutes, and what the page computes from them.

export const SPAN_MS = 10 * 60 * 1000;

const PEAK_MS = 60 * 1000;

// A longer time between two samples is a gap in the plots.
const GAP_MS = 2500;

export class Series {
  constructor() {
    this.samples = [];
    // Wall clock minus uptime, by the newest sample.
    this.offset = 0;
  }

  /** Adds the history. Older samples of the same boot stay: they belong to an earlier run. */
  load(history) {
    const { unix_ms, uptime_ms, connections, transitions } = history;
    if (unix_ms.length === 0) return;
    const offset = unix_ms.at(-1) - uptime_ms.at(-1);
    const sameBoot = Math.abs(offset - this.offset) < 2000;
    const earlier = this.samples.filter((sample) => sameBoot && sample.uptime < uptime_ms[0]);
    const loaded = uptime_ms.map((uptime, index) => ({
      uptime,
      connections: pick(connections, index),
      transitions: transitions && pick(transitions, index),
    }));
    // Its counts cannot be compared with those of an earlier run.
    loaded[0].first = true;
    const newer = this.samples.filter((sample) => sameBoot && sample.uptime > uptime_ms.at(-1));
    this.samples = [...earlier, ...loaded, ...newer];
    this.offset = offset;
    this.trim();
  }

  /** Adds a sample of the stream. */
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

  /** Transitions per second between the last two samples; null if they are not known. */
  rate(families, transition) {
    return rate(this.samples.at(-2), this.samples.at(-1), families, transition);
  }

  /** The highest number of sockets in a state within the last minute. */
  peak(families, state) {
    const oldest = this.newest().uptime - PEAK_MS;
    const lastMinute = this.samples.filter((sample) => sample.uptime > oldest);
    return Math.max(...lastMinute.map((sample) => sockets(sample, families, state)));
  }

  /** Times in seconds and one column of values for each key, in the form that uPlot needs: null is a gap. A
      column without a value above 0 has only gaps. */
  columns(keys, value) {
    const times = [];
    const columns = keys.map(() => []);
    const hasValues = keys.map(() => false);
    let before;
    for (const sample of this.samples) {
      if (before && (sample.first || sample.uptime - before.uptime > GAP_MS)) {
        times.push((before.uptime + this.offset + 1) / 1000);
        columns.forEach((column) => column.push(null));
      }
      times.push(this.time(sample));
      keys.forEach((key, index) => {
        const found = value(key, before, sample);
        hasValues[index] ||= found > 0;
        columns[index].push(found);
      });
      before = sample;
    }
    const gaps = times.map(() => null);
    return [times, ...columns.map((column, index) => (hasValues[index] ? column : gaps))];
  }
}

/** Sockets in a state at a sample. */
export function sockets(sample, families, state) {
  return families.reduce((sum, family) => sum + sample.connections[family][state], 0);
}

/** Transitions since the tracer's start at a sample; null without a tracer. */
export function total(sample, families, transition) {
  if (!sample?.transitions) return null;
  const [from, to] = transition.split(" ");
  const counts = families.map((family) => sample.transitions[family]?.[from]?.[to] ?? 0);
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Transitions per second between two samples; null if they are not known. */
export function rate(earlier, later, families, transition) {
  const before = total(earlier, families, transition);
  const after = total(later, families, transition);
  if (before === null || after === null || later.first || after < before) return null;
  return ((after - before) * 1000) / (later.uptime - earlier.uptime);
}

// The same tree, with the value at `index` of each array in place of the array.
function pick(tree, index) {
  if (Array.isArray(tree)) return tree[index];
  return Object.fromEntries(Object.entries(tree).map(([key, below]) => [key, pick(below, index)]));
}
