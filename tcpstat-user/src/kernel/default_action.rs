//! Lets a signal do what it does without a handler.

use libc::c_int;

/// Ends the process, or whatever else `signal` does by default. For its handler, in which it is blocked: it takes effect when
/// the handler returns. Uses only functions that are async-signal-safe.
///
/// It is not raise(3), which calls tkill(2) in musl: that can name a thread of another process, so the filter of system calls
/// refuses it. The filter allows tgkill(2) with this process.
pub(super) fn take_default_action(signal: c_int) {
    // SAFETY: all take numbers, and are system calls.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let thread = libc::syscall(libc::SYS_gettid);
        libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal);
    }
}
