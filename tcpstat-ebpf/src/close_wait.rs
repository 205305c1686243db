//! `iter/tcp`: lists the sockets in CLOSE_WAIT with the times that show how long they have been there. It lists the
//! network namespace of the process that creates the iterator.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use tcpstat_ebpf::{CloseWaitRecord, State};

use crate::{
    iter::{Context, write},
    maps::{SOCK_STATE, TCP_LRCVTIME, TCP_RCV_TSTAMP},
    typed::tcp_sock,
};

/// Writes a [`CloseWaitRecord`] if the socket in the context is in CLOSE_WAIT.
#[unsafe(no_mangle)]
// SAFETY: the section names the kernel's iterator, and the function takes the context of that iterator.
#[unsafe(link_section = "iter/tcp")]
pub(crate) extern "C" fn tcpstat_close_wait(context: *const Context) -> i32 {
    // SAFETY: the kernel passes a valid context, and the offsets are from BTF; the helper returns null for an object of
    // another type.
    unsafe {
        let sk = (*context).sk_common;
        if sk.is_null() || SOCK_STATE.read(sk) != State::CloseWait as u8 {
            return 0;
        }
        let tcp_sock = tcp_sock(sk);
        if tcp_sock.is_null() {
            return 0;
        }
        let record = CloseWaitRecord {
            skaddr: sk as u64,
            heard: TCP_RCV_TSTAMP.read(tcp_sock),
            received: TCP_LRCVTIME.read(tcp_sock),
            now: bpf_jiffies64(),
        };
        write((*context).meta, &record, size_of::<CloseWaitRecord>());
    }
    0
}
