//! `iter/tcp`: every socket of the namespace of whoever reads it, with its address.
//!
//! Since 5.15 the kernel takes the sockets of a bucket together and shows each under its lock; before,
//! it shows them under the bucket's.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::seq_file,
    helpers::generated::{bpf_seq_write, bpf_skc_to_tcp_sock, bpf_skc_to_tcp_timewait_sock},
};
use tcpstat_ebpf::{Family, SocketRecord, State};

use crate::{
    maps::{
        SOCK_ACK_BACKLOG, SOCK_FAMILY, SOCK_STATE, TCP_COPIED_SEQ, TCP_RCV_NXT, TCP_SND_UNA,
        TCP_WRITE_SEQ, TIMEWAIT_SUBSTATE,
    },
    typed::load,
};

/// `struct bpf_iter_meta`, as far as it is used.
#[repr(C)]
struct Meta {
    seq: *mut seq_file,
}

/// `struct bpf_iter__tcp`, as far as it is used.
#[repr(C)]
pub(crate) struct Context {
    meta: *const Meta,
    sk_common: *const u8,
}

/// Writes a [`SocketRecord`] for the socket at hand.
#[unsafe(no_mangle)]
// SAFETY: the section is named after the kernel's iterator, whose context this is.
#[unsafe(link_section = "iter/tcp")]
pub(crate) extern "C" fn tcpstat_iter(context: *const Context) -> i32 {
    // SAFETY: the kernel gives the context, whose members do not change; the offsets are those of BTF.
    unsafe {
        let sk = (*context).sk_common;
        if sk.is_null() {
            return 0;
        }
        let Some(family) = Family::from_address_family(load::<u16>(sk, &SOCK_FAMILY)) else {
            return 0;
        };
        let mut record = SocketRecord {
            skaddr: sk as u64,
            receive_queue: 0,
            send_queue: 0,
            family: family as u8,
            state: load(sk, &SOCK_STATE),
            substate: 0,
            reserved: [0; 5],
        };
        fill(&mut record, sk);
        bpf_seq_write(
            (*(*context).meta).seq,
            (&raw const record).cast::<c_void>(),
            size_of::<SocketRecord>() as u32,
        );
    }
    0
}

/// # Safety
/// As [`load`]; `sk` is a `struct sock_common *`.
#[inline(always)]
unsafe fn fill(record: &mut SocketRecord, sk: *const u8) {
    // SAFETY: as the function's; the helpers give null for what is not of their type.
    unsafe {
        if record.state == State::TimeWait as u8 {
            let timewait = bpf_skc_to_tcp_timewait_sock(sk.cast_mut().cast());
            if !timewait.is_null() {
                record.substate = load(timewait.cast::<u8>(), &TIMEWAIT_SUBSTATE);
            }
        } else if record.state != State::NewSynRecv as u8 {
            let tcp_sock = bpf_skc_to_tcp_sock(sk.cast_mut().cast()).cast::<u8>().cast_const();
            if tcp_sock.is_null() {
                return;
            }
            record.receive_queue = if record.state == State::Listen as u8 {
                load(tcp_sock, &SOCK_ACK_BACKLOG)
            } else {
                unread(load(tcp_sock, &TCP_RCV_NXT), load(tcp_sock, &TCP_COPIED_SEQ))
            };
            record.send_queue = load::<u32>(tcp_sock, &TCP_WRITE_SEQ)
                .wrapping_sub(load::<u32>(tcp_sock, &TCP_SND_UNA));
        }
    }
}

/// `max_t(int, rcv_nxt - copied_seq, 0)`, as `get_tcp4_sock` reckons: a FIN that was read lies beyond.
#[inline(always)]
fn unread(rcv_nxt: u32, copied_seq: u32) -> u32 {
    let bytes = rcv_nxt.wrapping_sub(copied_seq);
    if bytes as i32 > 0 { bytes } else { 0 }
}
