//! The rows of one network namespace, by number.

use tcpstat_ebpf::{OTHER_SLOT, OWN_SLOT};

/// Where the tracer counts the sockets of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Slot(u64);

impl Slot {
    /// The slot of this process' namespace.
    pub(crate) const OWN: Self = Self(OWN_SLOT);

    /// The slot of all namespaces that came when no slot was free.
    pub(crate) const OTHER: Self = Self(OTHER_SLOT);

    /// The slot with the number that a map has.
    pub(super) const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// Its number, as the programs and their maps have it.
    pub(super) const fn number(self) -> u64 {
        self.0
    }
}
