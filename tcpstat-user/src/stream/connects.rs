//! The processes of connects that have not ended.

use std::collections::HashMap;

use super::{Process, Transition};
use crate::states::State;

/// Most connects whose process is kept: 1.5 MiB.
const MAX_CONNECTS: usize = 32_768;

/// Remembers which process a socket in SYN_SENT connects for. A refusal, a timeout, and an answer come in a softirq, which has
/// no process.
#[derive(Debug, Default)]
pub(crate) struct Connects {
    /// By the socket's kernel address.
    pending: HashMap<u64, Process, foldhash::fast::RandomState>,
}

impl Connects {
    /// The process of the connect that this transition ends, if it has no process itself, and the connect was seen. All
    /// transitions must come here, in their order. With more than 32,768 connects at a time those of some are not known.
    pub(crate) fn process(&mut self, transition: &Transition) -> Option<Process> {
        if transition.new == State::SynSent {
            // The end of another connect at this address may have been filtered out.
            self.pending.remove(&transition.skaddr);
            if let Some(process) = transition.process {
                if self.pending.len() >= MAX_CONNECTS {
                    self.pending.clear();
                }
                self.pending.insert(transition.skaddr, process);
            }
            return None;
        }
        if transition.old != State::SynSent {
            return None;
        }
        let process = self.pending.remove(&transition.skaddr);
        process.filter(|_| transition.process.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::RECORD;

    const ADDRESS: u64 = 0xffff_8880_1234_5678;

    /// A transition of a softirq.
    fn transition(skaddr: u64, old: State, new: State) -> Transition {
        let transition = Transition::of(&RECORD).unwrap();
        Transition { skaddr, old, new, process: None, ..transition }
    }

    fn connect(skaddr: u64) -> Transition {
        let process = Transition::of(&RECORD).unwrap().process;
        Transition { process, ..transition(skaddr, State::Close, State::SynSent) }
    }

    #[test]
    fn the_end_of_a_connect_has_its_process_once() {
        let mut connects = Connects::default();
        assert_eq!(connects.process(&connect(ADDRESS)), None);
        let failed = transition(ADDRESS, State::SynSent, State::Close);
        assert_eq!(connects.process(&transition(ADDRESS + 64, State::SynSent, State::Close)), None);
        assert_eq!(connects.process(&failed).map(|process| process.pid), Some(7));
        assert_eq!(connects.process(&failed), None);
        assert!(connects.pending.is_empty());
    }

    #[test]
    fn a_transition_with_a_process_or_of_a_connect_that_was_not_seen_has_none() {
        let mut connects = Connects::default();
        connects.process(&connect(ADDRESS));
        let given_up = transition(ADDRESS, State::SynSent, State::Close);
        let given_up = Transition { process: connect(ADDRESS).process, ..given_up };
        assert_eq!(connects.process(&given_up), None);
        connects.process(&connect(ADDRESS));
        // Its process was not read.
        connects.process(&transition(ADDRESS, State::Close, State::SynSent));
        assert_eq!(connects.process(&transition(ADDRESS, State::SynSent, State::Close)), None);
    }

    #[test]
    fn there_are_never_more_than_the_bound() {
        let mut connects = Connects::default();
        for number in 0..=MAX_CONNECTS as u64 {
            connects.process(&connect(number * 64));
            assert!(connects.pending.len() <= MAX_CONNECTS);
        }
        assert_eq!(connects.pending.len(), 1);
    }
}
