//! Causes, ages, listeners, and ephemeral ports: what the view of details shows. All texts are safe to show on a terminal.

use std::{cmp::Reverse, collections::VecDeque, time::Duration};

use tcpstat_ebpf::Cause;

use crate::{
    ages::OLDER_THAN,
    api::{AgesJson, ClosedCounts, EphemeralPortsJson, ListenerJson, ListenersJson},
    states::{Family, State},
    text::{self, plain},
};

/// The period over which the rate of a cause is computed.
const RATE_PERIOD_MS: u64 = 60_000;

/// Time between two counts that are kept.
const KEPT_MS: u64 = 1_000;

/// What is known at one moment. What is `None` is not counted, or not read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Details {
    /// The host's uptime, in milliseconds.
    pub(super) uptime_ms: u64,
    pub(super) closed: Option<Box<ClosedCounts>>,
    pub(super) ages: Option<Ages>,
    pub(super) listeners: Option<Listeners>,
    pub(super) ports: Option<Ports>,
}

/// The ephemeral ports to the destination that takes most of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) used: u64,
    /// How many there are.
    pub(super) count: Option<u64>,
    /// Such as `10.0.0.1 → 10.0.0.7:443`.
    pub(super) destination: Option<String>,
}

/// The ages of the sockets in CLOSE_WAIT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ages {
    /// Zero without a socket.
    pub(super) oldest: Duration,
    /// The word of each age, and the number of older sockets.
    pub(super) older_than: [(&'static str, u64); OLDER_THAN.len()],
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listeners {
    /// Addresses and ports that are counted each.
    pub(super) count: u64,
    /// Packets that all listeners dropped.
    pub(super) drops: u64,
    /// Fullest first.
    pub(super) fullest: Vec<ListenerRow>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ListenerRow {
    /// Address and port.
    pub(super) place: String,
    /// Connections that wait to be accepted.
    pub(super) waiting: u64,
    pub(super) limit: u64,
    /// 1 if the fullest queue is full.
    pub(super) fill: f64,
    pub(super) half_open: u64,
    pub(super) drops: u64,
}

/// Sockets that closed in a state for a reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClosedRow {
    pub(super) from: State,
    pub(super) cause: Cause,
    /// Within the last minute; `None` before the second count.
    pub(super) per_second: Option<f64>,
    pub(super) total: u64,
}

/// The counts of closed sockets of the last minute, oldest first, with their uptimes.
#[derive(Clone, Debug, Default)]
pub(super) struct RecentCounts(VecDeque<(u64, Box<ClosedCounts>)>);

impl Details {
    /// What is known of a network namespace other than the own one.
    pub(super) fn of_scope(ages: Option<&AgesJson>, listeners: Option<&ListenersJson>) -> Self {
        Self::new(0, None, ages, listeners, None)
    }

    pub(super) fn new(
        uptime_ms: u64,
        closed: Option<Box<ClosedCounts>>,
        ages: Option<&AgesJson>,
        listeners: Option<&ListenersJson>,
        ports: Option<&EphemeralPortsJson>,
    ) -> Self {
        let ages = ages.map(|ages| Ages {
            oldest: Duration::from_millis(ages.oldest_ms),
            older_than: ages.older_than(),
        });
        let (listeners, ports) = (listeners.map(Listeners::new), ports.map(Ports::new));
        Self { uptime_ms, closed, ages, listeners, ports }
    }
}

impl Ports {
    fn new(json: &EphemeralPortsJson) -> Self {
        let fullest = &json.fullest_destination;
        let local = fullest.local_address.as_deref().map(|local| plain(local, text::VALUE));
        let remote = fullest.remote_address.as_deref().zip(fullest.remote_port);
        let destination = local.zip(remote);
        Self {
            used: fullest.sockets,
            count: json.count,
            destination: destination
                .map(|(local, (remote, port))| format!("{local} → {}", endpoint(remote, port))),
        }
    }
}

impl Listeners {
    fn new(json: &ListenersJson) -> Self {
        let fullest = json.fullest.iter().map(ListenerRow::new).collect();
        Self { count: json.count, drops: json.drops, fullest }
    }
}

impl ListenerRow {
    fn new(json: &ListenerJson) -> Self {
        Self {
            place: endpoint(&json.address, json.port),
            waiting: json.queue_length,
            limit: json.queue_limit,
            fill: json.fullest_ratio,
            half_open: json.half_open,
            drops: json.drops,
        }
    }
}

/// Address and port, safe to show.
fn endpoint(address: &str, port: u16) -> String {
    let address = plain(address, text::VALUE);
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

impl RecentCounts {
    /// Adds the newest counts. Counts of another run replace all; those of a repeated status change nothing.
    pub(super) fn add(&mut self, uptime_ms: u64, counts: Box<ClosedCounts>) {
        if let Some((newest_ms, newest)) = self.0.back() {
            if uptime_ms < *newest_ms || falls(newest, &counts) {
                self.0.clear();
            } else if uptime_ms == *newest_ms {
                return;
            }
        }
        if let [.., (before_ms, _), (newest_ms, _)] = *self.0.make_contiguous()
            && newest_ms - before_ms < KEPT_MS
        {
            self.0.pop_back();
        }
        self.0.push_back((uptime_ms, counts));
        let oldest_kept = uptime_ms.saturating_sub(RATE_PERIOD_MS);
        while self.0.front().is_some_and(|(uptime_ms, _)| *uptime_ms < oldest_kept) {
            self.0.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Failed connects, then what ended with an error in CLOSE_WAIT, then in other states; the most frequent first.
    /// `None` if causes are not counted.
    pub(super) fn rows(&self, family: Option<Family>) -> Option<Vec<ClosedRow>> {
        let (newest_ms, newest) = self.0.back()?;
        let sum = |counts: [u64; Family::ALL.len()]| {
            let of = |one: Family| counts[one as usize];
            family.map_or_else(|| counts.iter().fold(0, |sum, count| count.saturating_add(sum)), of)
        };
        let (oldest_ms, oldest) = self.0.front()?;
        let mut rows: Vec<_> = newest
            .iter()
            .zip(oldest.iter())
            .map(|((from, cause, now), (.., before))| {
                let (total, before) = (sum(now), sum(before));
                let passed = newest_ms - oldest_ms;
                let per_second = (passed > 0).then(|| rate(total.saturating_sub(before), passed));
                ClosedRow { from, cause, per_second, total }
            })
            .filter(|row| row.total > 0 && is_shown(row))
            .collect();
        rows.sort_by_key(|row| (place(row.from), Reverse(row.total)));
        Some(rows)
    }
}

/// Without an error a connection ends in order, but a connect fails: its owner has given up.
fn is_shown(row: &ClosedRow) -> bool {
    row.cause != Cause::None || row.from == State::SynSent
}

fn place(from: State) -> u8 {
    match from {
        State::SynSent => 0,
        State::CloseWait => 1,
        _ => 2,
    }
}

fn falls(before: &ClosedCounts, now: &ClosedCounts) -> bool {
    let mut pairs = before.iter().zip(now.iter());
    pairs.any(|((.., before), (.., now))| before.iter().zip(now).any(|(before, now)| now < *before))
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn rate(events: u64, passed_ms: u64) -> f64 {
    events as f64 * 1e3 / passed_ms as f64
}

#[cfg(test)]
pub(super) mod tests;
