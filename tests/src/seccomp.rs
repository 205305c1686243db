//! A seccomp filter that refuses bpf(2).

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use anyhow::{Result, anyhow};
use nix::errno::Errno;
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Commands of bpf(2): `enum bpf_cmd` in include/uapi/linux/bpf.h.
#[derive(Clone, Copy, Debug)]
pub enum BpfCommand {
    /// BPF_MAP_CREATE
    MapCreate = 0,
    /// BPF_PROG_LOAD
    ProgLoad = 5,
    /// BPF_RAW_TRACEPOINT_OPEN
    RawTracepointOpen = 17,
    /// BPF_LINK_CREATE
    LinkCreate = 28,
    /// BPF_ITER_CREATE
    IterCreate = 33,
}

/// Makes these commands of bpf(2) fail with `errno` in the calling thread, and in the threads and processes that it
/// starts later. This cannot be undone.
///
/// # Errors
/// Fails if the kernel refuses the filter.
pub fn refuse(commands: &[BpfCommand], errno: Errno) -> Result<()> {
    let is = |command: &BpfCommand| {
        let command = *command as u64;
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, command)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let rules = commands.iter().map(is).collect::<Result<Vec<_>, _>>()?;
    let filter = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_bpf, rules)]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno as u32),
        ARCH.try_into().map_err(|error| anyhow!("seccomp on {ARCH}: {error}"))?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    Ok(apply_filter(&program)?)
}
