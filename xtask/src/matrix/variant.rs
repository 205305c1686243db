//! How a kernel is booted: as it is, and one of them also with less than it has.

use std::path::PathBuf;

use crate::matrix::kernel::Kernel;

/// A way to boot a kernel.
pub(crate) struct Variant {
    /// What the report appends to the version of a kernel booted so.
    suffix: &'static str,
    /// What the kernel's command line has of it.
    pub(crate) arguments: &'static str,
    /// QEMU's processors. Two take turns: with a thread for each, some kernels panic. Of the possible ones
    /// some never come.
    pub(crate) processors: &'static str,
    /// Whether the guest may command QEMU: its monitor is at the other end of the second serial port.
    pub(crate) has_monitor: bool,
    /// The tests that run in it, if not all.
    pub(crate) filter: Option<&'static str>,
}

const USUAL: Variant = Variant {
    suffix: "",
    arguments: "",
    processors: "2,maxcpus=4",
    has_monitor: false,
    filter: None,
};

/// With no IPv6 at all, which no network namespace can be made to look like: no address family, no
/// /proc/net/tcp6.
const WITHOUT_IPV6: Variant = Variant {
    suffix: " without IPv6",
    arguments: "ipv6.disable=1",
    filter: Some("with_only_ipv4"),
    ..USUAL
};

/// With one processor at first; the tests plug more in.
const LATE_PROCESSORS: Variant = Variant {
    suffix: " with late processors",
    arguments: "tcpstat.monitor=ttyS1",
    processors: "1,maxcpus=4,sockets=4,cores=1,threads=1",
    has_monitor: true,
    filter: Some("a_processor_that_is_plugged_in_later"),
};

/// A kernel that is ready to be booted.
pub(crate) struct Boot {
    pub(crate) name: String,
    pub(crate) kernel: Kernel,
    pub(crate) variant: Variant,
    pub(crate) initramfs: PathBuf,
}

impl Variant {
    /// What the report calls that kernel booted so.
    pub(crate) fn name_of(&self, kernel: &Kernel) -> String {
        format!("{}{}", kernel.version(), self.suffix)
    }
}

/// All boots: each kernel as it is, the last one without IPv6, and the last one before 6.9 with processors
/// that come late (since 6.9 a processor that is not there at boot is not possible). Where
/// `filter` asks for certain tests, only the boots that may run them.
pub(crate) fn all<'a>(kernels: &'a [Kernel], filter: &[String]) -> Vec<(&'a Kernel, Variant)> {
    let usual = kernels.iter().map(|kernel| (kernel, USUAL));
    let reduced = kernels.last().map(|kernel| (kernel, WITHOUT_IPV6));
    let late = kernels.iter().rfind(|kernel| kernel.series() < (6, 9));
    let late = late.map(|kernel| (kernel, LATE_PROCESSORS));
    let asked = |(_, variant): &(&Kernel, Variant)| {
        let own = variant.filter.unwrap_or_default();
        filter.is_empty() || filter.iter().any(|word| own.contains(word.as_str()))
    };
    usual.chain(reduced.into_iter().chain(late).filter(asked)).collect()
}
