//! The flow of sockets through the states, as `tcpstat_transitions_total` tells it, held against
//! what there really is. Written apart from the product's own ledger.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::exposition::Scrape;
use crate::proc_view::{self, Connections};
use crate::tcp::{Family, State};

/// How often sockets of a family have moved from one state to another.
pub type Moves = BTreeMap<(Family, State, State), u64>;

/// By how much something is above what it should be.
pub type Balance = BTreeMap<(Family, State), i64>;

/// What had been counted, and what there was, at a moment when no socket moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Counted since the start of the exporter.
    pub moves: Moves,
    /// The full sockets of `/proc`: no transition tells of mini-sockets.
    pub full: Connections,
}

impl Rest {
    /// Waits for such a moment.
    ///
    /// # Errors
    /// Fails when there is none within [`DEADLINE`].
    pub fn await_with(exporter: &mut Exporter) -> Result<Self> {
        let mut before = Self::look(exporter)?;
        wait_until("rest of the sockets", DEADLINE, || {
            let now = Self::look(exporter)?;
            if now == before {
                return Ok(Progress::Done(now));
            }
            before = now;
            Ok(Progress::NotYet(format!("{:?}", before.full)))
        })
    }

    fn look(exporter: &mut Exporter) -> Result<Self> {
        let moves = moves(&exporter.scrape()?)?;
        let mut full = proc_view::no_connections();
        for row in proc_view::rows()?.into_iter().filter(|row| row.full) {
            *full.entry((row.family, row.state)).or_default() += 1;
        }
        Ok(Self { moves, full })
    }

    /// How many moves were counted since `earlier`.
    #[must_use]
    pub fn counted_since(&self, earlier: &Self) -> u64 {
        let total = |moves: &Moves| moves.values().sum::<u64>();
        total(&self.moves) - total(&earlier.moves)
    }

    /// For every family and state, by how much what was there at `earlier` and what has come and gone
    /// since is above what is there now. All zero when every move was counted.
    #[must_use]
    pub fn imbalance_since(&self, earlier: &Self) -> Balance {
        let mut balance = Balance::new();
        for (key, was) in &earlier.full {
            let is = self.full.get(key).copied().unwrap_or_default();
            balance.insert(*key, was.cast_signed() - is.cast_signed());
        }
        for (&(family, from, to), count) in &self.moves {
            let before = earlier.moves.get(&(family, from, to)).copied().unwrap_or_default();
            let count = (count - before).cast_signed();
            // A child is born with its listener's state; what is in CLOSE is in no table.
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

/// The fewest moves that must have been lost to leave that imbalance: a lost move leaves the state
/// it came from one too high, and the one it went to one too low.
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
/// Fails for labels or values that are none of a move, and where there is no sample.
pub fn moves(scrape: &Scrape) -> Result<Moves> {
    let samples = scrape.family("tcpstat_transitions_total");
    anyhow::ensure!(!samples.is_empty(), "no tcpstat_transitions_total");
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
            let key = key.with_context(|| format!("no move: {sample:?}"))?;
            let count = sample.count().with_context(|| format!("no count: {sample:?}"))?;
            Ok((key, count))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Close, CloseWait, Established, Listen, SynRecv, SynSent};

    const V4: Family = Family::Ipv4;

    fn rest(moves: &[(State, State, u64)], full: &[(State, u64)]) -> Rest {
        let mut all = proc_view::no_connections();
        all.extend(full.iter().map(|(state, count)| ((V4, *state), *count)));
        let moves = moves.iter().map(|(from, to, count)| ((V4, *from, *to), *count)).collect();
        Rest { moves, full: all }
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
    fn a_flow_that_is_whole_is_balanced() {
        let after = rest(&TEN_CONNECTIONS, &[(Listen, 1), (Established, 4)]);
        assert_eq!(lost(&after), (0, Balance::new()));
        assert_eq!(after.counted_since(&rest(&[], &[])), 56);
    }

    #[test]
    fn a_lost_move_is_one_too_many_where_it_left_and_one_too_few_where_it_arrived() {
        let mut moves = TEN_CONNECTIONS;
        moves[1].2 -= 1;
        let after = rest(&moves, &[(Listen, 1), (Established, 4)]);
        let expected = Balance::from([((V4, SynSent), 1), ((V4, Established), -1)]);
        assert_eq!(lost(&after), (1, expected));
    }

    #[test]
    fn a_lost_birth_and_a_lost_death_are_one_loss_each() {
        let mut moves = TEN_CONNECTIONS;
        moves[2].2 -= 1;
        let after = rest(&moves, &[(Listen, 1), (Established, 4)]);
        assert_eq!(lost(&after), (1, Balance::from([((V4, SynRecv), -1)])));
        let mut moves = TEN_CONNECTIONS;
        moves[4].2 -= 3;
        let after = rest(&moves, &[(Listen, 1), (Established, 4)]);
        assert_eq!(lost(&after), (3, Balance::from([((V4, Established), 3)])));
    }

    #[test]
    fn what_is_there_and_was_never_told_of_is_a_loss() {
        let after = rest(&TEN_CONNECTIONS, &[(Listen, 1), (Established, 4), (CloseWait, 2)]);
        assert_eq!(lost(&after).0, 2);
    }
}
