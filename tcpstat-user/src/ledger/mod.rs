//! The ledger: how many sockets are in each state, from a base and the transitions since.
//!
//! Plain arithmetic: no I/O, no clock, no task. Time and the world come in as values.

pub mod audit;
pub mod family;
pub mod reconcile;
pub mod rewind;
pub mod rules;
pub mod sockstat_check;
pub mod sockstat_sample;

use crate::{
    snapshot::Tally,
    states::{Family, Hooks, Object, PerFamily, PerState, State},
    transitions::Transitions,
};

/// The model of one network namespace.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// What is counted beside full sockets.
    hooks: Hooks,
    /// Counted sockets at the moment when no transition had been counted; 0 for what is not counted.
    base: PerState<i64>,
    /// What is not counted, from the last snapshot.
    unseen: Unseen,
}

/// Sockets that are no `struct sock`, so that without hooks no transition tells of them.
#[derive(Clone, Copy, Debug, Default)]
struct Unseen {
    time_wait: PerFamily<u64>,
    fin_wait2_mini: PerFamily<u64>,
    requests: PerFamily<u64>,
    /// Transitions after which a mini-socket may have followed, until the snapshot.
    mini_births: PerFamily<u64>,
}

impl Ledger {
    /// The ledger of a namespace that held `sockets` when `at` had been counted; of those that are
    /// neither full nor told of by `hooks` it takes no notice.
    #[must_use]
    pub fn seeded(hooks: Hooks, at: &Transitions, sockets: &PerState<u64>) -> Self {
        let ledger = Self { hooks, base: PerState::default(), unseen: Unseen::default() };
        let drift = ledger.drift(at, sockets);
        Self { base: PerState::from_fn(|family, state| -drift[(family, state)]), ..ledger }
    }

    /// Takes over from a snapshot what transitions cannot tell; `at` had been counted by then.
    pub fn observe(&mut self, at: &Transitions, tally: &Tally) {
        self.unseen = Unseen {
            time_wait: tally.time_wait,
            fin_wait2_mini: tally.fin_wait2_mini,
            requests: tally.requests,
            mini_births: mini_births(at),
        };
    }

    /// Counted sockets by state when `now` has been counted; 0 for what is not counted.
    ///
    /// Below zero only while the counters are read under way or events have been lost.
    #[must_use]
    pub fn counted(&self, now: &Transitions) -> PerState<i64> {
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
    #[must_use]
    pub fn counts(&self, object: Object) -> bool {
        self.hooks.counts(object)
    }

    /// By how much the ledger is above a snapshot of `sockets` taken when `at` had been counted; 0 for
    /// what is not counted.
    #[must_use]
    pub fn drift(&self, at: &Transitions, sockets: &PerState<u64>) -> PerState<i64> {
        let counted = self.counted(at);
        PerState::from_fn(|family, state| {
            if self.counts(Object::in_state(state)) {
                counted[(family, state)].wrapping_sub(sockets[(family, state)].cast_signed())
            } else {
                0
            }
        })
    }

    /// Takes `drift` out.
    pub fn correct(&mut self, drift: &PerState<i64>) {
        self.base =
            PerState::from_fn(|family, state| self.base[(family, state)] - drift[(family, state)]);
    }

    /// The number of sockets that /proc/net/tcp would show in each state when `now` has been counted
    /// and the kernel has `tw` mini-sockets (sockstat).
    ///
    /// Without the hooks on them, the sum of TIME_WAIT and the mini-sockets in FIN_WAIT2 is `tw`; how
    /// it divides is as fresh as the last snapshot. So are the half-open requests in SYN_RECV.
    ///
    /// Sockets that change their family never show in the sum over both; nor in one family as far as it is
    /// known that `changed` of them have: see [`family`].
    #[must_use]
    pub fn connections(&self, now: &Transitions, tw: u64, changed: i64) -> PerState<u64> {
        let counted = family::settled(&self.counted(now), changed);
        let counted = |family, state| counted[(family, state)];
        let minis = self.divide(now, tw);
        PerState::from_fn(|family, state| {
            let fin_wait2_mini = self.unseen.fin_wait2_mini[family].min(minis[family]);
            match state {
                State::TimeWait if !self.hooks.timewait => minis[family] - fin_wait2_mini,
                State::FinWait2 => {
                    let mini = if self.hooks.timewait {
                        counted(family, State::FinWait2Mini)
                    } else {
                        fin_wait2_mini
                    };
                    counted(family, state) + mini
                }
                State::SynRecv => {
                    let requests = if self.hooks.requests {
                        counted(family, State::NewSynRecv)
                    } else {
                        self.unseen.requests[family]
                    };
                    counted(family, state) + requests
                }
                State::Close | State::FinWait2Mini | State::NewSynRecv => 0,
                _ => counted(family, state),
            }
        })
    }

    /// `tw` by family: in the proportion of the last snapshot and of what may have joined since.
    fn divide(&self, now: &Transitions, tw: u64) -> PerFamily<u64> {
        let born = mini_births(now);
        let weight = |family: Family| {
            self.unseen.time_wait[family]
                + self.unseen.fin_wait2_mini[family]
                + born[family].wrapping_sub(self.unseen.mini_births[family])
        };
        let ipv6 = u128::from(weight(Family::Ipv6));
        let both = u128::from(weight(Family::Ipv4)) + ipv6;
        // Rounded to the nearest; without any weight all of it is IPv4.
        let ipv6 = (u128::from(tw) * ipv6 + both / 2).checked_div(both).unwrap_or(0);
        // A part is never above the whole, so it fits.
        let ipv6 = u64::try_from(ipv6).map_or(tw, |ipv6| ipv6.min(tw));
        PerFamily([tw - ipv6, ipv6])
    }
}

/// Transitions by which a full socket ends and a mini-socket may begin: `tcp_time_wait` makes one
/// before `tcp_done`.
fn mini_births(transitions: &Transitions) -> PerFamily<u64> {
    PerFamily(Family::ALL.map(|family| {
        [State::FinWait1, State::FinWait2, State::Closing]
            .into_iter()
            .fold(0, |sum: u64, old| sum.wrapping_add(transitions.get(family, old, State::Close)))
    }))
}

#[cfg(test)]
mod tests;
