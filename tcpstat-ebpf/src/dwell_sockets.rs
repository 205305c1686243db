//! `iter/tcp`: lists the addresses of the sockets that are in a state of `DWELL_STATES`. It lists the network namespace of
//! the process that creates the iterator.

use tcpstat_ebpf::DwellRecord;

use crate::{
    iter::{Context, write},
    maps::{DWELL_STATES, SOCK_STATE},
};

/// Writes a [`DwellRecord`] if the socket in the context is in one of the states.
#[unsafe(no_mangle)]
// SAFETY: the section names the kernel's iterator, and the function takes the context of that iterator.
#[unsafe(link_section = "iter/tcp")]
pub(crate) extern "C" fn tcpstat_dwell(context: *const Context) -> i32 {
    // SAFETY: the kernel passes a valid context, and the offset is from BTF.
    unsafe {
        let sk = (*context).sk_common;
        if sk.is_null() || DWELL_STATES.load() >> (SOCK_STATE.read(sk) & 0xf) & 1 == 0 {
            return 0;
        }
        let record = DwellRecord { skaddr: sk as u64 };
        write((*context).meta, &record, size_of::<DwellRecord>());
    }
    0
}
