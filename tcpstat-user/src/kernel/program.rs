//! The programs that count full sockets, and the order in which they are tried.

use std::{fs::File, io};

use aya::util::KernelVersion;

/// A BPF program that counts the transitions of full sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `tp_btf/inet_sock_set_state`
    TpBtf,
    /// `tracepoint/sock/inet_sock_set_state`
    Tracepoint,
}

impl Program {
    /// Its name in metrics and reports: `tp_btf` or `tracepoint`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// All programs; first the one that misses fewer events on the running kernel.
    ///
    /// Up to 6.18 that is `tp_btf`, which also costs less. Since 7.0 tracepoints can be preempted, and the
    /// recursion guard of `tp_btf` skips one event in a hundred under load. `tracepoint` still runs with
    /// preemption off, and misses none.
    #[must_use]
    pub fn in_order() -> [Self; 2] {
        match KernelVersion::current() {
            Ok(version) if version >= KernelVersion::new(7, 0, 0) => {
                [Self::Tracepoint, Self::TpBtf]
            }
            _ => [Self::TpBtf, Self::Tracepoint],
        }
    }

    /// Its name in the BPF object; `scoped`: while cgroups, ports or dwells are counted.
    pub(super) fn symbol(self, scoped: bool) -> &'static str {
        match (self, scoped) {
            (Self::TpBtf, false) => "tcpstat_tp_btf",
            (Self::TpBtf, true) => "tcpstat_tp_btf_scoped",
            (Self::Tracepoint, false) => "tcpstat_tracepoint",
            (Self::Tracepoint, true) => "tcpstat_tracepoint_scoped",
        }
    }
}

/// Opens what attaching to the classic tracepoint reads in tracefs.
///
/// # Errors
/// That of the place where tracefs is, or of the older place if it is not there.
pub(crate) fn read_tracefs() -> io::Result<()> {
    let id = |mount| File::open(format!("{mount}/events/sock/inet_sock_set_state/id")).map(drop);
    id("/sys/kernel/tracing").or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => id("/sys/kernel/debug/tracing"),
        _ => Err(error),
    })
}
