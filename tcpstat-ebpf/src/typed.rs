//! Typed loads from kernel structures, at the offsets that user space took from the kernel's BTF.

use aya_ebpf::Global;
use tcpstat_ebpf::{EventRecord, Family};

use crate::maps::{SOCK_DADDR, SOCK_DPORT, SOCK_RCV_SADDR, SOCK_V6_DADDR, SOCK_V6_RCV_SADDR};

/// Reads the `T` at `base + offset`.
///
/// # Safety
/// `base` points to a kernel structure that has a `T` there; the verifier checks it against BTF.
#[inline(always)]
pub(crate) unsafe fn load<T: Copy>(base: *const u8, offset: &Global<u32>) -> T {
    // SAFETY: as the function's; unaligned, since addresses are byte arrays here.
    unsafe { base.add(offset.load() as usize).cast::<T>().read() }
}

/// Writes the ends of `common`, which is of that family, but for the local port.
///
/// # Safety
/// As [`load`]; `common` begins with a `struct sock_common`.
#[inline(always)]
pub(crate) unsafe fn ends(record: &mut EventRecord, common: *const u8, family: Family) {
    // SAFETY: as the function's.
    unsafe {
        record.dport = u16::from_be(load(common, &SOCK_DPORT));
        match family {
            Family::Ipv4 => {
                let saddr: [u8; 4] = load(common, &SOCK_RCV_SADDR);
                let daddr: [u8; 4] = load(common, &SOCK_DADDR);
                record.saddr[..4].copy_from_slice(&saddr);
                record.daddr[..4].copy_from_slice(&daddr);
            }
            Family::Ipv6 => {
                record.saddr = load(common, &SOCK_V6_RCV_SADDR);
                record.daddr = load(common, &SOCK_V6_DADDR);
            }
        }
    }
}
