//! What the filter has refused. The kernel sends SIGSYS in place of the call; the handler lets it fail with EPERM, and
//! writes its number to a pipe.

use std::{
    io,
    mem::zeroed,
    os::fd::{AsFd, IntoRawFd, OwnedFd},
    ptr::null_mut,
    sync::atomic::{AtomicI32, Ordering},
};

use libc::{c_int, c_void, sigaction, siginfo_t, ucontext_t};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::{pipe2, read},
};

use crate::kernel::default_action::take_default_action;

/// `si_code` of a signal from a filter (include/uapi/asm-generic/siginfo.h).
const SYS_SECCOMP: c_int = 1;

/// The end of the pipe that the handler writes to. Never closed, because a handler can run at any moment.
static QUEUE: AtomicI32 = AtomicI32::new(-1);

/// The numbers of refused calls. What does not fit into the pipe, 64 KiB, is lost.
#[derive(Debug)]
pub(crate) struct Refusals(OwnedFd);

impl Refusals {
    /// Handles SIGSYS from now on.
    pub(super) fn start() -> io::Result<Self> {
        let (numbers, queue) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let queue = queue.into_raw_fd();
        QUEUE.store(queue, Ordering::Release);
        // SAFETY: all members are numbers and a pointer that can be null, for which zero is valid.
        let mut action: sigaction = unsafe { zeroed() };
        action.sa_sigaction = on_signal as *const () as usize;
        // On the stack that the runtime has for overflows.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler has the parameters that SA_SIGINFO requires, and calls only functions that are
        // async-signal-safe. `action` is valid.
        let result = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, null_mut()) };
        if result == 0 { Ok(Self(numbers)) } else { Err(io::Error::last_os_error()) }
    }

    /// The next number; `None` if there is none yet.
    pub(crate) fn next(&self) -> Option<i32> {
        let mut number = [0; size_of::<i32>()];
        loop {
            match read(&self.0, &mut number) {
                // The handler writes whole numbers.
                Ok(length) => return (length == number.len()).then(|| i32::from_ne_bytes(number)),
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits for the next number.
    ///
    /// # Errors
    /// If poll fails.
    pub(crate) fn wait(&self) -> io::Result<i32> {
        loop {
            if let Some(number) = self.next() {
                return Ok(number);
            }
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both to a handler with SA_SIGINFO.
    if !unsafe { refuse(info, context) } {
        take_default_action(signal);
    }
}

/// Lets the system call that a filter has refused fail with EPERM, and reports it. Returns whether that is where the signal
/// comes from. Uses only functions that are async-signal-safe.
///
/// # Safety
/// Both must be those of the running handler of a signal with SA_SIGINFO.
pub(in crate::kernel) unsafe fn refuse(info: *const siginfo_t, context: *mut c_void) -> bool {
    // SAFETY: as the caller promises.
    let (signal, code) = unsafe { ((*info).si_signo, (*info).si_code) };
    if signal != libc::SIGSYS || code != SYS_SECCOMP {
        return false;
    }
    // SAFETY: as the caller promises, it is the context of the interrupted thread, which nothing else uses now.
    let number = unsafe { fail(&mut *context.cast::<ucontext_t>()) };
    // SAFETY: the address of this thread's number.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: it is valid as long as the thread is. write reads as many bytes as the number has; if the pipe is full, it
    // does not wait.
    unsafe {
        let before = *errno;
        let bytes = (&raw const number).cast::<c_void>();
        libc::write(QUEUE.load(Ordering::Acquire), bytes, size_of::<i32>());
        *errno = before;
    }
    true
}

/// Sets the result of the call, and returns its number. The kernel has put the registers back to what they were before
/// the call (`syscall_rollback` in kernel/seccomp.c).
#[cfg(target_arch = "x86_64")]
fn fail(context: &mut ucontext_t) -> i32 {
    let result = &mut context.uc_mcontext.gregs[libc::REG_RAX as usize];
    let number = i32::try_from(*result).unwrap_or(-1);
    *result = i64::from(-libc::EPERM);
    number
}

#[cfg(target_arch = "aarch64")]
fn fail(context: &mut ucontext_t) -> i32 {
    let registers = &mut context.uc_mcontext.regs;
    let number = i32::try_from(registers[8]).unwrap_or(-1);
    registers[0] = i64::from(-libc::EPERM).cast_unsigned();
    number
}

/// The name of a system call that a program may make that is not tcpstat any more; `None` for others.
#[must_use]
pub(crate) fn name(number: i32) -> Option<&'static str> {
    let number = i64::from(number);
    NAMES.iter().chain(LEGACY).find(|(known, _)| *known == number).map(|(_, name)| *name)
}

macro_rules! names {
    ($($call:ident $name:literal),* $(,)?) => { &[$((libc::$call, $name)),*] };
}

#[cfg(target_arch = "x86_64")]
const LEGACY: &[(i64, &str)] = names![
    SYS_fork "fork",
    SYS_vfork "vfork",
    SYS_open "open",
    SYS_creat "creat",
    SYS_mkdir "mkdir",
    SYS_unlink "unlink",
    SYS_rename "rename",
    SYS_link "link",
    SYS_symlink "symlink",
    SYS_chmod "chmod",
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[(i64, &str)] = &[];

const NAMES: &[(i64, &str)] = names![
    SYS_execve "execve",
    SYS_execveat "execveat",
    SYS_clone "clone",
    SYS_openat "openat",
    SYS_openat2 "openat2",
    SYS_socket "socket",
    SYS_connect "connect",
    SYS_bind "bind",
    SYS_listen "listen",
    SYS_sendto "sendto",
    SYS_sendmsg "sendmsg",
    SYS_sendmmsg "sendmmsg",
    SYS_recvmsg "recvmsg",
    SYS_mmap "mmap",
    SYS_mprotect "mprotect",
    SYS_memfd_create "memfd_create",
    SYS_ptrace "ptrace",
    SYS_process_vm_readv "process_vm_readv",
    SYS_process_vm_writev "process_vm_writev",
    SYS_pidfd_open "pidfd_open",
    SYS_pidfd_getfd "pidfd_getfd",
    SYS_kill "kill",
    SYS_tgkill "tgkill",
    SYS_bpf "bpf",
    SYS_perf_event_open "perf_event_open",
    SYS_ioctl "ioctl",
    SYS_prctl "prctl",
    SYS_prlimit64 "prlimit64",
    SYS_seccomp "seccomp",
    SYS_setns "setns",
    SYS_unshare "unshare",
    SYS_mount "mount",
    SYS_umount2 "umount2",
    SYS_pivot_root "pivot_root",
    SYS_chroot "chroot",
    SYS_setuid "setuid",
    SYS_setgid "setgid",
    SYS_setresuid "setresuid",
    SYS_setresgid "setresgid",
    SYS_fchmod "fchmod",
    SYS_fchmodat "fchmodat",
    SYS_fchownat "fchownat",
    SYS_mkdirat "mkdirat",
    SYS_unlinkat "unlinkat",
    SYS_renameat2 "renameat2",
    SYS_linkat "linkat",
    SYS_symlinkat "symlinkat",
    SYS_truncate "truncate",
    SYS_ftruncate "ftruncate",
    SYS_io_uring_setup "io_uring_setup",
    SYS_userfaultfd "userfaultfd",
    SYS_keyctl "keyctl",
    SYS_add_key "add_key",
    SYS_init_module "init_module",
    SYS_finit_module "finit_module",
    SYS_kexec_load "kexec_load",
    SYS_reboot "reboot",
    SYS_open_by_handle_at "open_by_handle_at",
];
