//! The link of a BPF iterator: what keeps its program loaded, and opens it. aya links for each reading, and keeps
//! the whole object for that.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

/// `BPF_LINK_CREATE` of `enum bpf_cmd`, include/uapi/linux/bpf.h.
const LINK_CREATE: libc::c_long = 28;
/// `BPF_ITER_CREATE`.
const ITER_CREATE: libc::c_long = 33;
/// `BPF_TRACE_ITER` of `enum bpf_attach_type`.
const TRACE_ITER: u32 = 28;

/// The link of a loaded program. The kernel keeps the program as long as the link.
pub(super) struct IterLink(OwnedFd);

/// `link_create` of `union bpf_attr`, without parameters of the iterator.
#[repr(C)]
struct LinkCreate {
    program: RawFd,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// `iter_create` of `union bpf_attr`.
#[repr(C)]
struct IterCreate {
    link: RawFd,
    flags: u32,
}

impl IterLink {
    /// Links the program of an iterator.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) fn new(program: BorrowedFd<'_>) -> io::Result<Self> {
        let program = program.as_raw_fd();
        let attributes = LinkCreate { program, target: 0, attach_type: TRACE_ITER, flags: 0 };
        bpf(LINK_CREATE, &attributes).map(Self)
    }

    /// A file that gives the records once. Its network namespace is that of this thread.
    ///
    /// # Errors
    /// The kernel's error.
    pub(super) fn open(&self) -> io::Result<File> {
        let link = self.0.as_fd().as_raw_fd();
        bpf(ITER_CREATE, &IterCreate { link, flags: 0 }).map(File::from)
    }
}

/// bpf(2) for a command that returns a descriptor. The kernel takes what `attributes` lack as 0.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    let pointer = std::ptr::from_ref(attributes);
    // SAFETY: the kernel reads as many bytes as `attributes` has, and does not keep the pointer.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    match RawFd::try_from(result) {
        // SAFETY: the kernel has made this descriptor for this call, so nothing else owns it.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
