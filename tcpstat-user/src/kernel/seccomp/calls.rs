//! The system calls of tcpstat, in groups: what each group is for, and which commands make it.
//!
//! glibc and musl make different calls for the same function, and aarch64 lacks the older ones: a group has all of them.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError,
    SeccompCmpArgLen::{Dword, Qword},
    SeccompCmpOp, SeccompCondition, SeccompRule,
};

/// What a command does with the kernel, besides what each command does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one group of calls")]
pub(crate) struct Needs {
    /// Load and attach BPF programs.
    pub(crate) bpf: bool,
    /// Enter another network namespace.
    pub(crate) enters_netns: bool,
    /// Create, rename, and remove files.
    pub(crate) writes_files: bool,
    /// Accept connections.
    pub(crate) serves: bool,
    /// Listen on files of Unix sockets, which it makes and removes.
    pub(crate) unix_sockets: bool,
    /// Resolve the names of hosts, which can load libraries, and connect to them.
    pub(crate) connects: bool,
    /// Change the settings of the terminal, and open it.
    pub(crate) draws: bool,
}

/// The rules for each call: no rule allows it with any arguments, several are alternatives.
pub(super) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What `needs` allows.
///
/// # Errors
/// [`BackendError`] never comes for these calls.
pub(super) fn allowed(needs: Needs) -> Result<Rules, BackendError> {
    let mut list = List::default();
    list.any(ALWAYS);
    list.any(LEGACY);
    list.always()?;
    if needs.bpf {
        list.of(libc::SYS_bpf, 0, BPF_COMMANDS)?;
        list.any(&[libc::SYS_perf_event_open]);
        list.of(libc::SYS_ioctl, 1, PERF_EVENT_REQUESTS)?;
    }
    if needs.enters_netns {
        list.of(libc::SYS_setns, 1, &[libc::CLONE_NEWNET as u64])?;
    }
    if needs.writes_files {
        list.any(WRITES);
        list.any(LEGACY_WRITES);
    }
    if needs.serves {
        list.any(SERVES);
        for family in [libc::AF_INET, libc::AF_INET6] {
            list.stream_socket(family)?;
        }
    }
    if needs.unix_sockets {
        list.any(UNIX_SOCKETS);
        list.any(LEGACY_UNIX_SOCKETS);
        list.stream_socket(libc::AF_UNIX)?;
    }
    if needs.connects {
        list.any(CONNECTS);
        let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        list.of(libc::SYS_socket, 0, &families.map(|family| family.unsigned_abs().into()))?;
        // nsswitch.conf names libraries.
        list.any(&[libc::SYS_mmap, libc::SYS_mprotect]);
    }
    if needs.draws {
        list.of(libc::SYS_ioctl, 1, TERMINAL_REQUESTS)?;
        // crossterm opens /dev/tty for both directions.
        list.opens(CREATING)?;
    }
    Ok(list.0)
}

/// The calls that every command makes.
const ALWAYS: &[i64] = &[
    // Read and write what is open: the log, sockets, iterators, the queue of refused calls.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    // Find and list files: /proc, /sys, the configuration.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    // Memory. A new mapping cannot be executed: see [`List::always`].
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads and locks. fork and vfork are no part of it: see [`List::always`].
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_restart_syscall,
    // How soon a thread runs, and on how many processors.
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sched_getattr,
    libc::SYS_sched_setattr,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    // The clock, where the vDSO does not have it.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    // About this process: who it is, what it may do, and giving that up.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_capset,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    // The runtime's pair of sockets that wakes it at a signal.
    libc::SYS_socketpair,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
];

/// Older calls that do what calls of other groups do. glibc and musl prefer them on x86_64.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[i64] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_readlink,
    libc::SYS_access,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_arch_prctl,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[i64] = &[];

/// Calls that open a file.
#[cfg(target_arch = "x86_64")]
const OPENS: &[i64] = &[libc::SYS_openat, libc::SYS_open];
#[cfg(not(target_arch = "x86_64"))]
const OPENS: &[i64] = &[libc::SYS_openat];

/// The textfile: a temporary file, its lock and its mode, and the name that it gets.
const WRITES: &[i64] = &[
    libc::SYS_openat,
    libc::SYS_flock,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    #[cfg(not(target_arch = "riscv64"))]
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_ftruncate,
];
#[cfg(target_arch = "x86_64")]
const LEGACY_WRITES: &[i64] =
    &[libc::SYS_open, libc::SYS_chmod, libc::SYS_rename, libc::SYS_link, libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY_WRITES: &[i64] = &[];

/// The port: no call that connects.
const SERVES: &[i64] = &[
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_accept,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
];

/// The file of a Unix socket: whether another process serves it, its mode, and its removal.
const UNIX_SOCKETS: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    // fchmodat2, on all architectures.
    452,
    libc::SYS_unlinkat,
];
#[cfg(target_arch = "x86_64")]
const LEGACY_UNIX_SOCKETS: &[i64] = &[libc::SYS_chmod, libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY_UNIX_SOCKETS: &[i64] = &[];

/// The names of hosts, by the resolver of the C library, and connections to them.
const CONNECTS: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmsg,
];

/// Commands of bpf(2), from `enum bpf_cmd` in include/uapi/linux/bpf.h. Those that pin an object, or find one of another
/// process, are missing.
const BPF_COMMANDS: &[u64] = &[
    0,  // BPF_MAP_CREATE
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    5,  // BPF_PROG_LOAD
    15, // BPF_OBJ_GET_INFO_BY_FD
    17, // BPF_RAW_TRACEPOINT_OPEN
    18, // BPF_BTF_LOAD
    21, // BPF_MAP_LOOKUP_AND_DELETE_ELEM
    22, // BPF_MAP_FREEZE
    28, // BPF_LINK_CREATE
    33, // BPF_ITER_CREATE
];

/// Requests for a perf event, from include/uapi/linux/perf_event.h.
const PERF_EVENT_REQUESTS: &[u64] = &[
    0x2400,      // PERF_EVENT_IOC_ENABLE
    0x2401,      // PERF_EVENT_IOC_DISABLE
    0x4004_2408, // PERF_EVENT_IOC_SET_BPF
];

/// Requests that ask only.
#[expect(clippy::unnecessary_cast, reason = "the type of a request depends on the C library")]
const REQUESTS: &[u64] = &[
    libc::TCGETS as u64,
    libc::TCGETS2 as u64 & 0xffff_ffff,
    libc::TIOCGWINSZ as u64,
    libc::FIONBIO as u64,
    libc::FIONREAD as u64,
    // The number of an interface, for an address with a zone.
    libc::SIOCGIFINDEX as u64,
];

/// The requests of ioctl(2) that the terminal view makes. TIOCSTI, which types for the user, is not one of them.
#[expect(clippy::unnecessary_cast, reason = "the type of a request depends on the C library")]
const TERMINAL_REQUESTS: &[u64] = &[
    libc::TCSETS as u64,
    libc::TCSETSW as u64,
    libc::TCSETSF as u64,
    libc::TCSETS2 as u64 & 0xffff_ffff,
    libc::TCSETSW2 as u64 & 0xffff_ffff,
    libc::TCSETSF2 as u64 & 0xffff_ffff,
];

/// What prctl(2) may do: name a thread or a mapping, and answer questions (rustix asks for the auxiliary vector).
const PRCTL_OPTIONS: &[u64] = &[
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    0x5356_4d41, // PR_SET_VMA
    0x4155_5856, // PR_GET_AUXV
    libc::PR_CAPBSET_READ as u64,
    libc::PR_GET_DUMPABLE as u64,
];

/// Flags of open(2) with which a file can be written.
const WRITING: u64 = (libc::O_WRONLY | libc::O_RDWR) as u64;

/// Flags of open(2) that make a file, or change it at once.
const CREATING: u64 = (libc::O_CREAT | libc::O_TRUNC | libc::O_APPEND) as u64;

#[derive(Default)]
struct List(Rules);

impl List {
    /// Allows `calls` with any arguments.
    fn any(&mut self, calls: &[i64]) {
        for &call in calls {
            self.0.insert(call, Vec::new());
        }
    }

    /// Allows `call` also if this condition holds.
    fn when(&mut self, call: i64, condition: SeccompCondition) -> Result<(), BackendError> {
        self.alternative(call, SeccompRule::new(vec![condition])?);
        Ok(())
    }

    fn alternative(&mut self, call: i64, rule: SeccompRule) {
        match self.0.get_mut(&call) {
            // Any arguments already.
            Some(rules) if rules.is_empty() => {}
            Some(rules) => rules.push(rule),
            None => drop(self.0.insert(call, vec![rule])),
        }
    }

    /// Allows `call` also if this argument is one of `values`. The kernel uses its lower half.
    fn of(&mut self, call: i64, argument: u8, values: &[u64]) -> Result<(), BackendError> {
        for &value in values {
            let is = SeccompCondition::new(argument, Dword, SeccompCmpOp::Eq, value)?;
            self.when(call, is)?;
        }
        Ok(())
    }

    /// Allows opening files without these flags.
    fn opens(&mut self, without: u64) -> Result<(), BackendError> {
        for &call in OPENS {
            let flags = if call == libc::SYS_openat { 2 } else { 1 };
            let operator = SeccompCmpOp::MaskedEq(without);
            self.when(call, SeccompCondition::new(flags, Qword, operator, 0)?)?;
        }
        Ok(())
    }

    /// Allows TCP sockets of this family, and no others, which could send to any address.
    fn stream_socket(&mut self, family: i32) -> Result<(), BackendError> {
        let family =
            SeccompCondition::new(0, Dword, SeccompCmpOp::Eq, family.unsigned_abs().into())?;
        // Without SOCK_CLOEXEC and SOCK_NONBLOCK.
        let kind = SeccompCmpOp::MaskedEq(0xf);
        let stream = SeccompCondition::new(1, Dword, kind, libc::SOCK_STREAM as u64)?;
        let rule = SeccompRule::new(vec![family, stream])?;
        self.alternative(libc::SYS_socket, rule);
        Ok(())
    }

    /// Calls of all commands that are allowed with some arguments.
    fn always(&mut self) -> Result<(), BackendError> {
        let own = |argument| SeccompCondition::new(argument, Dword, SeccompCmpOp::Eq, 0);
        let masked = |argument, mask, value| {
            SeccompCondition::new(argument, Qword, SeccompCmpOp::MaskedEq(mask), value)
        };
        // A thread of this process, not a process. The flags of clone3 are in memory, so that is refused by a filter of
        // its own.
        let thread = libc::CLONE_THREAD as u64;
        self.when(libc::SYS_clone, masked(0, thread, thread)?)?;
        // Files to read.
        self.opens(CREATING | WRITING)?;
        // Memory that is not executed.
        let executable = libc::PROT_EXEC as u64;
        self.when(libc::SYS_mmap, masked(2, executable, 0)?)?;
        self.when(libc::SYS_mprotect, masked(2, executable, 0)?)?;
        // Limits of this process.
        self.when(libc::SYS_prlimit64, own(0)?)?;
        // A signal to a thread of this process. abort(3) of musl calls tkill(2), which can name any thread of the host: the
        // process then ends by SIGSYS.
        let pid = u64::from(std::process::id());
        self.of(libc::SYS_tgkill, 0, &[pid])?;
        self.of(libc::SYS_ioctl, 1, REQUESTS)?;
        // Without an address, which could connect (MSG_FASTOPEN).
        let no_address = SeccompCondition::new(4, Qword, SeccompCmpOp::Eq, 0)?;
        self.when(libc::SYS_sendto, no_address)?;
        self.of(libc::SYS_prctl, 0, PRCTL_OPTIONS)
    }
}
