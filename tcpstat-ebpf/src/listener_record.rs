//! What the iterator over listening sockets writes.

use core::mem::{offset_of, size_of};

/// One listening socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ListenerRecord {
    /// The kernel address of the socket; 0 for the mark that no listening socket follows.
    pub skaddr: u64,
    /// The cookie, which no other socket ever has; 0 on a kernel that does not give it to an iterator (until 5.11).
    pub cookie: u64,
    /// Local address in network order. IPv4 is in the first four bytes, and the others are 0.
    pub address: [u8; 16],
    /// Connections that wait to be accepted (`sk_ack_backlog`).
    pub queue_length: u32,
    /// The accept queue is full when it is longer than this (`sk_max_ack_backlog`).
    pub queue_limit: u32,
    /// Half-open connections (`icsk_accept_queue.qlen`).
    pub half_open: u32,
    /// Packets that the kernel has dropped since the socket was made (`sk_drops`).
    pub drops: u32,
    /// Local port, host order.
    pub port: u16,
    /// [`Family`](crate::Family) as a number.
    pub family: u8,
    /// Always 0.
    pub reserved: [u8; 5],
}

const _: () = {
    assert!(size_of::<ListenerRecord>() == 56, "no hidden padding");
    assert!(offset_of!(ListenerRecord, address) == 16);
    assert!(offset_of!(ListenerRecord, queue_length) == 32);
    assert!(offset_of!(ListenerRecord, port) == 48);
};
