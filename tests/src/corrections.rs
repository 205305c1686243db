//! The corrections that an exporter told of in its log, and whether they can all have been true.

use anyhow::{Context, Result};

use crate::flow::Balance;
use crate::tcp::{Family, State};

/// What the log of an exporter at `--log.level=debug` says of its reconciles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciles {
    /// How many there were.
    pub count: u64,
    /// What was taken out of the gauges by each that corrected them, in their order.
    pub corrections: Vec<Balance>,
}

impl Reconciles {
    /// Reads the log: a reconcile is told first, then what it corrected, gauge by gauge.
    ///
    /// # Errors
    /// Fails for a correction without a family, a state or a drift, or without its reconcile.
    pub fn read(log: &str) -> Result<Self> {
        let mut reconciles = Self::default();
        let mut fresh = false;
        for line in log.lines() {
            if line.contains(": reconciled ") {
                reconciles.count += 1;
                fresh = true;
            } else if line.contains(": corrected: ") {
                let (key, drift) = corrected(line).with_context(|| line.to_owned())?;
                if std::mem::take(&mut fresh) {
                    reconciles.corrections.push(Balance::new());
                }
                let correction = reconciles.corrections.last_mut();
                correction.with_context(|| line.to_owned())?.insert(key, drift);
            }
        }
        Ok(reconciles)
    }

    /// The sum of all corrections, each gauge by itself.
    #[must_use]
    pub fn net(&self) -> Balance {
        let mut net = Balance::new();
        for (key, drift) in self.corrections.iter().flatten() {
            *net.entry(*key).or_default() += drift;
        }
        net.retain(|_, drift| *drift != 0);
        net
    }

    /// By how many sockets the gauges of that state were corrected, whichever way.
    #[must_use]
    pub fn sockets(&self, state: State) -> u64 {
        let drifts = self.corrections.iter().flatten();
        drifts.filter(|((_, of), _)| *of == state).map(|(_, drift)| drift.unsigned_abs()).sum()
    }

    /// A correction and a later one that takes back just that, if there are two such.
    ///
    /// One of them was false. That a gauge is corrected up and later down is no proof of it, for one
    /// event may be lost that raises the gauge, and later another that lowers it. But a lost event
    /// takes a socket out of one state and puts it into the next, and TCP leads from no state back to
    /// an earlier one but through CLOSE: what undoes a loss in every gauge, and does nothing else, is
    /// no other loss but a row of them, all of one life, that nothing makes likely.
    #[must_use]
    pub fn taken_back(&self) -> Option<(&Balance, &Balance)> {
        self.corrections.iter().enumerate().find_map(|(number, first)| {
            let opposite = |later: &&Balance| {
                later.len() == first.len()
                    && later.iter().all(|(key, drift)| first.get(key) == Some(&-drift))
            };
            Some((first, self.corrections[number..].iter().find(opposite)?))
        })
    }
}

fn corrected(line: &str) -> Result<((Family, State), i64)> {
    let field = |name: &str| {
        let (_, rest) = line.split_once(name).context(name.to_owned())?;
        anyhow::Ok(rest.split_whitespace().next().unwrap_or_default().trim_matches('"'))
    };
    let family = Family::from_word(field(" family=")?).context("an unknown family")?;
    let state = State::from_word(field(" state=")?).context("an unknown state")?;
    Ok(((family, state), field(" drift=")?.parse().context("drift")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::{Established, FinWait1, SynSent};

    const RECONCILED: &str =
        "2026Z DEBUG tcpstat_user::tracker::task: reconciled reason=Interval\n";

    fn corrected(state: State, drift: i64) -> String {
        format!(
            "2026Z  INFO tcpstat_user::tracker::task: corrected: the ledger had drifted \
             family=\"ipv4\" state=\"{state}\" drift={drift}\n"
        )
    }

    fn read(parts: &[String]) -> Reconciles {
        Reconciles::read(&parts.concat()).unwrap()
    }

    fn key(state: State) -> (Family, State) {
        (Family::Ipv4, state)
    }

    #[test]
    fn the_corrections_of_one_reconcile_belong_together() {
        let found = read(&[
            RECONCILED.to_owned(),
            RECONCILED.to_owned(),
            corrected(Established, 1),
            corrected(FinWait1, -1),
            RECONCILED.to_owned(),
            corrected(FinWait1, 1),
        ]);
        assert_eq!(found.count, 3);
        let first = Balance::from([(key(Established), 1), (key(FinWait1), -1)]);
        assert_eq!(found.corrections, [first, Balance::from([(key(FinWait1), 1)])]);
        assert_eq!(found.net(), Balance::from([(key(Established), 1)]));
        assert_eq!((found.sockets(Established), found.sockets(FinWait1)), (1, 2));
    }

    #[test]
    fn two_losses_in_the_life_of_sockets_are_not_taken_for_a_false_correction() {
        let found = read(&[
            RECONCILED.to_owned(),
            corrected(Established, 1),
            corrected(FinWait1, -1),
            RECONCILED.to_owned(),
            corrected(FinWait1, 1),
            RECONCILED.to_owned(),
            corrected(SynSent, 1),
            corrected(Established, -1),
        ]);
        assert_eq!(found.taken_back(), None);
    }

    #[test]
    fn a_correction_that_a_later_one_takes_back_is_found() {
        let found = read(&[
            RECONCILED.to_owned(),
            corrected(Established, 2),
            RECONCILED.to_owned(),
            corrected(SynSent, 1),
            RECONCILED.to_owned(),
            corrected(Established, -2),
        ]);
        let (first, later) = found.taken_back().unwrap();
        assert_eq!((first[&key(Established)], later[&key(Established)]), (2, -2));
    }

    #[test]
    fn a_correction_that_cannot_be_read_is_an_error() {
        let broken = corrected(Established, 1).replace("drift=1", "drift=one");
        assert!(Reconciles::read(&format!("{RECONCILED}{broken}")).is_err());
        assert!(Reconciles::read(&corrected(Established, 1)).is_err());
    }
}
