//! Programs on the beginning and end of kernel functions (`fentry`, `fexit`): they tell of what is no
//! `struct sock`, and so makes no transition that the tracepoint knows.
//!
//! A mini-socket or request comes from CLOSE and goes to CLOSE, as a full socket does. All of them
//! begin with a `struct sock_common`.

mod requests;
mod timewait;

use tcpstat_ebpf::{EventRecord, Family};

use crate::{
    maps::{NET_INUM, NETNS_INUM, SOCK_FAMILY, SOCK_NET, SOCK_NUM},
    typed::{ends, load},
};

/// The family of a socket of the counted namespace.
///
/// # Safety
/// As [`load`]; `common` begins with a `struct sock_common`.
#[inline(always)]
unsafe fn counted_family(common: *const u8) -> Option<Family> {
    // SAFETY: as the function's.
    unsafe {
        let net = load::<*const u8>(common, &SOCK_NET);
        if load::<u32>(net, &NET_INUM) != NETNS_INUM.load() {
            return None;
        }
        Family::from_address_family(load::<u16>(common, &SOCK_FAMILY))
    }
}

/// Writes whose record it is: the object at `skaddr`, with the ends of `common`.
///
/// # Safety
/// As [`load`]; `common` begins with a `struct sock_common`.
#[inline(always)]
unsafe fn fill(record: &mut EventRecord, skaddr: *const u8, common: *const u8, family: Family) {
    // SAFETY: as the function's.
    unsafe {
        record.skaddr = skaddr as u64;
        record.sport = load(common, &SOCK_NUM);
        ends(record, common, family);
    }
}
