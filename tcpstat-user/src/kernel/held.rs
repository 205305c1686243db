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
        let globals = |types: &KernelTypes| {
            let mut globals = Self::globals(types)?;
            globals.push(("NETNS_INUM", netns_inum));
            Ok(globals)
        };
        RecordIterator::load(KIND, globals).map(Self)
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

    /// Passes every such socket to `each`, with the key of its namespace: once for each descriptor, but
    /// [`HeldSocket::InOtherState`] once for those of a namespace that follow one another.
    ///
    /// # Errors
    /// [`IterError`], after the sockets before the error.
    pub(crate) fn each_socket(
        &mut self,
        mut each: impl FnMut(NetnsKey, HeldSocket),
    ) -> Result<(), IterError> {
        self.0.each_decoded(decode, |(key, socket)| each(key, socket))
    }
}

/// `None` for a record that is too short.
pub(super) fn decode(bytes: &[u8]) -> Option<(NetnsKey, HeldSocket)> {
    let (netns_key, rest) = bytes.split_first_chunk()?;
    let (close_wait, listener) = rest.split_at_checked(size_of::<CloseWaitRecord>())?;
    let (close_wait, listener) = (close_wait::decode(close_wait)?, listeners::decode(listener)?);
    let socket = match (close_wait.skaddr, listener.skaddr) {
        (0, 0) => HeldSocket::InOtherState,
        (_, 0) => HeldSocket::CloseWait(close_wait),
        _ => HeldSocket::Listener(listener),
    };
    Some((u64::from_ne_bytes(*netns_key), socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(numbers: [u64; 4], listener: u64) -> Vec<u8> {
        let mut bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_ne_bytes).collect();
        bytes.extend(listener.to_ne_bytes());
        bytes.resize(size_of::<HeldRecord>(), 0);
        bytes
    }

    #[test]
    fn a_record_is_a_listener_or_a_socket_in_close_wait_if_it_has_one() {
        let listener = ListenerRecord { skaddr: 5, ..ListenerRecord::default() };
        let decoded = Some((7, HeldSocket::Listener(listener)));
        assert_eq!(decode(&bytes([7, 0, 0, 0], 5)), decoded);

        assert_eq!(decode(&bytes([7, 0, 0, 0], 0)), Some((7, HeldSocket::InOtherState)));

        let times = u64::from_ne_bytes([1, 0, 0, 0, 2, 0, 0, 0]);
        let bytes = bytes([7, 3, 4, times], 0);
        let socket = CloseWaitRecord { skaddr: 3, now: 4, heard: 1, received: 2 };
        assert_eq!(decode(&bytes), Some((7, HeldSocket::CloseWait(socket))));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
