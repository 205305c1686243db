// Why sockets close, how long they are in CLOSE_WAIT, how full the queues of listeners are, and the ephemeral ports, from the status.

import { count, perSecond } from "./tables.js";
import { age } from "./health.js";
import { TextRows } from "./text-rows.js";

const MINUTE_MS = 60_000;
// The states whose ends are shown first: those of failed connects, and of connections that the owner still has to close.
const FIRST = ["syn_sent", "close_wait"];
const MEANINGS = {
  none: "the owner closed the socket while it connected",
  reset: "the peer reset the connection",
  refused: "the peer answered the SYN with a reset, or with ICMP “port unreachable”",
  timed_out: "the peer did not answer",
  unreachable: "no neighbour answered, or ICMP says that the destination cannot be reached",
  no_port: "no ephemeral port was free",
  destroyed: "another process closed the socket",
  other: "any other error",
};
const UNTRACED = "No program counts in the kernel, so causes, ages, and listeners are not known. “tcpstat check” shows which privileges are missing.";
const UNKNOWN = "The causes are not counted: the log gives the reason.";
const NOTHING = "No connect has failed since the start, and no connection has ended with an error.";

export class Details {
  constructor(causes, ages, listeners, ports) {
    this.sections = { causes, ages, listeners, ports };
    this.causes = new TextRows(causes.querySelector("tbody"), ["cause", "rate", "total"]);
    this.listeners = new TextRows(listeners.querySelector("tbody"), ["waiting", "limit", "fill", "half_open", "drops"], "fill");
    // The closed sockets of the last minute's statuses, oldest first.
    this.readings = [];
  }

  /** Takes a status of the stream. */
  add(status) {
    const { started_uptime_ms: run, uptime_ms: uptime, closed } = status;
    this.status = status;
    const newest = this.readings.at(-1);
    if (!closed || newest?.run !== run || newest.uptime >= uptime) this.readings = [];
    if (closed) this.readings.push({ run, uptime, closed });
    const oldest = this.readings.findIndex((reading) => reading.uptime >= uptime - MINUTE_MS);
    this.readings.splice(0, oldest);
  }

  /** Shows the last status: the causes of these families, and the ages, listeners, and ports of both. */
  draw(families) {
    if (!this.status) return;
    this.drawCauses(families);
    this.drawAges();
    this.drawListeners();
    this.drawPorts();
  }

  drawCauses(families) {
    const { tracer, closed } = this.status;
    const rows = closed ? ends(closed, families) : [];
    this.causes.show(rows.map(({ from, cause, total }) => {
      const now = this.rate(families, from, cause);
      return {
        key: `${from} ${cause}`,
        head: from,
        texts: { cause, rate: perSecond(now), total: count(total) },
        titles: { cause: MEANINGS[cause] ?? "" },
        nothing: { rate: !now },
      };
    }));
    say(this.sections.causes.querySelector(".note"), tracer ? (closed ? (rows.length > 0 ? "" : NOTHING) : UNKNOWN) : UNTRACED);
  }

  /** Closed sockets per second within the last minute; null before the second status. */
  rate(families, from, cause) {
    const [first, last] = [this.readings[0], this.readings.at(-1)];
    if (!first || first === last) return null;
    const more = times(last.closed, families, from, cause) - times(first.closed, families, from, cause);
    return (more * 1000) / (last.uptime - first.uptime);
  }

  drawAges() {
    const { close_wait_ages: ages } = this.status;
    this.sections.ages.hidden = !ages;
    if (!ages) return;
    const { oldest_ms: oldest, older_than: older } = ages;
    say(this.sections.ages.querySelector(".oldest"), oldest > 0 ? age(oldest) : "none");
    for (const cell of this.sections.ages.querySelectorAll("[data-age]")) {
      const sockets = older[cell.dataset.age] ?? 0;
      say(cell, count(sockets));
      cell.classList.toggle("nothing", sockets === 0);
    }
  }

  drawPorts() {
    const { ephemeral_ports: ports } = this.status;
    this.sections.ports.hidden = !ports;
    if (!ports) return;
    const { sockets, local_address: local, remote_address: remote, remote_port: port } = ports.fullest_destination;
    say(this.sections.ports.querySelector(".used"), count(sockets));
    say(this.sections.ports.querySelector(".count"), ports.count ? count(ports.count) : "–");
    const destination = this.sections.ports.querySelector(".destination");
    destination.hidden = !remote;
    if (remote) say(destination.querySelector("dd"), `${local} → ${endpoint(remote, port)}`);
  }

  drawListeners() {
    const { listeners } = this.status;
    this.sections.listeners.hidden = !listeners;
    if (!listeners) return;
    this.listeners.show(listeners.fullest.map(listener));
    const dropped = `${count(listeners.drops)} ${listeners.drops === 1 ? "packet" : "packets"} dropped since the start`;
    say(this.sections.listeners.querySelector(".summary"), `${count(listeners.fullest.length)} of ${count(listeners.count)} shown; ${dropped}`);
  }
}

/** Address and port. */
function endpoint(address, port) {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Failed connects, and ends with an error: states and causes with their total. */
function ends(closed, families) {
  const pairs = new Map();
  for (const family of families) {
    for (const [from, causes] of Object.entries(closed[family] ?? {})) {
      for (const cause of Object.keys(causes)) pairs.set(`${from} ${cause}`, { from, cause });
    }
  }
  // Without an error a connection ends in order, but a connect fails: its owner has given up.
  const shown = [...pairs.values()].filter(({ from, cause }) => cause !== "none" || from === "syn_sent");
  const place = ({ from }) => (FIRST.includes(from) ? FIRST.indexOf(from) : FIRST.length);
  const ranked = shown.map((pair) => ({ ...pair, total: times(closed, families, pair.from, pair.cause) }));
  return ranked.sort((one, other) => place(one) - place(other) || other.total - one.total);
}

function times(closed, families, from, cause) {
  return families.reduce((sum, family) => sum + (closed[family]?.[from]?.[cause] ?? 0), 0);
}

function listener({ address, port, queue_length, queue_limit, fullest_ratio: ratio, half_open, drops }) {
  const head = endpoint(address, port);
  return {
    key: head,
    head,
    texts: {
      waiting: count(queue_length),
      limit: count(queue_limit),
      fill: ratio >= 1 ? "full" : `${Math.floor(ratio * 100)} %`,
      half_open: count(half_open),
      drops: count(drops),
    },
    nothing: { waiting: queue_length === 0, fill: ratio === 0, half_open: half_open === 0, drops: drops === 0 },
    bar: Math.min(ratio, 1),
  };
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
