//! Programs on the entry and exit of kernel functions (`fentry`, `fexit`). They count mini-sockets and
//! requests, which are no `struct sock`, so that the tracepoint does not report them.
//!
//! A mini-socket or request comes from CLOSE and goes to CLOSE, as a full socket does. All of them
//! begin with a `struct sock_common`.

mod requests;
mod timewait;

use tcpstat_ebpf::{EventRecord, Family};

use crate::{
    maps::{NET_COOKIE, NET_INUM, SOCK_FAMILY, SOCK_NET, SOCK_NUM},
    netns,
    scoped::{Scoping, WithoutCgroup},
    typed::write_addresses,
};

/// The slot and the family of a socket; `None` outside the counted namespaces, and for other families.
///
/// # Safety
/// `common` begins with a `struct sock_common`, and the kernel passed it.
#[inline(always)]
unsafe fn slot_and_family(common: *const u8) -> Option<(u64, Family)> {
    // SAFETY: as the function's.
    unsafe {
        let net = SOCK_NET.read(common);
        let slot = netns::slot(NET_INUM.read(net), || Some(NET_COOKIE.read(net)))?;
        Some((slot, Family::from_address_family(SOCK_FAMILY.read(common))?))
    }
}

/// The scopes of a mini-socket or request.
///
/// # Safety
/// As [`slot_and_family`].
#[inline(always)]
unsafe fn without_cgroup(common: *const u8) -> impl Scoping {
    // SAFETY: as the function's.
    WithoutCgroup(move || unsafe { SOCK_NUM.read(common) })
}

/// Writes the object's kernel address, and the addresses and ports of `common`.
///
/// # Safety
/// `common` begins with a `struct sock_common` of this family, and the kernel passed it.
#[inline(always)]
unsafe fn fill(record: &mut EventRecord, skaddr: *const u8, common: *const u8, family: Family) {
    // SAFETY: as the function's.
    unsafe {
        record.skaddr = skaddr as u64;
        record.sport = SOCK_NUM.read(common);
        write_addresses(record, common, family);
    }
}
