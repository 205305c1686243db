//! Capabilities and settings that decide whether this process may load and attach BPF programs.

use std::{path::Path, sync::OnceLock};

use super::{
    Capabilities, Procfs,
    file::read_to_string,
    root::{inode, own_process},
};

/// Capabilities and settings; `None` for one that cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Privileges {
    /// The effective capabilities of this process.
    pub(crate) capabilities: Option<Capabilities>,
    /// Whether this process was started with a seccomp filter (mode 2; in mode 1 it could not run), besides its own.
    pub(crate) seccomp_filter: Option<bool>,
    /// Whether the user namespace of this process is the initial one. bpf(2) and perf_event_open(2) require
    /// capabilities in that one (`capable` in kernel/capability.c).
    pub(crate) initial_user_namespace: Option<bool>,
    /// The level of kernel lockdown.
    pub(crate) lockdown: Option<Lockdown>,
    /// The sysctl `kernel.unprivileged_bpf_disabled`.
    pub(crate) unprivileged_bpf_disabled: Option<i64>,
    /// The sysctl `kernel.perf_event_paranoid`.
    pub(crate) perf_event_paranoid: Option<i64>,
}

/// A level of kernel lockdown (kernel_lockdown.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lockdown {
    /// The kernel is not locked down.
    None,
    /// Root cannot change the running kernel.
    Integrity,
    /// Root also cannot read kernel memory: `bpf_probe_read_kernel` and tracefs are not available.
    Confidentiality,
}

impl Procfs {
    /// Whether `perf_event_open` is refused without `CAP_SYS_ADMIN`: a patch of Debian's and Ubuntu's kernels.
    pub(crate) fn perf_events_need_admin() -> bool {
        Self::kernel_setting("perf_event_paranoid").is_ok_and(|level| level >= 3)
    }
}

impl Privileges {
    /// Reads those of this process and of the running kernel.
    #[must_use]
    pub(crate) fn read() -> Self {
        let lockdown = read_to_string(Path::new("/sys/kernel/security/lockdown")).ok();
        Self {
            capabilities: Capabilities::effective().ok(),
            seccomp_filter: Self::remember_filter(),
            initial_user_namespace: initial_user_namespace(),
            lockdown: lockdown.as_deref().and_then(lockdown_level),
            unprivileged_bpf_disabled: Procfs::kernel_setting("unprivileged_bpf_disabled").ok(),
            perf_event_paranoid: Procfs::kernel_setting("perf_event_paranoid").ok(),
        }
    }

    /// Whether there was a seccomp filter at the first call. Call it before the own one is there.
    pub(crate) fn remember_filter() -> Option<bool> {
        static FOREIGN: OnceLock<Option<bool>> = OnceLock::new();
        *FOREIGN.get_or_init(|| {
            let status = read_to_string(&own_process().join("status")).ok()?;
            seccomp_filter(&status)
        })
    }
}

fn seccomp_filter(status: &str) -> Option<bool> {
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?;
    Some(mode.trim() == "2")
}

/// The inode number of the initial user namespace (`PROC_USER_INIT_INO` in include/linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: u64 = 0xefff_fffd;

/// Decides by the inode number of the namespace, or by its map if the number is hidden. By default no other
/// namespace has the same map.
fn initial_user_namespace() -> Option<bool> {
    let own = own_process();
    inode(&own.join("ns/user")).map(|number| number == INITIAL_USER_NAMESPACE).ok().or_else(|| {
        let uid_map = read_to_string(&own.join("uid_map")).ok()?;
        Some(is_initial(&uid_map))
    })
}

/// The initial user namespace maps all ids to themselves, in one line.
fn is_initial(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The word in brackets is the current level: `none [integrity] confidentiality`.
fn lockdown_level(lockdown: &str) -> Option<Lockdown> {
    let (_, rest) = lockdown.split_once('[')?;
    match rest.split_once(']')?.0 {
        "none" => Some(Lockdown::None),
        "integrity" => Some(Lockdown::Integrity),
        "confidentiality" => Some(Lockdown::Confidentiality),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seccomp_filter_is_mode_2() {
        assert_eq!(
            seccomp_filter("NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n"),
            Some(true)
        );
        assert_eq!(seccomp_filter("Seccomp:\t0\nSeccomp_filters:\t0\n"), Some(false));
        assert_eq!(seccomp_filter("Threads:\t1\n"), None);
    }

    #[test]
    fn the_initial_user_namespace_maps_every_id_to_itself() {
        assert!(is_initial("         0          0 4294967295\n"));
        assert!(!is_initial("         0       1000          1\n"));
        assert!(!is_initial(
            "         0          0       1000\n      1000     100000      65536\n"
        ));
        assert!(!is_initial(""));
    }

    #[test]
    fn the_word_in_brackets_is_the_level_of_lockdown() {
        assert_eq!(lockdown_level("[none] integrity confidentiality\n"), Some(Lockdown::None));
        assert_eq!(lockdown_level("none [integrity] confidentiality\n"), Some(Lockdown::Integrity));
        assert_eq!(
            lockdown_level("none integrity [confidentiality]\n"),
            Some(Lockdown::Confidentiality)
        );
        assert_eq!(lockdown_level(""), None);
    }
}
