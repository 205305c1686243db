//! What the iterator over the descriptors of TCP sockets writes.

use core::mem::{offset_of, size_of};

/// A descriptor of a TCP socket in any network namespace. A socket that several descriptors refer to comes several
/// times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HolderRecord {
    /// The kernel address of the socket.
    pub skaddr: u64,
    /// Local address of a listening socket, else the remote one; in network order. IPv4 is in the first four bytes, and
    /// the others are 0.
    pub address: [u8; 16],
    /// The lower half of the clock in ticks (`jiffies64`).
    pub now: u32,
    /// When the peer was last heard (`rcv_tstamp`); without meaning before the first segment.
    pub heard: u32,
    /// The process that has the descriptor.
    pub pid: u32,
    /// Inode number of the socket's network namespace.
    pub netns_inum: u32,
    /// Connections in the accept queue of a listening socket, else 0.
    pub queue_length: u32,
    /// The queue is full when it is longer than this.
    pub queue_limit: u32,
    /// Local port, host order.
    pub local_port: u16,
    /// Remote port, host order.
    pub remote_port: u16,
    /// Number of the [`State`](crate::State).
    pub state: u8,
    /// [`Family`](crate::Family) as a number.
    pub family: u8,
    /// Always 0.
    pub reserved: [u8; 2],
}

const _: () = {
    assert!(size_of::<HolderRecord>() == 56, "no hidden padding");
    assert!(offset_of!(HolderRecord, address) == 8);
    assert!(offset_of!(HolderRecord, now) == 24);
    assert!(offset_of!(HolderRecord, local_port) == 48);
    assert!(offset_of!(HolderRecord, state) == 52);
};
