//! What the iterator over the files of processes writes for each TCP socket.

use core::mem::{offset_of, size_of};

/// A socket that a process holds in another network namespace than the exporter's own. One that several descriptors refer
/// to comes several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct HeldStateRecord {
    /// What the programs identify its network namespace by.
    pub netns_key: u64,
    /// The kernel address of the socket.
    pub skaddr: u64,
    /// Bytes received but not yet read; 0 for a listener.
    pub receive_queue: u32,
    /// Bytes written but not yet acknowledged; 0 for a listener.
    pub send_queue: u32,
    /// For a listener, its half-open requests; else 0.
    pub requests: u32,
    /// A `Family`.
    pub family: u8,
    /// A `State`; 0 for a socket of MPTCP, whose subflows no descriptor refers to.
    pub state: u8,
    /// 0
    pub reserved: [u8; 2],
}

const _: () = {
    assert!(size_of::<HeldStateRecord>() == 32, "no hidden padding");
    assert!(offset_of!(HeldStateRecord, skaddr) == 8);
    assert!(offset_of!(HeldStateRecord, receive_queue) == 16);
    assert!(offset_of!(HeldStateRecord, send_queue) == 20);
    assert!(offset_of!(HeldStateRecord, requests) == 24);
    assert!(offset_of!(HeldStateRecord, family) == 28);
    assert!(offset_of!(HeldStateRecord, state) == 29);
};
