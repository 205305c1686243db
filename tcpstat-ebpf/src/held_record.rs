//! What the iterator over the files of processes writes.

use core::mem::{offset_of, size_of};

use crate::{CloseWaitRecord, ListenerRecord};

/// A socket that a process holds in another network namespace than the exporter's own: in CLOSE_WAIT, or a listening
/// one. A socket that several descriptors refer to comes several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct HeldRecord {
    /// What the programs identify its network namespace by.
    pub netns_key: u64,
    /// The socket in CLOSE_WAIT; all 0 for a listening socket.
    pub close_wait: CloseWaitRecord,
    /// The listening socket; all 0 for a socket in CLOSE_WAIT.
    pub listener: ListenerRecord,
}

const _: () = {
    assert!(size_of::<HeldRecord>() == 88, "no hidden padding");
    assert!(offset_of!(HeldRecord, close_wait) == 8);
    assert!(offset_of!(HeldRecord, listener) == 32);
};
