//! Decides which namespace has the next turn, for a check or for a snapshot. No I/O and no clock: times
//! are parameters.
//!
//! - The own namespace goes first. Its intervals are the only bound on its turns.
//! - All others share one budget: at most 1 % of one CPU in the long run. For a short time their snapshots may
//!   take a tenth, and their seeds, which are their first snapshots, all of it.
//! - The others go in the order in which they are due, so none waits without end. One of them takes at most
//!   half of the budget. Only the seed of the scope that many namespaces share goes before all others.
//! - Checks of others cause no wake-up: they follow a check of the own namespace, within a part of the budget.
//!   So the more namespaces there are, the less often each is checked.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::budget::Budget;

/// All other namespaces together take at most this fraction of the time: 1 / `SHARE`.
const SHARE: u32 = 100;
/// Time that the others save at most. 200 namespaces are seeded with it at the start if no walk shows their sockets.
const SAVINGS: Duration = Duration::from_secs(10);
/// Snapshots other than seeds take at most this fraction of the time, even while there are savings: 1 /
/// `SNAPSHOT_SHARE`.
const SNAPSHOT_SHARE: u32 = 10;
/// The snapshots of one namespace take at most this fraction of the budget: 1 / `SHARE_OF_ONE`.
const SHARE_OF_ONE: u32 = 2;
/// How long after a seed that failed the next attempt is due.
const SEED_RETRY: Duration = Duration::from_secs(1);
/// The failing seeds of one namespace take at most this fraction of the time: 1 / `SEED_RETRY_SHARE`.
const SEED_RETRY_SHARE: u32 = 10;
/// Checks take at most this fraction of the time: 1 / `CHECK_SHARE`.
const CHECK_SHARE: u32 = 1000;
/// Time for checks that is saved at most: about 200 checks.
const CHECK_SAVINGS: Duration = Duration::from_millis(10);
/// A check may be so much early, because it follows one of the own namespace, which does not wait for it.
const CHECK_EARLY: Duration = Duration::from_millis(100);

/// The number of a namespace in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NamespaceId(u64);

impl NamespaceId {
    /// The exporter's own namespace, or the one it was told to count.
    pub(super) const OWN: Self = Self(0);

    /// The number; that of the own namespace is 0.
    pub(super) const fn number(self) -> u64 {
        self.0
    }

    /// Another namespace; `number` is not 0.
    pub(super) const fn other(number: u64) -> Self {
        Self(number)
    }
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// A check of the own namespace; then of those that [`Schedule::check_beside`] gives.
    Check,
    /// A snapshot of this namespace.
    Snapshot(NamespaceId),
}

/// How long after a turn of a namespace the next one is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intervals {
    /// `None` if there is nothing to check.
    pub(super) check: Option<Duration>,
    pub(super) snapshot: Duration,
}

/// When each namespace is due, and what the others may cost.
#[derive(Debug)]
pub(super) struct Schedule {
    own: Due,
    others: BTreeMap<NamespaceId, Other>,
    /// For everything that the others take.
    all: Budget,
    /// For their snapshots other than seeds, in a short time.
    snapshots: Budget,
    checks: Budget,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    check: Option<Instant>,
    snapshot: Instant,
}

impl Due {
    fn after(now: Instant, intervals: Intervals) -> Self {
        let check = intervals.check.map(|interval| now + interval);
        Self { check, snapshot: now + intervals.snapshot }
    }
}

#[derive(Clone, Copy, Debug)]
struct Other {
    due: Due,
    /// When another snapshot of this namespace fits its part of the budget.
    affordable_at: Instant,
    /// Whether it has no seed yet: its next turn is its seed.
    new: bool,
    /// Whether its seed goes before the turns of all others.
    seed_first: bool,
}

impl Other {
    /// Since when, or from when on, a snapshot is waited for.
    fn waits_from(&self) -> Instant {
        self.due.snapshot.max(self.affordable_at)
    }
}

impl Schedule {
    /// The schedule of the own namespace, which had its seed just now.
    pub(super) fn new(own: Intervals, now: Instant) -> Self {
        Self {
            own: Due::after(now, own),
            others: BTreeMap::new(),
            all: Budget::new(SHARE, SAVINGS, now),
            snapshots: Budget::new(SNAPSHOT_SHARE, Duration::ZERO, now),
            checks: Budget::new(CHECK_SHARE, CHECK_SAVINGS, now),
        }
    }

    /// Adds another namespace, whose seed is due now. It is checked after its first turn.
    pub(super) fn add(&mut self, id: NamespaceId, now: Instant) {
        self.insert(id, now, false);
    }

    /// As [`Self::add`], and its seed goes before the turns of all others. One that waits for its seed is only due now.
    pub(super) fn add_first(&mut self, id: NamespaceId, now: Instant) {
        match self.others.get(&id) {
            Some(other) if other.new => self.hurry(id, now),
            _ => self.insert(id, now, true),
        }
    }

    fn insert(&mut self, id: NamespaceId, now: Instant, seed_first: bool) {
        let due = Due { check: None, snapshot: now };
        self.others.insert(id, Other { due, affordable_at: now, new: true, seed_first });
    }

    /// Removes another namespace. What its turns took remains spent.
    pub(super) fn remove(&mut self, id: NamespaceId) {
        self.others.remove(&id);
    }

    /// When [`Self::turn`] gives a turn: now, or later.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let own = self.own.check.map_or(self.own.snapshot, |check| check.min(self.own.snapshot));
        let due = self.next_other(now).map_or(own, |(_, other)| own.min(other));
        due.max(now)
    }

    /// The turn that is due now, if there is one.
    pub(super) fn turn(&self, now: Instant) -> Option<Turn> {
        if self.own.snapshot <= now {
            return Some(Turn::Snapshot(NamespaceId::OWN));
        }
        if self.own.check.is_some_and(|check| check <= now) {
            return Some(Turn::Check);
        }
        let (id, at) = self.next_other(now)?;
        (at <= now).then_some(Turn::Snapshot(id))
    }

    /// Another namespace to check, after the own one was checked. `None` if no check is due, or if the budget
    /// is spent.
    pub(super) fn check_beside(&self, now: Instant) -> Option<NamespaceId> {
        if self.checks.open_at(now) > now {
            return None;
        }
        let checks = self.others.iter().filter_map(|(&id, other)| Some((other.due.check?, id)));
        checks.filter(|&(due, _)| due <= now + CHECK_EARLY).min().map(|(_, id)| id)
    }

    /// Notes a check that ended now. `took` is CPU time.
    pub(super) fn checked(
        &mut self,
        id: NamespaceId,
        now: Instant,
        took: Duration,
        interval: Option<Duration>,
    ) {
        let next = interval.map(|interval| now + interval);
        if id == NamespaceId::OWN {
            self.own.check = next;
            return;
        }
        self.all.spend(now, took);
        self.checks.spend(now, took);
        if let Some(other) = self.others.get_mut(&id) {
            other.due.check = next;
        }
    }

    /// Lets the next snapshot of another namespace be due now, because a check has failed.
    pub(super) fn hurry(&mut self, id: NamespaceId, now: Instant) {
        if let Some(Other { due, .. }) = self.others.get_mut(&id) {
            due.snapshot = due.snapshot.min(now);
        }
    }

    /// Notes the turn of a namespace, which ended now. `took` is CPU time.
    pub(super) fn snapshot_taken(
        &mut self,
        id: NamespaceId,
        now: Instant,
        took: Duration,
        intervals: Intervals,
    ) {
        let due = Due::after(now, intervals);
        if id == NamespaceId::OWN {
            // Else snapshots more frequent than checks would postpone these, and those of the others, without end.
            let check = due.check.map(|next| self.own.check.map_or(next, |check| check.min(next)));
            self.own = Due { check, ..due };
            return;
        }
        self.all.spend(now, took);
        self.snapshots.spend(now, took);
        if let Some(other) = self.others.get_mut(&id) {
            let affordable_at = now + took * SHARE * SHARE_OF_ONE;
            *other = Other { due, affordable_at, new: false, ..*other };
        }
    }

    /// Notes that the gauges of another namespace were right just now, without a turn: the next one is due after the
    /// intervals.
    pub(super) fn confirmed(&mut self, id: NamespaceId, now: Instant, intervals: Intervals) {
        if let Some(other) = self.others.get_mut(&id) {
            *other = Other { due: Due::after(now, intervals), new: false, ..*other };
        }
    }

    /// Notes CPU time that the others have taken without a turn.
    pub(super) fn spend(&mut self, now: Instant, took: Duration) {
        self.all.spend(now, took);
    }

    /// Notes that the seed of another namespace failed now. The next attempt is due soon. `took` is CPU time.
    pub(super) fn seed_failed(&mut self, id: NamespaceId, now: Instant, took: Duration) {
        self.all.spend(now, took);
        if let Some(other) = self.others.get_mut(&id) {
            other.due.snapshot = now + SEED_RETRY;
            other.affordable_at = now + took * SEED_RETRY_SHARE;
        }
    }

    /// The other namespace that has the next snapshot, and when. Of several that may have it now, one whose seed goes
    /// first, else the one that waits longest.
    fn next_other(&self, now: Instant) -> Option<(NamespaceId, Instant)> {
        let seeds_open_at = self.all.open_at(now);
        let open_at = seeds_open_at.max(self.snapshots.open_at(now));
        let next = self.others.iter().map(|(&id, other)| {
            let waits_from = other.waits_from();
            let open_at = if other.new { seeds_open_at } else { open_at };
            (waits_from.max(open_at), !(other.new && other.seed_first), waits_from, id)
        });
        next.min().map(|(at, .., id)| (id, at))
    }
}

#[cfg(test)]
mod run;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
