//! How QEMU emulates an architecture.

use crate::architecture::Architecture;

/// A machine that QEMU emulates.
pub(crate) struct Machine {
    pub(crate) program: &'static str,
    /// Debian's package with the program.
    pub(crate) package: &'static str,
    pub(crate) board: &'static str,
    pub(crate) processor: &'static str,
    /// What Linux calls the first serial port.
    pub(crate) console: &'static str,
}

impl Machine {
    pub(crate) fn of(architecture: Architecture) -> &'static Self {
        match architecture {
            Architecture::X86_64 => &X86_64,
            Architecture::Aarch64 => &AARCH64,
        }
    }
}

const X86_64: Machine = Machine {
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
    board: "pc",
    // `max` has five levels of page tables and more that takes time to emulate: a fifth of that of the tests.
    processor: "qemu64",
    console: "ttyS0",
};

const AARCH64: Machine = Machine {
    program: "qemu-system-aarch64",
    package: "qemu-system-arm",
    board: "virt",
    // `max` signs pointers: a kernel then takes five times as long to boot. `cortex-a72` has no pages of 16 KiB.
    processor: "neoverse-n1",
    console: "ttyAMA0",
};
