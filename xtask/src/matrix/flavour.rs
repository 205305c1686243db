//! The kinds of Debian's kernels: a processor architecture, and pages of a size.

use crate::architecture::Architecture;

/// A kind of Debian's kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    Amd64,
    Arm64,
    /// With pages of 16 KiB, the largest that Debian has.
    Arm64Pages16k,
}

impl Flavour {
    pub(crate) const ALL: [Self; 3] = [Self::Amd64, Self::Arm64, Self::Arm64Pages16k];

    pub(crate) fn architecture(self) -> Architecture {
        match self {
            Self::Amd64 => Architecture::X86_64,
            Self::Arm64 | Self::Arm64Pages16k => Architecture::Aarch64,
        }
    }

    /// What the names of its packages end with.
    pub(crate) fn package(self) -> &'static str {
        match self {
            Self::Amd64 => "-cloud-amd64",
            Self::Arm64 => "-cloud-arm64",
            Self::Arm64Pages16k => "-arm64-16k",
        }
    }

    /// What the names of its kernels begin with, as people name them.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Amd64 => "",
            Self::Arm64 => "arm64-",
            Self::Arm64Pages16k => "arm64-16k-",
        }
    }
}
