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
}

/// A kernel that is ready to be booted.
pub(crate) struct Boot {
    /// The kernel.
    pub(crate) kernel: Kernel,
    /// How it is booted.
    pub(crate) variant: Variant,
    /// What it finds.
    pub(crate) initramfs: PathBuf,
}

impl Variant {
    /// What the kernel's command line has of it.
    pub(crate) fn arguments(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::WithoutIpv6 => "ipv6.disable=1",
        }
    }

    /// The tests that run in it, if not all.
    pub(crate) fn filter(self) -> Option<&'static str> {
        match self {
            Self::Usual => None,
            Self::WithoutIpv6 => Some("with_ipv4_alone"),
        }
    }

    /// What the report calls that kernel booted so.
    pub(crate) fn name_of(self, kernel: &Kernel) -> String {
        match self {
            Self::Usual => kernel.version().to_owned(),
            Self::WithoutIpv6 => format!("{} without IPv6", kernel.version()),
        }
    }
}

impl Boot {
    /// What the report calls it.
    pub(crate) fn name(&self) -> String {
        self.variant.name_of(&self.kernel)
    }
}

/// All boots: each kernel as it is, and the last one without IPv6, unless `filter` asks for certain
/// tests only.
pub(crate) fn all<'a>(kernels: &'a [Kernel], filter: &[String]) -> Vec<(&'a Kernel, Variant)> {
    let usual = kernels.iter().map(|kernel| (kernel, Variant::Usual));
    let reduced = kernels.last().filter(|_| filter.is_empty());
    usual.chain(reduced.map(|kernel| (kernel, Variant::WithoutIpv6))).collect()
}
