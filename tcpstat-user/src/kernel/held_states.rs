//! The TCP sockets of every state that processes hold in other network namespaces, by a BPF iterator over the files of all
//! processes.

use std::ops::ControlFlow;

use aya::{Btf, Ebpf};
use tcpstat_ebpf::{HeldStateRecord, Reader};

use super::{
    btf::{BtfError, KernelTypes},
    error::LoadError,
    held,
    iterator::{IterError, Kind, Record, RecordIterator},
    layout::{self, Globals},
    netns_slots::NetnsKey,
};
use crate::states::{Family, State};

/// The loaded iterator. It lists what [`HeldIterator`](super::HeldIterator) lists.
pub(crate) struct HeldStateIterator(RecordIterator);

/// A socket that a process holds, not in CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldState {
    /// Its network namespace.
    pub(crate) netns: NetnsKey,
    /// The kernel address of the socket.
    pub(crate) skaddr: u64,
    pub(crate) family: Family,
    /// `None` for a socket of MPTCP: the TCP sockets of its subflows are in no descriptor.
    pub(crate) state: Option<State>,
    /// Bytes received but not yet read; 0 for a listener.
    pub(crate) receive_queue: u32,
    /// Bytes written but not yet acknowledged; 0 for a listener.
    pub(crate) send_queue: u32,
    /// For a listener, its half-open requests; else 0.
    pub(crate) requests: u32,
}

const KIND: Kind = Kind {
    name: "task_file",
    symbol: "tcpstat_held_states",
    record_bytes: size_of::<HeldStateRecord>(),
};

impl HeldStateIterator {
    /// Loads the program. It needs Linux 5.12. `netns_inum` is the inode number of the own namespace.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    pub(crate) fn load(netns_inum: u32) -> Result<Self, LoadError> {
        held::load(KIND, netns_inum, Self::globals).map(Self)
    }

    /// What it needs besides `NETNS_INUM`.
    pub(super) fn globals(types: &KernelTypes) -> Result<Globals, BtfError> {
        let mut globals = layout::offsets(types, Reader::HeldStates)?;
        globals.extend(layout::netns_key(types));
        Ok(globals)
    }

    /// As [`RecordIterator::load_from`].
    pub(super) fn load_from(ebpf: &mut Ebpf, btf: &Btf) -> Result<Self, LoadError> {
        RecordIterator::load_from(ebpf, KIND, btf).map(Self)
    }

    /// Passes every such socket to `each`, once for each descriptor, until it breaks.
    ///
    /// # Errors
    /// [`IterError`], after the sockets before the error.
    pub(crate) fn each_socket(
        &mut self,
        mut each: impl FnMut(HeldState) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, IterError> {
        let mut ended = ControlFlow::Continue(());
        self.0.records_until(usize::MAX, |record| {
            if let Record::Bytes(bytes) = record
                && let Some(socket) = decode(bytes)
            {
                ended = each(socket);
            }
            ended
        })?;
        Ok(ended)
    }
}

/// `None` for a record that is too short, or has an unknown family or state.
pub(super) fn decode(bytes: &[u8]) -> Option<HeldState> {
    let (netns, rest) = bytes.split_first_chunk()?;
    let (skaddr, rest) = rest.split_first_chunk()?;
    let (receive_queue, rest) = rest.split_first_chunk()?;
    let (send_queue, rest) = rest.split_first_chunk()?;
    let (requests, rest) = rest.split_first_chunk()?;
    let (&[family, state], _) = rest.split_first_chunk()?;
    Some(HeldState {
        netns: u64::from_ne_bytes(*netns),
        skaddr: u64::from_ne_bytes(*skaddr),
        family: Family::from_index(family)?,
        state: if state == 0 { None } else { Some(State::from_number(state)?) },
        receive_queue: u32::from_ne_bytes(*receive_queue),
        send_queue: u32::from_ne_bytes(*send_queue),
        requests: u32::from_ne_bytes(*requests),
    })
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    fn record(family: u8, state: u8) -> Vec<u8> {
        let mut bytes = 7_u64.to_ne_bytes().to_vec();
        bytes.extend(0xffff_8880_1234_5678_u64.to_ne_bytes());
        for number in [3_u32, 5, 2] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend([family, state, 0, 0]);
        bytes
    }

    #[test]
    fn a_record_decodes_to_the_socket_that_the_iterator_wrote() {
        let socket = HeldState {
            netns: 7,
            skaddr: 0xffff_8880_1234_5678,
            family: Family::Ipv6,
            state: Some(State::CloseWait),
            receive_queue: 3,
            send_queue: 5,
            requests: 2,
        };
        let bytes = record(1, 8);
        assert_eq!(bytes.len(), size_of::<HeldStateRecord>());
        assert_eq!(decode(&bytes), Some(socket));
        assert_eq!(decode(&record(1, 0)), Some(HeldState { state: None, ..socket }));
        assert_eq!(decode(&record(2, 8)), None);
        assert_eq!(decode(&record(1, 0xff)), None);
        for length in 0..offset_of!(HeldStateRecord, reserved) {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
