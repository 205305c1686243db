// The status in words.

import { count } from "./tables.js";

/** Shows how tcpstat counts, and whether its counts agree with the kernel. */
export function showStatus(status) {
  const { tracer, snapshot } = status;
  const running = age(status.uptime_ms - status.started_uptime_ms);
  document.getElementById("running").textContent = `, revision ${status.revision}, running for ${running}`;
  show("counted", tracer ? counted(tracer) : ["", "not in the kernel", "the numbers are those of the last snapshot"]);
  show("proof", tracer ? check(tracer) : ["", "none", "tcpstat check shows what the tracer needs"]);
  show("drift", tracer ? drift(tracer) : ["", "unknown", "without a tracer there are no counts to compare"]);
  show("snapshot", snapshot ? lastSnapshot(snapshot, status.snapshot_errors) : ["", "none yet", ""]);
}

function counted({ program, hooks, events_missed: missed, changes }) {
  const hooked = hooks.length > 0 ? ` with hooks on ${hooks.join(" and ")}` : "";
  const skipped = missed > 0 ? `; missed ${number(missed, "event")}` : "";
  const changed = changes > 0 ? `; switched programs ${number(changes, "time")}` : "";
  return ["good", "in the kernel", `by ${program}${hooked}${skipped}${changed}`];
}

function check({ consistent, agreed_ms_ago: agreed, sockstat_mismatches: mismatches }) {
  const when = agreed === null ? "no agreement yet" : `last agreement ${age(agreed)} ago`;
  const before = mismatches > 0 ? `; ${number(mismatches, "failed sockstat check")}` : "";
  if (consistent) return ["good", "agrees with the kernel", `${when}${before}`];
  return ["bad", "differs from the kernel", `${when}${before}`];
}

function drift({ drift, corrections }) {
  const corrected = corrections.reduce((sum, { sockets }) => sum + sockets, 0);
  const soFar = corrected > 0 ? `${number(corrected, "socket")} corrected so far` : "nothing corrected so far";
  if (drift.length === 0) return ["good", "none", `at the last exact snapshot; ${soFar}`];
  const sign = (sockets) => (sockets > 0 ? `+${count(sockets)}` : `−${count(-sockets)}`);
  const parts = drift.map(({ family, state, sockets }) => `${state} ${sign(sockets)} (${family})`);
  return ["bad", parts.join(", "), `counts minus snapshot; ${soFar}`];
}

function lastSnapshot({ source, ended_ms_ago: ended, took_ms: took, interval_ms: interval, sockets }, errors) {
  const lasted = took < 10 ? took.toFixed(1) : count(Math.round(took));
  const failed = errors > 0 ? `; ${number(errors, "row")} or snapshots failed` : "";
  const detail = `${number(sockets, "socket")} from ${source} in ${lasted} ms, every ${age(interval)}${failed}`;
  return [errors > 0 ? "bad" : "", `${age(ended)} ago`, detail];
}

/** A duration, in one unit or two. */
export function age(ms) {
  if (ms < 1000) return ms >= 100 ? `${(ms / 1000).toFixed(1)} s` : "0 s";
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

const number = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

function show(id, [tone, word, detail]) {
  const [strong, span] = document.getElementById(id).children;
  document.getElementById(id).className = tone;
  if (strong.textContent !== word) strong.textContent = word;
  if (span.textContent !== detail) span.textContent = detail;
}
