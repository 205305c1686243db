//! Programs on the entry and exit of kernel functions (`fentry`, `fexit`). They count mini-sockets and requests,
//! which are no `struct sock`, so that the tracepoint does not report them.
//!
//! A mini-socket or request comes from CLOSE and goes to CLOSE, as a full socket does. All of them
//! begin with a `struct sock_common`.

mod requests;
mod timewait;

use tcpstat_ebpf::{EventRecord, Family};

use crate::{
    maps::{NET_INUM, NETNS_INUM, SOCK_FAMILY, SOCK_NET, SOCK_NUM},
    typed::write_addresses,
};

/// The family of a socket; `None` outside the counted namespace, and for other families.
///
/// # Safety
/// `common` begins with a `struct sock_common`, and the kernel passed it.
#[inline(always)]
unsafe fn counted_family(common: *const u8) -> Option<Family> {
    // SAFETY: as the function's.
    unsafe {
        if NET_INUM.read(SOCK_NET.read(common)) != NETNS_INUM.load() {
            return None;
        }
        Family::from_address_family(SOCK_FAMILY.read(common))
    }
}

/// Writes the object's address, and the ends of `common`.
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
