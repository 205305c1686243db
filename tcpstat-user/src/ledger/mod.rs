//! The ledger: how many sockets are in each state, as a base plus the transitions since.
//!
//! Everything here is computation: no I/O, no clock, no thread. Time and the kernel's answers are parameters.
//!
//! - `rules`: how a transition changes the gauges.
//! - `rewind`: the sockets at the moment when a snapshot's event log opened.
//! - `sockstat_check`, `sockstat_sample`: the gauges compared with /proc/net/sockstat.
//! - `reconcile`: which difference between ledger and snapshot is certain.
//! - `scoped`: the gauges of scopes, so that their sum is that of the namespace.
//! - `audit`: combines them, and keeps the ledger right.

pub(crate) mod audit;
mod family;
pub(crate) mod reconcile;
pub mod rewind;
pub(crate) mod rules;
pub(crate) mod scoped;
mod sockstat_check;
pub(crate) mod sockstat_sample;

use crate::{
    snapshot::Tally,
    states::{Family, Hooks, Object, PerFamily, PerState, State},
    transitions::Transitions,
};

/// The model of one network namespace.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Which objects are counted besides full sockets.
    hooks: Hooks,
    /// Counted sockets before the first counted transition; 0 for objects that are not counted.
    base: PerState<i64>,
    /// The objects that are not counted, from the last snapshot.
    uncounted: Uncounted,
}

/// Mini-sockets and requests at the last snapshot. Without hooks no transition reports them.
#[derive(Clone, Copy, Debug, Default)]
struct Uncounted {
    time_wait: PerFamily<u64>,
    fin_wait2_mini: PerFamily<u64>,
    requests: PerFamily<u64>,
    /// Transitions before the snapshot that can create a mini-socket.
    mini_births: PerFamily<u64>,
}

impl Ledger {
    /// The ledger of a namespace that had `sockets` when the counters were `at`. It ignores mini-sockets and
    /// requests that no hook of `hooks` counts.
    #[must_use]
    pub fn seeded(hooks: Hooks, at: &Transitions, sockets: &PerState<u64>) -> Self {
        let ledger = Self { hooks, base: PerState::default(), uncounted: Uncounted::default() };
        let drift = ledger.drift(at, sockets);
        Self { base: PerState::from_fn(|family, state| -drift[(family, state)]), ..ledger }
    }

    /// Lets the ledger be evaluated with other counters, which are `to` when those before are `from`. No gauge changes.
    pub(crate) fn transfer(&mut self, from: &Transitions, to: &Transitions) {
        let counted = self.counted(from);
        let change = rules::net_change(to);
        self.base = PerState::from_fn(|family, state| {
            if self.counts(Object::in_state(state)) {
                counted[(family, state)].wrapping_sub(change[(family, state)])
            } else {
                0
            }
        });
        let (from, to) = (mini_births(from), mini_births(to));
        let births = &mut self.uncounted.mini_births;
        *births = PerFamily(
            Family::ALL
                .map(|family| births[family].wrapping_sub(from[family]).wrapping_add(to[family])),
        );
    }

    /// Stores the objects that are not counted, from a snapshot that ended when the counters were `at`.
    pub(crate) fn observe(&mut self, at: &Transitions, tally: &Tally) {
        self.uncounted = Uncounted {
            time_wait: tally.time_wait,
            fin_wait2_mini: tally.fin_wait2_mini,
            requests: tally.requests,
            mini_births: mini_births(at),
        };
    }

    /// Counted sockets by state when the counters are `now`; 0 for objects that are not counted.
    ///
    /// A value is below zero only if the counters were read during a transition, or if events were lost.
    pub(crate) fn counted(&self, now: &Transitions) -> PerState<i64> {
        let change = rules::net_change(now);
        PerState::from_fn(|family, state| {
            if self.counts(Object::in_state(state)) {
                self.base[(family, state)].wrapping_add(change[(family, state)])
            } else {
                0
            }
        })
    }

    /// Whether such objects are counted.
    pub(crate) fn counts(&self, object: Object) -> bool {
        self.hooks.counts(object)
    }

    /// Ledger minus `sockets`, which were in a snapshot when the counters were `at`; 0 for objects that are
    /// not counted.
    pub(crate) fn drift(&self, at: &Transitions, sockets: &PerState<u64>) -> PerState<i64> {
        let counted = self.counted(at);
        PerState::from_fn(|family, state| {
            if self.counts(Object::in_state(state)) {
                counted[(family, state)].wrapping_sub(sockets[(family, state)].cast_signed())
            } else {
                0
            }
        })
    }

    /// Removes `drift` from the base.
    pub(crate) fn correct(&mut self, drift: &PerState<i64>) {
        self.base =
            PerState::from_fn(|family, state| self.base[(family, state)] - drift[(family, state)]);
    }

    /// The sockets that /proc/net/tcp would show in each state when the counters are `now`, and sockstat
    /// counts `tw` mini-sockets. `changed` sockets have changed their family since the ledger was right.
    ///
    /// Without the timewait hooks, TIME_WAIT and the mini-sockets in FIN_WAIT2 add up to `tw`, and the last
    /// snapshot gives their division. Without the request hooks, the half-open requests in SYN_RECV are
    /// those of the last snapshot.
    ///
    /// A socket that changes its family never affects the sum of both families.
    #[must_use]
    pub fn connections(&self, now: &Transitions, tw: u64, changed: i64) -> PerState<u64> {
        let counted = family::gauges(&self.counted(now), changed);
        let minis = self.minis_by_family(now, tw);
        PerState::from_fn(|family, state| {
            let counted = |state| counted[(family, state)];
            let fin_wait2_mini = self.uncounted.fin_wait2_mini[family].min(minis[family]);
            match state {
                State::TimeWait if !self.hooks.timewait => minis[family] - fin_wait2_mini,
                State::FinWait2 if self.hooks.timewait => {
                    counted(state) + counted(State::FinWait2Mini)
                }
                State::FinWait2 => counted(state) + fin_wait2_mini,
                State::SynRecv if self.hooks.requests => {
                    counted(state) + counted(State::NewSynRecv)
                }
                State::SynRecv => counted(state) + self.uncounted.requests[family],
                State::Close | State::FinWait2Mini | State::NewSynRecv => 0,
                _ => counted(state),
            }
        })
    }

    /// Forgets the requests of the last snapshot, because no later one can show their end.
    pub(crate) fn forget_requests(&mut self) {
        self.uncounted.requests = PerFamily::default();
    }

    /// The full sockets in each state when the counters are `now`: what [`Ledger::connections`] gives without
    /// mini-sockets and requests.
    pub(crate) fn full(&self, now: &Transitions, changed: i64) -> PerState<u64> {
        let gauges = family::gauges(&self.counted(now), changed);
        PerState::from_fn(|family, state| match Object::in_state(state) {
            Object::Full if state != State::Close => gauges[(family, state)],
            _ => 0,
        })
    }

    /// Divides `tw` by family, in proportion to the last snapshot and to the mini-sockets that may have
    /// joined since.
    fn minis_by_family(&self, now: &Transitions, tw: u64) -> PerFamily<u64> {
        let born = mini_births(now);
        let weight = |family: Family| {
            self.uncounted.time_wait[family]
                + self.uncounted.fin_wait2_mini[family]
                + born[family].wrapping_sub(self.uncounted.mini_births[family])
        };
        let ipv6 = u128::from(weight(Family::Ipv6));
        let both = u128::from(weight(Family::Ipv4)) + ipv6;
        // Rounded to the nearest; without any weight all mini-sockets are IPv4.
        let ipv6 = (u128::from(tw) * ipv6 + both / 2).checked_div(both).unwrap_or(0);
        // A part is never above the whole, so it fits.
        let ipv6 = u64::try_from(ipv6).map_or(tw, |ipv6| ipv6.min(tw));
        PerFamily([tw - ipv6, ipv6])
    }
}

/// Transitions that end a full socket and may have created a mini-socket: `tcp_time_wait` creates one
/// before it calls `tcp_done`.
fn mini_births(transitions: &Transitions) -> PerFamily<u64> {
    PerFamily(Family::ALL.map(|family| {
        [State::FinWait1, State::FinWait2, State::Closing]
            .into_iter()
            .fold(0, |sum: u64, old| sum.wrapping_add(transitions.get(family, old, State::Close)))
    }))
}

#[cfg(test)]
mod tests;
