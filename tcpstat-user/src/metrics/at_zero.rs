//! The counters that a plain scrape has before they have counted anything.
//!
//! All others appear with their first event. `rate()` and `increase()` see how a counter grows, and not that it appears:
//! for those that the rules name, the first event must count. A sum over nothing is empty, too, and not 0.

use tcpstat_ebpf::Cause;

use crate::{detailed::Outcome, states::State};

/// The transitions that a rule names.
pub(super) const TRANSITIONS: [(State, State); 4] = [
    (State::Close, State::SynSent),
    (State::Listen, State::SynRecv),
    (State::SynSent, State::Established),
    (State::SynSent, State::Close),
];

/// The state and the causes of the closed sockets that a rule names.
pub(super) const CLOSED: (State, [Cause; 5]) = (
    State::SynSent,
    [Cause::Refused, Cause::TimedOut, Cause::Unreachable, Cause::NoPort, Cause::Other],
);

/// The outcome of retried connects that a rule names.
pub(super) const RETRIED: Outcome = Outcome::Failed;
