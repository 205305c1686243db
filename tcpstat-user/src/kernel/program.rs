//! The ladder: which programs there are, and in which order they are tried.

use aya::util::KernelVersion;

/// A candidate of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `tp_btf/inet_sock_set_state`
    TpBtf,
    /// `tracepoint/sock/inet_sock_set_state`
    Tracepoint,
}

impl Program {
    /// The word for it in metrics and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// The programs in the order in which they lose least on the running kernel.
    ///
    /// Up to 6.18 that is `tp_btf`, the cheaper one. From 7.0 on tracepoints run preemptible and the
    /// recursion guard of `tp_btf` skips one event in a hundred under churn; the classic tracepoint
    /// still runs with preemption off and loses none.
    #[must_use]
    pub fn in_order() -> [Self; 2] {
        match KernelVersion::current() {
            Ok(version) if version >= KernelVersion::new(7, 0, 0) => {
                [Self::Tracepoint, Self::TpBtf]
            }
            _ => [Self::TpBtf, Self::Tracepoint],
        }
    }

    /// The program's name in the BPF object.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::TpBtf => "tcpstat_tp_btf",
            Self::Tracepoint => "tcpstat_tracepoint",
        }
    }
}
