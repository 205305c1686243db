//! bpf(2), for which there is no safe wrapper here.

#![expect(unsafe_code, reason = "a system call without a wrapper")]

use std::io::Error;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::libc;

/// Calls it.
///
/// # Errors
/// The error of the kernel.
///
/// # Safety
/// `attributes` is laid out as `union bpf_attr` is for that command; the memory that it points to is as large as
/// the command expects, and outlives the call.
pub(crate) unsafe fn call<A>(command: i32, attributes: &A) -> Result<i64, Error> {
    let attributes: *const A = attributes;
    // SAFETY: the function's own contract.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<A>()) };
    if answer < 0 { Err(Error::last_os_error()) } else { Ok(answer) }
}

/// As [`call`], for commands that return a descriptor.
///
/// # Errors
/// The error of the kernel.
///
/// # Safety
/// As [`call`]; the command returns a descriptor.
pub(crate) unsafe fn open<A>(command: i32, attributes: &A) -> Result<OwnedFd, Error> {
    // SAFETY: the function's own contract.
    let answer = unsafe { call(command, attributes) }?;
    let fd = RawFd::try_from(answer).map_err(Error::other)?;
    // SAFETY: the kernel has just created it for this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens the object of that number by one of the commands `BPF_*_GET_FD_BY_ID`.
///
/// # Errors
/// The error of the kernel; `ENOENT` if there is none.
pub(crate) fn open_by_id(command: i32, number: u32) -> Result<OwnedFd, Error> {
    /// Of `union bpf_attr`.
    #[repr(C)]
    struct ById {
        number: u32,
        next: u32,
        flags: u32,
    }
    // SAFETY: these commands take these three numbers, no pointers, and return a descriptor.
    unsafe { open(command, &ById { number, next: 0, flags: 0 }) }
}
