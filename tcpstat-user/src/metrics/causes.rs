//! Why sockets closed, and which connects were retried.

use std::fmt;

use tcpstat_ebpf::CLOSED;

use super::{names, series_writer::SeriesWriter};
use crate::{
    detailed::{DetailedTransitions, Outcome, cause_word},
    states::{Family, family_word, state_word},
};

impl SeriesWriter<'_> {
    /// Writes each state with each cause for which a socket closes in it, and each outcome, also at zero.
    pub(super) fn causes(&mut self, detailed: &DetailedTransitions) -> fmt::Result {
        self.family(names::CLOSED, |samples| {
            Family::ALL.into_iter().try_for_each(|family| {
                samples.share([("family", family_word(family))]);
                CLOSED.into_iter().try_for_each(|(from, cause)| {
                    let labels = [("from", state_word(from)), ("cause", cause_word(cause))];
                    samples.sample(labels, detailed.closed(family, from, cause))
                })
            })
        })?;
        self.family(names::CONNECTS_RETRIED, |samples| {
            Family::ALL.into_iter().try_for_each(|family| {
                samples.share([("family", family_word(family))]);
                Outcome::ALL.into_iter().try_for_each(|outcome| {
                    let labels = [("outcome", outcome.word())];
                    samples.sample(labels, detailed.connects_retried(family, outcome))
                })
            })
        })
    }
}
