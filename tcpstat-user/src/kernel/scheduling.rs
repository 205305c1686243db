//! How soon a thread that has work gets a processor.

use std::mem::zeroed;

use libc::{SYS_sched_getattr, SYS_sched_setattr, sched_attr};

/// The shortest time slice that the scheduler accepts, in nanoseconds (`__setparam_fair`).
const SHORTEST_SLICE: u64 = 100_000;

/// Asks the scheduler for short time slices for the calling thread. The thread runs sooner, and gets the same
/// share of the processor.
///
/// Since 6.12 the fair scheduler prefers the thread with the shortest slice among those that wait for their
/// share. Earlier kernels ignore the request. A seccomp filter can refuse it; then nothing changes.
pub fn request_short_slices() {
    // SAFETY: all members are numbers, for which zero is valid.
    let mut attributes: sched_attr = unsafe { zeroed() };
    let bytes = size_of::<sched_attr>();
    // SAFETY: the kernel writes at most `bytes` bytes, the size of the structure; 0 is this thread.
    let read = unsafe { libc::syscall(SYS_sched_getattr, 0, &raw mut attributes, bytes, 0) };
    let fair = i32::try_from(attributes.sched_policy) == Ok(libc::SCHED_OTHER);
    if read != 0 || !fair {
        return;
    }
    attributes.sched_runtime = SHORTEST_SLICE;
    // SAFETY: the kernel reads the structure, and its size from it.
    unsafe { libc::syscall(SYS_sched_setattr, 0, &raw const attributes, 0) };
}
