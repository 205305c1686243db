use std::{io, path::PathBuf};

use thiserror::Error;

/// Why the running kernel's types cannot be read, or do not fit a program.
///
/// `structure` is the name after `struct`, `member` the names down to the member, with dots between them.
/// `expected` is what the program uses, `found` what the running kernel has; sizes and offsets are in bytes.
#[derive(Debug, Error)]
pub(crate) enum BtfError {
    /// There is no BTF: the kernel is built without `CONFIG_DEBUG_INFO_BTF`, or sysfs is not mounted.
    #[error("{}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    /// The file is not BTF, is damaged, or has a kind of type that this version does not know.
    #[error("{}: {problem} at byte {at}", path.display())]
    Malformed { path: PathBuf, problem: &'static str, at: usize },
    /// The kernel has no such structure or member.
    #[error("kernel BTF has no `{member}` in `struct {structure}`")]
    Missing { structure: &'static str, member: &'static str },
    /// The member is a bit field, which has no offset in bytes.
    #[error("kernel BTF has `{member}` in `struct {structure}` as a bit field")]
    BitField { structure: &'static str, member: &'static str },
    /// The member has another size than the program reads.
    #[error(
        "kernel BTF has size {found} for `{member}` in `struct {structure}`, and the program expects {expected} (in bytes)"
    )]
    Size { structure: &'static str, member: &'static str, expected: u32, found: u32 },
    /// The member is not where the program reads it.
    #[error(
        "kernel BTF has offset {found} for `{member}` in `struct {structure}`, and the program expects {expected} (in bytes)"
    )]
    Offset { structure: &'static str, member: &'static str, expected: u32, found: u32 },
    /// The kernel has no such function, or has inlined it everywhere.
    #[error("kernel BTF has no function with this name")]
    NoFunction,
    /// The function has another signature than the program expects.
    #[error(
        "the function has {parameters} parameters and returns {}",
        if *returns_value { "a value" } else { "nothing" }
    )]
    Signature { parameters: usize, returns_value: bool },
}
