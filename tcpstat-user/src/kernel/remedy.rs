//! Chooses what a user can do about a refused step, from facts. It reads only the kernel's release and a
//! limit.

use std::io;

use aya::util::KernelVersion;
use nix::{
    errno::Errno,
    sys::{
        resource::{RLIM_INFINITY, Resource, getrlimit},
        utsname::uname,
    },
};

use super::step::{Attachment, Step};
use crate::procfs::{Capabilities, Lockdown, Privileges};

/// A step that the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(super) step: Step,
    /// The kernel's error number, if the error has one.
    pub(super) errno: Option<Errno>,
    /// What is wrong with tracefs, if that was the cause.
    pub(super) tracefs: Option<Tracefs>,
    /// Whether the verifier has written a log.
    pub(super) kernel_log: bool,
}

/// What is wrong with tracefs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tracefs {
    Missing,
    /// This user may not read it.
    Denied,
    /// It is there, and cannot be read for another reason.
    Unreadable,
}

impl Tracefs {
    pub(super) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied,
            _ => Self::Unreadable,
        }
    }
}

impl Refusal {
    /// What to do, in one line. It asks for nothing that `privileges` already have.
    #[must_use]
    pub(super) fn remedy(&self, privileges: &Privileges) -> String {
        self.decide(privileges, memlock_limits()).unwrap_or_else(|| match self.step {
            _ if self.kernel_log => {
                "run with `--log.level debug` to see the complete answer of the kernel".to_owned()
            }
            Step::Load(asked) | Step::Attach(asked) => format!(
                "the kernel gave no reason; report it with the request ({asked}) and the kernel release, {}",
                kernel_release()
            ),
            _ => format!("report it with the kernel release, {}", kernel_release()),
        })
    }

    /// `memlock` is whether a limit applies to the memory of maps. `None` if no fact explains the refusal.
    fn decide(&self, privileges: &Privileges, memlock: bool) -> Option<String> {
        let at_tracepoint = self.step == Step::Attach(Attachment::Tracepoint);
        let confidential = privileges.lockdown == Some(Lockdown::Confidentiality);
        let reads_all = privileges.capabilities.is_some_and(Capabilities::reads_all);
        let remedy = match (self.tracefs, self.errno) {
            (Some(Tracefs::Missing), _) => {
                "mount it: `mount -t tracefs tracefs /sys/kernel/tracing`"
            }
            (Some(_), _) if confidential => UNLOCK,
            (Some(Tracefs::Denied), _) if !reads_all => {
                "grant CAP_DAC_READ_SEARCH, or remount tracefs with the gid of a group of this user"
            }
            // Then the verifier does not allow bpf_probe_read_kernel.
            _ if confidential
                && (at_tracepoint || self.step == Step::Load(Attachment::Tracepoint)) =>
            {
                UNLOCK
            }
            // The verifier returns EACCES and EPERM too, for other reasons than privileges.
            _ if self.kernel_log => return None,
            (_, Some(Errno::EPERM | Errno::EACCES)) => {
                return Some(denied(self.step, privileges, memlock));
            }
            (_, Some(Errno::EMFILE)) => "raise RLIMIT_NOFILE (`ulimit -n`, LimitNOFILE=)",
            (_, Some(Errno::ENFILE)) => "raise the sysctl fs.file-max",
            (_, Some(Errno::ENOMEM)) => {
                "free memory, or raise the memory limit of the service or container"
            }
            (_, Some(Errno::ENOSYS)) => "run a kernel built with CONFIG_BPF_SYSCALL=y",
            _ => return None,
        };
        Some(remedy.to_owned())
    }
}

/// Whether the same call can succeed later.
pub(super) fn is_temporary(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::EAGAIN | Errno::EINTR | Errno::EBUSY
    )
}

/// What `uname -r` prints.
pub(super) fn kernel_release() -> String {
    uname().map_or_else(
        |error| format!("unknown: {error}"),
        |uname| uname.release().to_string_lossy().into_owned(),
    )
}

const UNLOCK: &str =
    "the kernel is locked down for confidentiality: boot it without `lockdown=confidentiality`";

fn denied(step: Step, privileges: &Privileges, memlock: bool) -> String {
    let at_tracepoint = step == Step::Attach(Attachment::Tracepoint);
    if privileges.initial_user_namespace == Some(false) {
        return "run it in the initial user namespace: in another one (rootless container, userns-remap, \
                hostUsers: false) capabilities have no effect on BPF"
            .to_owned();
    }
    let raise_memlock = "raise RLIMIT_MEMLOCK (`ulimit -l unlimited`, LimitMEMLOCK=infinity)";
    let memlock = memlock && step == Step::CreateMaps;
    if let Some(missing) = missing(privileges.capabilities) {
        return if memlock {
            format!("grant {missing} and {raise_memlock}, or run as root")
        } else {
            format!("grant {missing}, or run as root")
        };
    }
    let admin = privileges.capabilities.is_some_and(Capabilities::sys_admin);
    // From level 3 on, which only patched kernels have, CAP_PERFMON is not enough.
    if let (true, false, Some(level @ 3..)) = (at_tracepoint, admin, privileges.perf_event_paranoid)
    {
        return format!("set the sysctl kernel.perf_event_paranoid to 2 or less; it is {level}");
    }
    if memlock {
        return raise_memlock.to_owned();
    }
    if privileges.seccomp_filter == Some(true) {
        let calls = if at_tracepoint { "bpf and perf_event_open" } else { "bpf" };
        return format!(
            "let the seccomp filter of this process allow {calls} (SystemCallFilter=bpf perf_event_open; \
             the seccomp profile of the container): the process has the capabilities"
        );
    }
    if privileges.lockdown == Some(Lockdown::Confidentiality) {
        return UNLOCK.to_owned();
    }
    "the process has the capabilities, so a security module (AppArmor, SELinux) refuses it: see `dmesg` or the audit log"
        .to_owned()
}

/// The capabilities to grant. Both if the held ones are unknown.
fn missing(held: Option<Capabilities>) -> Option<&'static str> {
    match held.map_or((false, false), |held| (held.bpf(), held.perfmon())) {
        (true, true) => None,
        (false, true) => Some("CAP_BPF"),
        (true, false) => Some("CAP_PERFMON"),
        (false, false) => Some("CAP_BPF and CAP_PERFMON"),
    }
}

/// Whether RLIMIT_MEMLOCK limits the memory of maps: the kernel is older than 5.11, and aya could not raise
/// the limit.
fn memlock_limits() -> bool {
    KernelVersion::current().is_ok_and(|version| version < KernelVersion::new(5, 11, 0))
        && getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(soft, _)| soft != RLIM_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERFMON: u64 = 1 << 38;
    const BPF: u64 = 1 << 39;
    const ALL: u64 = u64::MAX;
    const TWO: u64 = PERFMON | BPF;
    const NONE: u64 = 0;

    fn holding(held: u64) -> Privileges {
        Privileges {
            capabilities: Some(Capabilities::from_bits(held)),
            seccomp_filter: Some(false),
            initial_user_namespace: Some(true),
            lockdown: Some(Lockdown::None),
            unprivileged_bpf_disabled: Some(2),
            perf_event_paranoid: Some(2),
        }
    }

    fn decide(step: Step, errno: Errno, privileges: Privileges, memlock: bool) -> Option<String> {
        let refusal = Refusal { step, errno: Some(errno), tracefs: None, kernel_log: false };
        refusal.decide(&privileges, memlock)
    }

    #[test]
    fn a_denial_names_its_cause_and_nothing_that_is_granted() {
        use Attachment::{TpBtf, Tracepoint};
        let (maps, load) = (Step::CreateMaps, Step::Load(TpBtf));
        let attach = Step::Attach(Tracepoint);
        let filtered = Privileges { seccomp_filter: Some(true), ..holding(ALL) };
        let elsewhere = Privileges { initial_user_namespace: Some(false), ..holding(ALL) };
        let locked = |level| Privileges { lockdown: Some(level), ..holding(ALL) };
        let paranoid =
            |held, level| Privileges { perf_event_paranoid: Some(level), ..holding(held) };
        let unknown = Privileges::default();
        for (step, privileges, memlock, named) in [
            (maps, holding(NONE), false, "grant CAP_BPF and CAP_PERFMON, or run as root"),
            (load, holding(BPF), false, "grant CAP_PERFMON, or run as root"),
            (load, holding(PERFMON), false, "grant CAP_BPF, or run as root"),
            (attach, holding(BPF), false, "grant CAP_PERFMON, or run as root"),
            (maps, holding(NONE), true, "grant CAP_BPF and CAP_PERFMON and raise RLIMIT_MEMLOCK"),
            (maps, holding(TWO), true, "raise RLIMIT_MEMLOCK"),
            (load, holding(TWO), true, "the process has the capabilities, so a security module"),
            (maps, filtered, false, "let the seccomp filter of this process allow bpf ("),
            (attach, filtered, false, "let the seccomp filter of this process allow bpf and perf_"),
            (maps, elsewhere, false, "run it in the initial user namespace"),
            (load, locked(Lockdown::Confidentiality), false, "the kernel is locked down"),
            (
                load,
                locked(Lockdown::Integrity),
                false,
                "the process has the capabilities, so a security",
            ),
            (attach, paranoid(TWO, 3), false, "set the sysctl kernel.perf_event_paranoid to 2"),
            (
                attach,
                paranoid(TWO, 2),
                false,
                "the process has the capabilities, so a security module",
            ),
            (
                attach,
                paranoid(ALL, 4),
                false,
                "the process has the capabilities, so a security module",
            ),
            (
                load,
                paranoid(TWO, 4),
                false,
                "the process has the capabilities, so a security module",
            ),
            (maps, unknown, false, "grant CAP_BPF and CAP_PERFMON, or run as root"),
        ] {
            for errno in [Errno::EPERM, Errno::EACCES] {
                let remedy = decide(step, errno, privileges, memlock).unwrap();
                assert!(remedy.starts_with(named), "{step} {privileges:?}: {remedy}");
            }
        }
    }

    #[test]
    fn the_remedy_for_tracefs_depends_on_what_is_wrong_with_it() {
        let remedy = |tracefs, privileges: Privileges| {
            let step = Step::Attach(Attachment::Tracepoint);
            let errno = Some(Errno::EACCES);
            let refusal = Refusal { step, errno, tracefs: Some(tracefs), kernel_log: false };
            refusal.decide(&privileges, false).unwrap()
        };
        assert!(remedy(Tracefs::Missing, holding(TWO)).starts_with("mount it"));
        assert!(remedy(Tracefs::Denied, holding(TWO)).starts_with("grant CAP_DAC_READ_SEARCH"));
        let locked = Privileges { lockdown: Some(Lockdown::Confidentiality), ..holding(ALL) };
        assert!(remedy(Tracefs::Denied, locked).starts_with("the kernel is locked down"));
        assert!(remedy(Tracefs::Denied, holding(ALL)).contains("a security module"));
    }

    #[test]
    fn errors_that_can_pass_are_temporary_and_others_are_not() {
        for errno in [Errno::ENOMEM, Errno::EMFILE, Errno::ENFILE] {
            assert!(is_temporary(errno), "{errno}");
            assert!(decide(Step::CreateMaps, errno, holding(ALL), false).is_some(), "{errno}");
        }
        for errno in [Errno::EPERM, Errno::EACCES, Errno::EINVAL, Errno::ENOSYS] {
            assert!(!is_temporary(errno), "{errno}");
        }
    }

    #[test]
    fn a_refusal_without_a_kernel_log_has_the_request_in_its_remedy() {
        let refusal = |kernel_log| Refusal {
            step: Step::Load(Attachment::Exit("inet_twsk_alloc")),
            errno: Some(Errno::EINVAL),
            tracefs: None,
            kernel_log,
        };
        let asked = refusal(false).remedy(&holding(ALL));
        assert!(
            asked.contains("BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, inet_twsk_alloc"),
            "{asked}"
        );
        assert!(asked.ends_with(&kernel_release()), "{asked}");
        assert!(refusal(true).remedy(&holding(ALL)).contains("--log.level debug"));
        let by_verifier = Refusal { errno: Some(Errno::EACCES), ..refusal(true) };
        assert!(by_verifier.remedy(&holding(ALL)).contains("--log.level debug"));
    }
}
