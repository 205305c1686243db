//! Why sockets closed, and which connects were retried.

use std::fmt;

use tcpstat_ebpf::{CLOSED, Cause};

use super::{at_zero, names, series_writer::SeriesWriter};
use crate::{
    detailed::{DetailedTransitions, Outcome, cause_word},
    states::{Family, State, family_word, state_word},
};

impl SeriesWriter<'_> {
    /// Writes each state with each cause for which a socket has closed in it, and each outcome. `none` is an end in order, so
    /// it is a detail where it is not the end of a connect. With details, all of them are written, also at zero.
    pub(super) fn causes(&mut self, detailed: &DetailedTransitions) -> fmt::Result {
        let details = self.details();
        self.family(names::CLOSED, |samples| {
            Family::ALL.into_iter().try_for_each(|family| {
                samples.share([("family", family_word(family))]);
                CLOSED.into_iter().try_for_each(|(from, cause)| {
                    let sockets = detailed.closed(family, from, cause);
                    if !(details || is_shown(from, cause, sockets)) {
                        return Ok(());
                    }
                    let labels = [("from", state_word(from)), ("cause", cause_word(cause))];
                    samples.sample(labels, sockets)
                })
            })
        })?;
        self.family(names::CONNECTS_RETRIED, |samples| {
            Family::ALL.into_iter().try_for_each(|family| {
                samples.share([("family", family_word(family))]);
                Outcome::ALL.into_iter().try_for_each(|outcome| {
                    let connects = detailed.connects_retried(family, outcome);
                    if !(details || connects != 0 || outcome == at_zero::RETRIED) {
                        return Ok(());
                    }
                    samples.sample([("outcome", outcome.word())], connects)
                })
            })
        })
    }
}

/// Whether a plain scrape has so many closed sockets.
fn is_shown(from: State, cause: Cause, sockets: u64) -> bool {
    let (connecting, at_zero) = at_zero::CLOSED;
    if from == connecting {
        sockets != 0 || at_zero.contains(&cause)
    } else {
        sockets != 0 && cause != Cause::None
    }
}
