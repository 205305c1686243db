//! Snapshots by the BPF iterator over TCP sockets. Its records are binary and have the kernel's addresses of the sockets.

use aya::{Btf, Ebpf};
use tcpstat_ebpf::{Reader, SOCKET_BYTES_WITHOUT_CGROUP, SocketRecord};

use super::{
    btf::{BtfError, KernelTypes},
    error::LoadError,
    iterator::{IterError, Kind as IteratorKind, Record, RecordIterator},
    layout::{self, Globals},
};
use crate::{
    snapshot::{Identity, Kind, Row, RowSink, Tuple},
    states::{Family, State},
};

/// The loaded iterator. It lists the TCP sockets of this process' network namespace.
pub(crate) struct SocketIterator(RecordIterator);

impl SocketIterator {
    /// Loads the program.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    pub(crate) fn load() -> Result<Self, LoadError> {
        Self::load_with(false)
    }

    /// As [`SocketIterator::load`]; the rows of full sockets have their cgroup if `cgroups` asks for it.
    ///
    /// # Errors
    /// As [`SocketIterator::load`].
    pub(crate) fn load_with(cgroups: bool) -> Result<Self, LoadError> {
        RecordIterator::load(kind(cgroups), |types| Self::globals(types, cgroups)).map(Self)
    }

    pub(super) fn globals(types: &KernelTypes, cgroups: bool) -> Result<Globals, BtfError> {
        let mut globals = layout::offsets(types, Reader::Iterator)?;
        if cgroups {
            globals.extend(layout::cgroup_member(types)?);
        }
        Ok(globals)
    }

    /// As [`RecordIterator::load_from`].
    pub(super) fn load_from(ebpf: &mut Ebpf, btf: &Btf, cgroups: bool) -> Result<Self, LoadError> {
        RecordIterator::load_from(ebpf, kind(cgroups), btf).map(Self)
    }

    /// Passes every socket of both families to `sink`: full sockets, mini-sockets and requests.
    ///
    /// # Errors
    /// [`IterError`]. `sink` has the rows before the error.
    pub(crate) fn each_socket(&mut self, sink: &mut impl RowSink) -> Result<(), IterError> {
        self.0.each_record(|record| match record {
            Record::Read => sink.listed(),
            Record::Bytes(bytes) => {
                if let Some(row) = decode(bytes) {
                    sink.row(&row);
                }
            }
        })
    }
}

fn kind(cgroups: bool) -> IteratorKind {
    let record_bytes =
        if cgroups { size_of::<SocketRecord>() } else { SOCKET_BYTES_WITHOUT_CGROUP };
    IteratorKind { name: "tcp", symbol: "tcpstat_iter", record_bytes }
}

/// `None` for a record that is too short, or has an unknown family or state.
pub(super) fn decode(bytes: &[u8]) -> Option<Row> {
    let (skaddr, rest) = bytes.split_first_chunk()?;
    let (receive_queue, rest) = rest.split_first_chunk()?;
    let (send_queue, rest) = rest.split_first_chunk()?;
    let (&[family, state, substate, _], rest) = rest.split_first_chunk()?;
    let (sport, rest) = rest.split_first_chunk()?;
    let (dport, rest) = rest.split_first_chunk()?;
    let (saddr, rest) = rest.split_first_chunk()?;
    let (daddr, rest) = rest.split_first_chunk()?;
    let cgroup = rest.first_chunk().map_or(0, |cgroup| u64::from_ne_bytes(*cgroup));
    let kind = match State::from_number(state)? {
        State::TimeWait if substate == State::FinWait2.number() => Kind::FinWait2Mini,
        state => Kind::in_state(state),
    };
    let family = Family::from_index(family)?;
    let (sport, dport) = (u16::from_ne_bytes(*sport), u16::from_ne_bytes(*dport));
    let tuple = Tuple { family, saddr: *saddr, sport, daddr: *daddr, dport };
    Some(Row {
        family,
        identity: Identity::Address { skaddr: u64::from_ne_bytes(*skaddr), tuple },
        kind,
        receive_queue: u32::from_ne_bytes(*receive_queue),
        send_queue: u32::from_ne_bytes(*send_queue),
        sport,
        cgroup,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(family: u8, state: u8, substate: u8) -> Vec<u8> {
        let mut bytes = 0xffff_8880_1234_5678_u64.to_ne_bytes().to_vec();
        bytes.extend(3_u32.to_ne_bytes());
        bytes.extend(5_u32.to_ne_bytes());
        bytes.extend([family, state, substate, 0]);
        bytes.extend(8080_u16.to_ne_bytes());
        bytes.extend(443_u16.to_ne_bytes());
        bytes.extend([1; 16]);
        bytes.extend([2; 16]);
        bytes
    }

    #[test]
    fn a_record_decodes_to_the_row_that_the_iterator_wrote() {
        assert_eq!(record(0, 1, 0).len(), SOCKET_BYTES_WITHOUT_CGROUP);
        let row = decode(&record(1, 8, 0)).unwrap();
        let (saddr, daddr) = ([1; 16], [2; 16]);
        let tuple = Tuple { family: Family::Ipv6, saddr, sport: 8080, daddr, dport: 443 };
        let skaddr = 0xffff_8880_1234_5678;
        assert_eq!(row.identity, Identity::Address { skaddr, tuple });
        assert_eq!((row.family, row.kind), (Family::Ipv6, Kind::Full(State::CloseWait)));
        assert_eq!((row.receive_queue, row.send_queue), (3, 5));
        assert_eq!((row.sport, row.cgroup), (8080, 0));
        let with_cgroup = [record(1, 8, 0), 4711_u64.to_ne_bytes().to_vec()].concat();
        assert_eq!(with_cgroup.len(), size_of::<SocketRecord>());
        assert_eq!(decode(&with_cgroup).unwrap(), Row { cgroup: 4711, ..row });
    }

    #[test]
    fn state_and_substate_determine_the_kind() {
        let kind = |state, substate| decode(&record(0, state, substate)).map(|row| row.kind);
        assert_eq!(kind(6, 6), Some(Kind::TimeWait));
        assert_eq!(kind(6, 5), Some(Kind::FinWait2Mini));
        assert_eq!(kind(12, 0), Some(Kind::Request));
        assert_eq!(kind(3, 0), Some(Kind::Full(State::SynRecv)));
        assert_eq!(kind(5, 0), Some(Kind::Full(State::FinWait2)));
        assert_eq!(kind(0, 0), None);
        assert_eq!(decode(&record(2, 1, 0)), None);
    }
}
