//! The sockets that processes hold in other network namespaces, by a BPF iterator over the files of all processes: each one
//! in CLOSE_WAIT, each listening one, and the namespaces of the rest.

use aya::{Btf, Ebpf};
use tcpstat_ebpf::{CloseWaitRecord, HeldRecord, ListenerRecord, Reader};

use super::{
    btf::{BtfError, KernelTypes},
    close_wait::{self, CloseWaitIterator},
    error::LoadError,
    iterator::{IterError, Kind, RecordIterator},
    layout::{self, Globals},
    listeners::{self, ListenerIterator},
    netns_slots::NetnsKey,
};

/// The loaded iterator. It lists what the processes of this process' PID namespace hold, nested ones included.
pub(crate) struct HeldIterator(RecordIterator);

/// The network namespace of a socket that a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldNetns {
    pub(crate) key: NetnsKey,
    /// Its inode number.
    pub(crate) inum: u32,
}

/// A socket that a process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeldSocket {
    CloseWait(CloseWaitRecord),
    Listener(ListenerRecord),
    /// At least one in another state, but not in CLOSE.
    InOtherState,
}

const KIND: Kind =
    Kind { name: "task_file", symbol: "tcpstat_held", record_bytes: size_of::<HeldRecord>() };

impl HeldIterator {
    /// Loads the program. It needs Linux 5.12. `netns_inum` is the inode number of the own namespace.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    pub(crate) fn load(netns_inum: u32) -> Result<Self, LoadError> {
        load(KIND, netns_inum, Self::globals).map(Self)
    }

    /// What it needs besides `NETNS_INUM`.
    pub(super) fn globals(types: &KernelTypes) -> Result<Globals, BtfError> {
        let mut globals = layout::offsets(types, Reader::Held)?;
        globals.extend(CloseWaitIterator::globals(types)?);
        globals.extend(ListenerIterator::globals(types, true)?);
        globals.extend(layout::netns_key(types));
        Ok(globals)
    }

    /// As [`RecordIterator::load_from`].
    pub(super) fn load_from(ebpf: &mut Ebpf, btf: &Btf) -> Result<Self, LoadError> {
        RecordIterator::load_from(ebpf, KIND, btf).map(Self)
    }

    /// Passes every such socket to `each`, with its namespace: once for each descriptor, but
    /// [`HeldSocket::InOtherState`] once for those of a namespace that follow one another.
    ///
    /// # Errors
    /// [`IterError`], after the sockets before the error.
    pub(crate) fn each_socket(
        &mut self,
        mut each: impl FnMut(HeldNetns, HeldSocket),
    ) -> Result<(), IterError> {
        self.0.each_decoded(decode, |(netns, socket)| each(netns, socket))
    }
}

/// Loads an iterator by itself. `netns_inum` is the inode number of the own namespace.
pub(super) fn load(
    kind: Kind,
    netns_inum: u32,
    globals: impl Fn(&KernelTypes) -> Result<Globals, BtfError>,
) -> Result<RecordIterator, LoadError> {
    RecordIterator::load(kind, |types| {
        let mut globals = globals(types)?;
        globals.push(("NETNS_INUM", netns_inum));
        Ok(globals)
    })
}

/// `None` for a record that is too short.
pub(super) fn decode(bytes: &[u8]) -> Option<(HeldNetns, HeldSocket)> {
    let (netns_key, rest) = bytes.split_first_chunk()?;
    let (close_wait, rest) = rest.split_at_checked(size_of::<CloseWaitRecord>())?;
    let (listener, rest) = rest.split_at_checked(size_of::<ListenerRecord>())?;
    let (inum, _) = rest.split_first_chunk()?;
    let (close_wait, listener) = (close_wait::decode(close_wait)?, listeners::decode(listener)?);
    let socket = match (close_wait.skaddr, listener.skaddr) {
        (0, 0) => HeldSocket::InOtherState,
        (_, 0) => HeldSocket::CloseWait(close_wait),
        _ => HeldSocket::Listener(listener),
    };
    let netns = HeldNetns { key: u64::from_ne_bytes(*netns_key), inum: u32::from_ne_bytes(*inum) };
    Some((netns, socket))
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    const NETNS: HeldNetns = HeldNetns { key: 7, inum: 9 };

    fn bytes(numbers: [u64; 4], listener: u64) -> Vec<u8> {
        let mut bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_ne_bytes).collect();
        bytes.extend(listener.to_ne_bytes());
        bytes.resize(offset_of!(HeldRecord, netns_inum), 0);
        bytes.extend(NETNS.inum.to_ne_bytes());
        bytes.resize(size_of::<HeldRecord>(), 0);
        bytes
    }

    #[test]
    fn a_record_is_a_listener_or_a_socket_in_close_wait_if_it_has_one() {
        let listener = ListenerRecord { skaddr: 5, ..ListenerRecord::default() };
        let decoded = Some((NETNS, HeldSocket::Listener(listener)));
        assert_eq!(decode(&bytes([7, 0, 0, 0], 5)), decoded);

        assert_eq!(decode(&bytes([7, 0, 0, 0], 0)), Some((NETNS, HeldSocket::InOtherState)));

        let times = u64::from_ne_bytes([1, 0, 0, 0, 2, 0, 0, 0]);
        let bytes = bytes([7, 3, 4, times], 0);
        let socket = CloseWaitRecord { skaddr: 3, now: 4, heard: 1, received: 2 };
        assert_eq!(decode(&bytes), Some((NETNS, HeldSocket::CloseWait(socket))));
        for length in 0..offset_of!(HeldRecord, reserved) {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
