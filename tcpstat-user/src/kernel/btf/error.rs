use std::{io, path::PathBuf};

use thiserror::Error;

/// Why the running kernel's types cannot be read, or do not fit a program. Sizes and offsets are in bytes.
#[derive(Debug, Error)]
pub enum BtfError {
    /// There is no BTF: the kernel is built without `CONFIG_DEBUG_INFO_BTF`, or sysfs is not mounted.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// The BTF file.
        path: PathBuf,
        /// The error of open(2) or read(2).
        cause: io::Error,
    },
    /// The file is not BTF, is damaged, or has a kind of type that this version does not know.
    #[error("{}: {problem} at byte {at}", path.display())]
    Malformed {
        /// The BTF file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// Offset in the file.
        at: usize,
    },
    /// The kernel has no such structure or member.
    #[error("kernel BTF has no `{member}` in `struct {structure}`")]
    Missing {
        /// The name behind `struct`.
        structure: &'static str,
        /// The names down to the member, with dots between them.
        member: &'static str,
    },
    /// The member is a bit field, which has no offset in bytes.
    #[error("kernel BTF has `{member}` in `struct {structure}` as a bit field")]
    BitField {
        /// The name behind `struct`.
        structure: &'static str,
        /// The names down to the member, with dots between them.
        member: &'static str,
    },
    /// The member has another size than the program reads.
    #[error(
        "kernel BTF has {found} bytes for `{member}` in `struct {structure}`, and the program reads {expected}"
    )]
    Size {
        /// The name behind `struct`.
        structure: &'static str,
        /// The names down to the member, with dots between them.
        member: &'static str,
        /// How many bytes the program reads.
        expected: u32,
        /// How many bytes the member has.
        found: u32,
    },
    /// The member is not where the program reads it.
    #[error(
        "kernel BTF has `{member}` in `struct {structure}` at byte {found}, and the program reads it at byte {expected}"
    )]
    Offset {
        /// The name behind `struct`.
        structure: &'static str,
        /// The names down to the member, with dots between them.
        member: &'static str,
        /// The offset that the program uses.
        expected: u32,
        /// The offset in the running kernel.
        found: u32,
    },
    /// The kernel has no such function, or has inlined it everywhere.
    #[error("kernel BTF has no function with this name")]
    NoFunction,
    /// The function has another signature than the program expects.
    #[error(
        "the function has {parameters} parameters and returns {}",
        if *returns_value { "a value" } else { "nothing" }
    )]
    Signature {
        /// Number of parameters.
        parameters: usize,
        /// Whether it returns a value.
        returns_value: bool,
    },
}
