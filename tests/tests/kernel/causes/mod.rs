//! Why sockets close: each cause is made for real, from each state in which it can end a socket, over each kind of
//! address, with both programs.

mod connects;
mod ends;

use anyhow::{Context, Result};
use tcpstat_tests::causes::{Causes, assert_counted};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::held::{Addressing, Held};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::states::{self, Hold};
use tcpstat_tests::tcp::State;
use tcpstat_tests::wire::Wire;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = connects::tests();
    for case @ Case { end_name, cause, .. } in CASES {
        for tracer in TRACERS {
            tests.push(kernel_test(
                format!("{end_name}_counts_as_{cause}_with_{tracer}"),
                move |namespace| case.run(namespace, tracer),
            ));
        }
    }
    tests
}

const TRACERS: [&str; 2] = ["btf", "tracepoint"];

/// A state in which a socket ends, and how it is held there.
#[derive(Clone, Copy)]
struct From {
    state: State,
    hold: Hold,
    /// Whether a listener has closed when it is held.
    listener: bool,
}

const fn from(state: State, hold: Hold) -> From {
    From { state, hold, listener: false }
}

const SYN_SENT: From = from(State::SynSent, states::syn_sent);
const SYN_RECV: From = from(State::SynRecv, states::simultaneous_open);
const ESTABLISHED: From = from(State::Established, states::established);
const ACCEPTED: From = From { listener: true, ..from(State::Established, states::accepted) };
const FIN_WAIT1: From = from(State::FinWait1, states::fin_wait1);
const FIN_WAIT2: From = from(State::FinWait2, states::fin_wait2);
const CLOSE_WAIT: From = from(State::CloseWait, states::close_wait);
const LAST_ACK: From = from(State::LastAck, states::last_ack);
const CLOSING: From = from(State::Closing, states::closing);
const LISTEN: From = from(State::Listen, states::listen);

/// All states of a connection but SYN_SENT.
const CONNECTED: &[From] =
    &[SYN_RECV, ESTABLISHED, ACCEPTED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING];

/// Those with something that the other end has not acknowledged, or with room to send.
const UNACKNOWLEDGED: &[From] = &[ESTABLISHED, ACCEPTED, FIN_WAIT1, CLOSE_WAIT, LAST_ACK, CLOSING];

/// A way in which sockets end.
#[derive(Clone, Copy)]
struct Case {
    end_name: &'static str,
    cause: &'static str,
    from: &'static [From],
    /// Settings of the namespace.
    prepare: fn(&Namespace) -> Result<()>,
    /// Ends the socket, at once or soon.
    end: fn(&mut Held) -> Result<()>,
    /// Whether each connect sends its SYN again before.
    retries: bool,
}

const fn case(
    end_name: &'static str,
    cause: &'static str,
    from: &'static [From],
    end: fn(&mut Held) -> Result<()>,
) -> Case {
    Case { end_name, cause, from, prepare: |_| Ok(()), end, retries: false }
}

const CASES: [Case; 14] = [
    case("a_reset", "reset", CONNECTED, ends::reset),
    case("a_reset_of_a_syn", "refused", &[SYN_SENT], ends::reset),
    Case {
        retries: true,
        ..case("a_reset_of_a_second_syn", "refused", &[SYN_SENT], ends::reset_later)
    },
    case("a_user_timeout", "timed_out", UNACKNOWLEDGED, ends::user_timeout),
    Case {
        retries: true,
        ..case("a_user_timeout_of_a_connect", "timed_out", &[SYN_SENT], ends::user_timeout)
    },
    case(
        "a_keepalive_timeout",
        "timed_out",
        &[ESTABLISHED, ACCEPTED, FIN_WAIT2, CLOSE_WAIT],
        ends::keepalive,
    ),
    Case {
        prepare: |namespace| namespace.set_sysctl("net.ipv4.tcp_retries2", 1),
        ..case("a_retransmission_timeout", "timed_out", UNACKNOWLEDGED, ends::unanswered)
    },
    Case {
        prepare: one_retry,
        retries: true,
        ..case("the_last_retry_of_a_connect", "timed_out", &[SYN_SENT], ends::unanswered)
    },
    case("ss_kill", "destroyed", CONNECTED, ends::destroy),
    case("ss_kill_of_a_connect", "destroyed", &[SYN_SENT], ends::destroy),
    case("a_close_with_linger_0", "none", CONNECTED, ends::linger),
    case("a_close_with_unread_data", "none", &[ESTABLISHED, ACCEPTED], ends::close_unread),
    case("a_close_before_the_connection", "none", &[SYN_SENT, LISTEN], ends::close),
    case("the_last_segment", "none", &[FIN_WAIT2, LAST_ACK, CLOSING], ends::last_segment),
];

/// A connect sends its SYN twice. Since 6.5 the kernel sends four more at first.
fn one_retry(namespace: &Namespace) -> Result<()> {
    namespace.set_sysctl("net.ipv4.tcp_syn_retries", 1)?;
    let more = "net.ipv4.tcp_syn_linear_timeouts";
    if namespace.sysctl(more).is_ok() { namespace.set_sysctl(more, 0) } else { Ok(()) }
}

impl Case {
    fn run(self, namespace: &Namespace, tracer: &str) -> Result<()> {
        let wire = Wire::open(namespace)?;
        (self.prepare)(namespace)?;
        // Snapshots open the event log, whose events have cells of their own.
        let flags = [&FREQUENT_SNAPSHOTS[..], &["--tracer", tracer]].concat();
        let mut exporter = Exporter::start(&flags)?;
        assert_counted(&mut exporter, &self.expected(), |_| self.end_all(&wire))
    }

    fn expected(self) -> Causes {
        let mut expected = Causes::default();
        for From { state, listener, .. } in self.from {
            for family in Addressing::ALL.map(Addressing::family) {
                let mut closed = |from: State, cause: &str| {
                    *expected.closed.entry((family, from, cause.to_owned())).or_default() += 1;
                };
                closed(*state, self.cause);
                if *listener {
                    closed(State::Listen, "none");
                }
                if self.retries {
                    *expected.retried.entry((family, "failed".to_owned())).or_default() += 1;
                }
            }
        }
        expected
    }

    /// Makes a socket in each state over each kind of address, and waits until all have ended.
    fn end_all(self, wire: &Wire) -> Result<Vec<Held>> {
        let mut all = Vec::new();
        for From { state, hold, .. } in self.from {
            for addressing in Addressing::ALL {
                let what = || format!("{state} over {addressing:?}");
                let mut held = hold(wire, addressing).with_context(what)?;
                (self.end)(&mut held).with_context(what)?;
                all.push(held);
            }
        }
        for held in &all {
            // A mini-socket can follow the full one.
            held.await_row("end of the socket", |row| row.is_none_or(|row| !row.full))?;
        }
        Ok(all)
    }
}
