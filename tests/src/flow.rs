//! The flow of sockets through the states: `tcpstat_transitions_total` compared with the sockets that exist.
//! Independent of the product's ledger.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use crate::corrections::{ensure_counted, missed};
use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::exposition::Scrape;
use crate::proc_view::{self, Connections};
use crate::tcp::{Family, State};

/// How many transitions the sockets of a family have made from one state to another.
pub type Transitions = BTreeMap<(Family, State, State), u64>;

/// By how much the number of sockets is too high (or, negative, too low).
pub type Balance = BTreeMap<(Family, State), i64>;

/// The counters and the sockets at a moment when no socket changed its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    /// Counted since the start of the exporter.
    pub transitions: Transitions,
    /// The full sockets in `/proc`: transitions of mini-sockets are not exported.
    pub full: Connections,
    /// Events that the kernel has reported as missed since the start of the exporter.
    pub missed: f64,
}

impl Rest {
    /// Waits for such a moment.
    ///
    /// # Errors
    /// Fails if there is none within [`DEADLINE`].
    pub fn await_with(exporter: &mut Exporter) -> Result<Self> {
        let mut before = Self::read(exporter)?;
        wait_until("rest of the sockets", DEADLINE, || {
            let now = Self::read(exporter)?;
            if now == before {
                return Ok(Progress::Done(now));
            }
            before = now;
            Ok(Progress::NotYet(format!("{:?}", before.full)))
        })
    }

    fn read(exporter: &mut Exporter) -> Result<Self> {
        let scrape = exporter.scrape()?;
        let transitions = transitions(&scrape)?;
        let missed = missed(&scrape)?;
        let mut full = proc_view::no_connections();
        for row in proc_view::rows()?.into_iter().filter(|row| row.full) {
            *full.entry((row.family, row.state)).or_default() += 1;
        }
        Ok(Self { transitions, full, missed })
    }

    /// How many transitions were counted since `earlier`.
    #[must_use]
    pub fn counted_since(&self, earlier: &Self) -> u64 {
        let total = |transitions: &Transitions| transitions.values().sum::<u64>();
        total(&self.transitions) - total(&earlier.transitions)
    }

    /// Fails unless all `made` transitions were counted since `earlier`, except for events that the exporter reports as
    /// missed.
    ///
    /// # Errors
    /// As [`ensure_counted`].
    pub fn ensure_counted_since(
        &self,
        exporter: &mut Exporter,
        earlier: &Self,
        made: u64,
    ) -> Result<()> {
        let counted = f64::from(u32::try_from(self.counted_since(earlier))?);
        ensure_counted(exporter, counted, made, earlier.missed)
    }

    /// For every family and state: the sockets at `earlier`, plus those that entered and minus those that
    /// left since, minus the sockets now. All zero if every transition was counted.
    #[must_use]
    pub fn imbalance_since(&self, earlier: &Self) -> Balance {
        let mut balance = Balance::new();
        for (key, was) in &earlier.full {
            let is = self.full.get(key).copied().unwrap_or_default();
            balance.insert(*key, was.cast_signed() - is.cast_signed());
        }
        for (&(family, from, to), count) in &self.transitions {
            let before = earlier.transitions.get(&(family, from, to)).copied().unwrap_or_default();
            let count = (count - before).cast_signed();
            // A child starts in its listener's state; a socket in CLOSE is in no table.
            let born = from == State::Close || (from, to) == (State::Listen, State::SynRecv);
            if !born {
                *balance.entry((family, from)).or_default() -= count;
            }
            if to != State::Close {
                *balance.entry((family, to)).or_default() += count;
            }
        }
        balance
    }
}

/// The smallest number of lost transitions that explains an imbalance: a lost transition leaves the old state
/// one too high, and the new state one too low.
#[must_use]
pub fn lost_at_least(imbalance: &Balance) -> u64 {
    let of = |family: Family| {
        let states = imbalance.iter().filter(move |((of, _), _)| *of == family);
        let (mut above, mut below) = (0, 0);
        for (_, difference) in states {
            let side = if *difference > 0 { &mut above } else { &mut below };
            *side += difference.unsigned_abs();
        }
        above.max(below)
    };
    Family::ALL.into_iter().map(of).sum()
}

/// The samples of `tcpstat_transitions_total`.
///
/// # Errors
/// Fails if a label or a value is invalid, and if there is no sample.
pub fn transitions(scrape: &Scrape) -> Result<Transitions> {
    let samples = scrape.family("tcpstat_transitions_total");
    ensure!(!samples.is_empty(), "no tcpstat_transitions_total");
    samples
        .into_iter()
        .map(|sample| {
            let label = |name: &str| sample.labels.get(name).map(String::as_str);
            let state = |name| label(name).and_then(State::from_word);
            let key = label("family")
                .and_then(Family::from_word)
                .zip(state("from"))
                .zip(state("to"))
                .map(|((family, from), to)| (family, from, to));
            let key = key.with_context(|| format!("not a transition: {sample:?}"))?;
            let count = sample.count().with_context(|| format!("not a count: {sample:?}"))?;
            Ok((key, count))
        })
        .collect()
}

/// Fails unless `after` has every counter of `before`, with the same or a greater value: a counter never
/// falls, not even by a correction, a new seed, or another program.
///
/// # Errors
/// Names the first counter that is smaller or missing.
pub fn assert_grown(before: &Transitions, after: &Transitions) -> Result<()> {
    for (key, earlier) in before {
        let now = after.get(key);
        ensure!(now.is_some_and(|now| now >= earlier), "{key:?}: {now:?} after {earlier}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Close, CloseWait, Established, Listen, SynRecv, SynSent};

    const V4: Family = Family::Ipv4;

    fn rest(transitions: &[(State, State, u64)], full: &[(State, u64)]) -> Rest {
        let mut all = proc_view::no_connections();
        all.extend(full.iter().map(|(state, count)| ((V4, *state), *count)));
        let transitions = transitions.iter().map(|(from, to, count)| ((V4, *from, *to), *count));
        Rest { transitions: transitions.collect(), full: all, missed: 0.0 }
    }

    const TEN_CONNECTIONS: [(State, State, u64); 5] = [
        (Close, SynSent, 10),
        (SynSent, Established, 10),
        (Listen, SynRecv, 10),
        (SynRecv, Established, 10),
        (Established, Close, 16),
    ];

    fn lost(after: &Rest) -> (u64, Balance) {
        let mut imbalance = after.imbalance_since(&rest(&[], &[(Listen, 1)]));
        imbalance.retain(|_, difference| *difference != 0);
        (lost_at_least(&imbalance), imbalance)
    }

    #[test]
    fn a_complete_flow_is_balanced() {
        let after = rest(&TEN_CONNECTIONS, &[(Listen, 1), (Established, 4)]);
        assert_eq!(lost(&after), (0, Balance::new()));
        assert_eq!(after.counted_since(&rest(&[], &[])), 56);
    }

    #[test]
    fn a_lost_transition_is_one_too_many_in_the_old_state_and_one_too_few_in_the_new() {
        let mut transitions = TEN_CONNECTIONS;
        transitions[1].2 -= 1;
        let after = rest(&transitions, &[(Listen, 1), (Established, 4)]);
        let expected = Balance::from([((V4, SynSent), 1), ((V4, Established), -1)]);
        assert_eq!(lost(&after), (1, expected));
    }

    #[test]
    fn a_lost_birth_and_a_lost_death_are_one_loss_each() {
        let mut transitions = TEN_CONNECTIONS;
        transitions[2].2 -= 1;
        let after = rest(&transitions, &[(Listen, 1), (Established, 4)]);
        assert_eq!(lost(&after), (1, Balance::from([((V4, SynRecv), -1)])));
        let mut transitions = TEN_CONNECTIONS;
        transitions[4].2 -= 3;
        let after = rest(&transitions, &[(Listen, 1), (Established, 4)]);
        assert_eq!(lost(&after), (3, Balance::from([((V4, Established), 3)])));
    }

    #[test]
    fn sockets_that_exist_without_a_transition_are_a_loss() {
        let after = rest(&TEN_CONNECTIONS, &[(Listen, 1), (Established, 4), (CloseWait, 2)]);
        assert_eq!(lost(&after).0, 2);
    }

    #[test]
    fn a_counter_that_falls_or_disappears_is_found() {
        let before = rest(&TEN_CONNECTIONS, &[]).transitions;
        assert!(assert_grown(&before, &before).is_ok());
        let mut fallen = before.clone();
        *fallen.get_mut(&(V4, Close, SynSent)).unwrap() -= 1;
        assert!(assert_grown(&before, &fallen).is_err());
        fallen.remove(&(V4, Close, SynSent));
        assert!(assert_grown(&before, &fallen).is_err());
    }
}
