//! What the iterator over the files of processes writes.

use core::mem::{offset_of, size_of};

use crate::{CloseWaitRecord, ListenerRecord};

/// A socket that a process holds in another network namespace than the exporter's own: in CLOSE_WAIT, or a listening
/// one. A socket that several descriptors refer to comes several times.
///
/// Or, with neither, only the namespace: a socket in another state is held in it. Those of one namespace that follow one
/// another come once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HeldRecord {
    /// What the programs identify its network namespace by.
    pub netns_key: u64,
    /// The socket in CLOSE_WAIT; else all 0.
    pub close_wait: CloseWaitRecord,
    /// The listening socket; else all 0.
    pub listener: ListenerRecord,
    /// `ns.inum` of the network namespace.
    pub netns_inum: u32,
    /// 0
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<HeldRecord>() == 96, "no hidden padding");
    assert!(offset_of!(HeldRecord, close_wait) == 8);
    assert!(offset_of!(HeldRecord, listener) == 32);
    assert!(offset_of!(HeldRecord, netns_inum) == 88);
};
