//! Snapshots by the BPF iterator over TCP sockets. Its records are binary and have socket addresses.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use aya::{
    Btf, Ebpf,
    programs::{Iter, ProgramError, links::LinkError},
};
use nix::errno::Errno;
use tcpstat_ebpf::{Reader, SocketRecord};
use thiserror::Error;

use super::{
    btf::KernelTypes,
    error::{LoadError, refusal},
    layout,
    load::{KERNEL_BTF, OBJECT, loader},
    memory::release_memory,
    remedy::is_temporary,
    step::{Attachment, Step},
};
use crate::{
    procfs::Privileges,
    snapshot::{Identity, Kind, Row, RowSink},
    states::{Family, State},
};

/// The loaded iterator. It lists the TCP sockets of this process' network namespace.
pub(crate) struct SocketIterator {
    ebpf: Ebpf,
}

/// Why a snapshot by the iterator failed.
#[derive(Debug, Error)]
pub(crate) enum IterError {
    /// The iterator could not be opened.
    #[error(transparent)]
    Open(#[from] LoadError),
    /// The kernel did not return all records.
    #[error("reading iter/tcp: {0}")]
    Read(#[source] io::Error),
}

impl IterError {
    /// Cause and remedy in one line. The remedy asks for nothing that `privileges` already have.
    #[must_use]
    pub(crate) fn with_remedy(&self, privileges: &Privileges) -> String {
        match self {
            Self::Open(error) => error.with_remedy(privileges),
            Self::Read(_) => self.to_string(),
        }
    }

    /// Whether the next snapshot can succeed: the kernel lacked memory or descriptors.
    #[must_use]
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Open(error) => error.is_temporary(),
            Self::Read(error) => {
                error.raw_os_error().is_some_and(|errno| is_temporary(Errno::from_raw(errno)))
            }
        }
    }
}

impl SocketIterator {
    /// Loads the program.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    pub(crate) fn load() -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let types = KernelTypes::read(Path::new(KERNEL_BTF))?;
        let globals = layout::offsets(&types, Reader::Iterator)?;
        drop(types);
        let mut loader = loader(&globals);
        // The iterator does not use this map, so it gets the minimum size.
        loader.map_max_entries("EVENTS", 4096);
        let mut ebpf =
            loader.load(OBJECT).map_err(|error| refusal(Step::CreateMaps, error.into()))?;
        let btf = Btf::from_sys_fs().map_err(|error| refusal(Step::ReadTypes, error.into()))?;
        program(&mut ebpf)
            .ok_or(LoadError::WrongObject(SYMBOL))?
            .load("tcp", &btf)
            .map_err(|error| refusal(Step::Load(Attachment::Iterator), error.into()))?;
        drop(btf);
        release_memory();
        Ok(Self { ebpf })
    }

    /// Passes every socket of both families to `sink`: full sockets, mini-sockets and requests.
    ///
    /// # Errors
    /// [`IterError`]. `sink` has the rows before the error.
    pub(crate) fn each_socket(&mut self, sink: &mut impl RowSink) -> Result<(), IterError> {
        let mut file = self.open()?;
        // The kernel returns at most eight pages at once.
        let mut buffer = vec![0; 64 * 1024];
        let mut filled = 0;
        loop {
            let count = match file.read(&mut buffer[filled..]) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                // The kernel returns EAGAIN after a million objects without output.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(IterError::Read(error)),
            };
            sink.listed();
            filled += count;
            let records = buffer[..filled].chunks_exact(size_of::<SocketRecord>());
            let rest = records.remainder().len();
            for row in records.filter_map(decode) {
                sink.row(&row);
            }
            buffer.copy_within(filled - rest..filled, 0);
            filled = rest;
        }
    }

    fn open(&mut self) -> Result<File, IterError> {
        let opened =
            |error: ProgramError| refusal(Step::Attach(Attachment::Iterator), error.into());
        let program = program(&mut self.ebpf).ok_or(LoadError::WrongObject(SYMBOL))?;
        let link = program.attach().and_then(|id| program.take_link(id)).map_err(opened)?;
        let created = link.into_file();
        let refused = |error: LinkError| refusal(Step::Attach(Attachment::Iterator), error.into());
        Ok(created.map_err(refused)?)
    }
}

const SYMBOL: &str = "tcpstat_iter";

fn program(ebpf: &mut Ebpf) -> Option<&mut Iter> {
    ebpf.program_mut(SYMBOL)?.try_into().ok()
}

/// `None` for a record that is too short, or has an unknown family or state.
fn decode(bytes: &[u8]) -> Option<Row> {
    let (skaddr, rest) = bytes.split_first_chunk()?;
    let (receive_queue, rest) = rest.split_first_chunk()?;
    let (send_queue, rest) = rest.split_first_chunk()?;
    let &[family, state, substate, ..] = rest else { return None };
    let kind = match State::from_number(state)? {
        State::TimeWait if substate == State::FinWait2.number() => Kind::FinWait2Mini,
        state => Kind::in_state(state),
    };
    Some(Row {
        family: Family::from_index(family)?,
        identity: Identity::Address(u64::from_ne_bytes(*skaddr)),
        kind,
        receive_queue: u32::from_ne_bytes(*receive_queue),
        send_queue: u32::from_ne_bytes(*send_queue),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(family: u8, state: u8, substate: u8) -> Vec<u8> {
        let mut bytes = 0xffff_8880_1234_5678_u64.to_ne_bytes().to_vec();
        bytes.extend(3_u32.to_ne_bytes());
        bytes.extend(5_u32.to_ne_bytes());
        bytes.extend([family, state, substate, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_record_decodes_to_the_row_that_the_iterator_wrote() {
        assert_eq!(record(0, 1, 0).len(), size_of::<SocketRecord>());
        let row = decode(&record(1, 8, 0)).unwrap();
        assert_eq!(row.identity, Identity::Address(0xffff_8880_1234_5678));
        assert_eq!((row.family, row.kind), (Family::Ipv6, Kind::Full(State::CloseWait)));
        assert_eq!((row.receive_queue, row.send_queue), (3, 5));
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
