//! How a kernel is booted: as it is, and one of them also with less than it has.

use std::path::PathBuf;

use crate::matrix::kernel::Kernel;

/// A way to boot a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// As it is, with all tests.
    Usual,
    /// With no IPv6 at all, which no network namespace can be made to look like: no address family,
    /// no /proc/net/tcp6. Only the tests that are about that.
    WithoutIpv6,
    /// With one processor at first; the tests plug more in. Only the tests that do.
    LateProcessors,
}

/// A kernel that is ready to be booted.
pub(crate) struct Boot {
    pub(crate) kernel: Kernel,
    pub(crate) variant: Variant,
    pub(crate) initramfs: PathBuf,
}

impl Variant {
    /// What the kernel's command line has of it.
    pub(crate) fn arguments(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::WithoutIpv6 => "ipv6.disable=1",
            Self::LateProcessors => "tcpstat.monitor=ttyS1",
        }
    }

    /// QEMU's processors. Two take turns: with a thread for each, some kernels panic. Of the possible ones
    /// some never come.
    pub(crate) fn processors(self) -> &'static str {
        match self {
            Self::Usual | Self::WithoutIpv6 => "2,maxcpus=4",
            Self::LateProcessors => "1,maxcpus=4,sockets=4,cores=1,threads=1",
        }
    }

    /// Whether the guest may command QEMU: its monitor is at the other end of the second serial port.
    pub(crate) fn has_monitor(self) -> bool {
        self == Self::LateProcessors
    }

    /// The tests that run in it, if not all.
    pub(crate) fn filter(self) -> Option<&'static str> {
        match self {
            Self::Usual => None,
            Self::WithoutIpv6 => Some("with_ipv4_alone"),
            Self::LateProcessors => Some("a_processor_that_is_plugged_in_later"),
        }
    }

    /// What the report calls that kernel booted so.
    pub(crate) fn name_of(self, kernel: &Kernel) -> String {
        match self {
            Self::Usual => kernel.version().to_owned(),
            Self::WithoutIpv6 => format!("{} without IPv6", kernel.version()),
            Self::LateProcessors => format!("{} with late processors", kernel.version()),
        }
    }
}

impl Boot {
    /// What the report calls it.
    pub(crate) fn name(&self) -> String {
        self.variant.name_of(&self.kernel)
    }
}

/// All boots: each kernel as it is, the last one without IPv6, and the last one before 6.9 with processors
/// that come late (since 6.9 a processor that is not there at boot is not possible). Where
/// `filter` asks for certain tests, only the boots that may run them.
pub(crate) fn all<'a>(kernels: &'a [Kernel], filter: &[String]) -> Vec<(&'a Kernel, Variant)> {
    let usual = kernels.iter().map(|kernel| (kernel, Variant::Usual));
    let reduced = kernels.last().map(|kernel| (kernel, Variant::WithoutIpv6));
    let late = kernels.iter().rfind(|kernel| kernel.series() < (6, 9));
    let late = late.map(|kernel| (kernel, Variant::LateProcessors));
    let asked = |&(_, variant): &(&Kernel, Variant)| {
        let own = variant.filter().unwrap_or_default();
        filter.is_empty() || filter.iter().any(|word| own.contains(word.as_str()))
    };
    usual.chain(reduced.into_iter().chain(late).filter(asked)).collect()
}
