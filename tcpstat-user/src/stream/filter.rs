//! Which transitions the programs write.

use std::ops::RangeInclusive;

use tcpstat_ebpf::{Cause, StreamTransitions};

use super::{Prefix, STATES};
use crate::{
    states::{State, state_word},
    transitions::TRANSITIONS,
};

/// What the programs compare. A transition has to pass all parts that are on.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) transitions: StreamTransitions,
    /// The inode number of the only network namespace; `None` for all.
    pub(crate) netns: Option<u32>,
    /// The causes of closes, and no other transitions; empty for all transitions.
    pub(crate) causes: Vec<Cause>,
    /// Ports of which the local or the remote one is; empty for all. The same for the next two.
    pub(crate) ports: Vec<Port>,
    pub(crate) local_ports: Vec<Port>,
    pub(crate) remote_ports: Vec<Port>,
    /// Prefixes of which the local or the remote address has one; empty for all.
    pub(crate) addresses: Vec<Prefix>,
    /// Whether cgroups have verdicts.
    pub(crate) by_cgroup: bool,
}

/// One port or several.
pub(crate) type Port = RangeInclusive<u16>;

/// The states before and after a transition; `None` for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatePair(pub(crate) Option<State>, pub(crate) Option<State>);

/// Why no transition of TIME_WAIT is shown.
pub(crate) const NO_TIME_WAIT: &str = "the kernel reports no transition into or out of time_wait: the full socket closes when the \
                                       mini-socket begins, so use --transition fin_wait2:close,closing:close";

/// What stands for any state.
const ANY: &str = "*";

impl Default for Filter {
    /// All transitions.
    fn default() -> Self {
        Self {
            transitions: every_transition(),
            netns: None,
            causes: Vec::new(),
            ports: Vec::new(),
            local_ports: Vec::new(),
            remote_ports: Vec::new(),
            addresses: Vec::new(),
            by_cgroup: false,
        }
    }
}

impl Filter {
    /// Keeps the transitions from or to one of these states, and those of one of these pairs. An empty list keeps all.
    pub(crate) fn keep(&mut self, states: &[State], pairs: &[StatePair]) {
        for old in STATES {
            for new in STATES {
                let of_state =
                    states.is_empty() || states.iter().any(|state| [old, new].contains(state));
                let of_pair = pairs.is_empty()
                    || pairs.iter().any(|StatePair(from, to)| {
                        from.is_none_or(|from| from == old) && to.is_none_or(|to| to == new)
                    });
                if !(of_state && of_pair) {
                    self.transitions[usize::from(old.number())] &= !(1 << new.number());
                }
            }
        }
    }

    /// Whether no transition passes.
    pub(crate) fn is_contradiction(&self) -> bool {
        let close = 1 << State::Close.number();
        let wanted = if self.causes.is_empty() { u16::MAX } else { close };
        self.transitions.iter().all(|after| after & wanted == 0)
    }

    /// The bits of the causes, as the programs compare them.
    pub(crate) fn cause_bits(&self) -> u32 {
        self.causes.iter().fold(0, |bits, &cause| bits | 1 << cause as u32)
    }
}

/// From each state to each other one. What the kernel reports as a transition to the same state is not one.
fn every_transition() -> StreamTransitions {
    let mut transitions = [0; 16];
    for old in STATES {
        for new in STATES.into_iter().filter(|&new| new != old) {
            transitions[usize::from(old.number())] |= 1 << new.number();
        }
    }
    transitions
}

impl StatePair {
    /// Parses `FROM:TO`, where [`ANY`] stands for any state.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let state = |word: &str| {
            if word == ANY {
                return Some(None);
            }
            let is_named = |state: &State| state_word(*state).eq_ignore_ascii_case(word);
            STATES.into_iter().find(is_named).map(Some)
        };
        let pair = text.trim().split_once(':');
        let pair = pair.and_then(|(from, to)| Some(Self(state(from)?, state(to)?)));
        match pair {
            Some(Self(Some(from), Some(to))) if from == to => {
                Err("the two states are the same".to_owned())
            }
            Some(Self(Some(from), Some(to))) if !TRANSITIONS.contains(&(from, to)) => {
                let made = TRANSITIONS.iter().filter(|(old, new)| *old == from || *new == to);
                let made =
                    made.map(|(old, new)| format!("{}:{}", state_word(*old), state_word(*new)));
                Err(format!(
                    "TCP never makes this transition; from and to these states it makes {}",
                    made.collect::<Vec<_>>().join(", ")
                ))
            }
            Some(pair) => Ok(pair),
            None if text.to_ascii_lowercase().contains(state_word(State::TimeWait)) => {
                Err(NO_TIME_WAIT.to_owned())
            }
            None => Err(format!(
                "write it like established:close, or {ANY}:close_wait for any state before; the states are {}",
                STATES.map(state_word).join(", ")
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(filter: &Filter, old: State, new: State) -> bool {
        filter.transitions[usize::from(old.number())] & 1 << new.number() != 0
    }

    #[test]
    fn each_filter_of_states_narrows_the_transitions() {
        let mut filter = Filter::default();
        assert_eq!(filter.transitions.iter().map(|bits| bits.count_ones()).sum::<u32>(), 90);
        assert!(!passes(&filter, State::FinWait1, State::FinWait1));
        filter.keep(&[State::CloseWait, State::LastAck], &[]);
        assert!(passes(&filter, State::Established, State::CloseWait));
        assert!(passes(&filter, State::LastAck, State::Close));
        assert!(!passes(&filter, State::Established, State::Close));
        filter.keep(&[], &[StatePair::parse("*:close").unwrap()]);
        assert!(passes(&filter, State::LastAck, State::Close));
        assert!(!passes(&filter, State::CloseWait, State::LastAck));
        assert!(!filter.is_contradiction());
        filter.keep(&[State::Listen], &[]);
        assert!(filter.is_contradiction());
    }

    #[test]
    fn causes_are_those_of_closes() {
        let mut filter = Filter { causes: vec![Cause::Reset, Cause::NoPort], ..Filter::default() };
        assert_eq!(filter.cause_bits(), 0b10_0010);
        assert!(!filter.is_contradiction());
        filter.keep(&[], &[StatePair::parse("syn_sent:established").unwrap()]);
        assert!(filter.is_contradiction());
    }

    #[test]
    fn a_pair_of_states_is_parsed_or_refused_with_the_states_that_there_are() {
        let pair = StatePair(Some(State::Established), Some(State::Close));
        assert_eq!(StatePair::parse("established:close"), Ok(pair));
        assert_eq!(StatePair::parse("*:*"), Ok(StatePair(None, None)));
        for text in ["", "close", "close:", "a:b", "established:close:listen"] {
            assert!(StatePair::parse(text).unwrap_err().contains("close_wait, last_ack"), "{text}");
        }
        assert!(StatePair::parse("close:close").is_err());
        for text in ["time_wait:close", "fin_wait2:TIME_WAIT", "*:time_wait"] {
            assert_eq!(StatePair::parse(text), Err(NO_TIME_WAIT.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_transition_that_tcp_never_makes_is_refused_with_those_that_it_makes() {
        for (old, new) in TRANSITIONS {
            let text = format!("{}:{}", state_word(old), state_word(new));
            assert_eq!(StatePair::parse(&text), Ok(StatePair(Some(old), Some(new))), "{text}");
        }
        let error = StatePair::parse("established:listen").unwrap_err();
        for made in ["established:close_wait", "established:close", "close:listen"] {
            assert!(error.contains(made), "{made}: {error}");
        }
        assert!(!error.contains("last_ack"), "{error}");
    }
}
