//! Reads members of kernel structures, at the offsets that user space takes from the kernel's BTF.

use core::marker::PhantomData;

use aya_ebpf::{Global, helpers::generated::bpf_skc_to_tcp_sock};
use tcpstat_ebpf::{EventRecord, Family};

use crate::maps::{SOCK_DADDR, SOCK_DPORT, SOCK_RCV_SADDR, SOCK_V6_DADDR, SOCK_V6_RCV_SADDR};

/// The offset of a member that the programs read as a `T`, set by user space.
#[repr(transparent)]
pub(crate) struct Offset<T> {
    bytes: Global<u32>,
    read_as: PhantomData<fn() -> T>,
}

impl<T: Copy> Offset<T> {
    pub(crate) const fn unset() -> Self {
        Self { bytes: Global::new(0), read_as: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes.load()
    }

    /// Reads the member of the structure at `base`, each number in it by one load instruction.
    ///
    /// The read is aligned. An unaligned one compiles to a load for each byte, and the verifier refuses a
    /// pointer that is read in parts.
    ///
    /// # Safety
    /// `base` points to the structure that the table of members names, or to one that has the same members
    /// there. The kernel aligns each member as its type requires, and the verifier checks the access
    /// against BTF.
    #[inline(always)]
    pub(crate) unsafe fn read(&self, base: *const u8) -> T {
        // SAFETY: as the function's.
        unsafe { base.add(self.bytes() as usize).cast::<T>().read() }
    }

    /// As [`Offset::read`], by a load that the compiler does not merge with an earlier one.
    ///
    /// # Safety
    /// As [`Offset::read`].
    #[inline(always)]
    pub(crate) unsafe fn read_again(&self, base: *const u8) -> T {
        // SAFETY: as the function's.
        unsafe { base.add(self.bytes() as usize).cast::<T>().read_volatile() }
    }
}

/// The `struct tcp_sock` of a full TCP socket; null for any other object.
///
/// # Safety
/// `sk` is a trusted `struct sock *`, or a `struct sock_common *` that the kernel passed.
#[inline(always)]
pub(crate) unsafe fn tcp_sock(sk: *const u8) -> *const u8 {
    // SAFETY: as the function's.
    unsafe { bpf_skc_to_tcp_sock(sk.cast_mut().cast()).cast::<u8>().cast_const() }
}

/// Writes the remote port and both addresses of `common` to the record.
///
/// # Safety
/// As [`Offset::read`]; `common` begins with a `struct sock_common` of this family.
#[inline(always)]
pub(crate) unsafe fn write_addresses(record: &mut EventRecord, common: *const u8, family: Family) {
    // SAFETY: as the function's.
    unsafe {
        record.dport = u16::from_be(SOCK_DPORT.read(common));
        match family {
            Family::Ipv4 => {
                record.set_ipv4(SOCK_RCV_SADDR.read(common), SOCK_DADDR.read(common));
            }
            Family::Ipv6 => {
                record.set_ipv6(SOCK_V6_RCV_SADDR.read(common), SOCK_V6_DADDR.read(common));
            }
        }
    }
}
