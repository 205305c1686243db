//! The descriptors of TCP sockets of all network namespaces with their processes, by a BPF iterator over the files of all
//! processes.

use tcpstat_ebpf::{HolderRecord, Reader};
use tracing::debug;

use super::{
    btf::{BtfError, KernelTypes},
    error::LoadError,
    iterator::{IterError, Kind, RecordIterator},
    layout::{self, Globals},
    tasks::ProcessIds,
};

/// The loaded iterator. It lists what the processes of this process' PID namespace hold, nested ones included.
pub(crate) struct HolderIterator {
    iterator: RecordIterator,
    /// What [`HolderRecord::pid`] is.
    pub(crate) ids: ProcessIds,
}

const KIND: Kind =
    Kind { name: "task_file", symbol: "tcpstat_holders", record_bytes: size_of::<HolderRecord>() };

impl HolderIterator {
    /// Loads the program. It needs CAP_BPF, CAP_PERFMON, and Linux 5.11. [`HolderIterator::ids`] are
    /// [`ProcessIds::Initial`] where the kernel refuses to read others.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    pub(crate) fn load(ids: ProcessIds) -> Result<Self, LoadError> {
        match Self::load_with(ids) {
            Err(error) if ids != ProcessIds::Initial => {
                debug!("iter/task_file reads process ids of the initial PID namespace: {error}");
                Self::load_with(ProcessIds::Initial)
            }
            loaded => loaded,
        }
    }

    fn load_with(ids: ProcessIds) -> Result<Self, LoadError> {
        Ok(Self { iterator: RecordIterator::load(KIND, |types| Self::globals(types, ids))?, ids })
    }

    fn globals(types: &KernelTypes, ids: ProcessIds) -> Result<Globals, BtfError> {
        let mut globals = layout::offsets(types, Reader::Holders)?;
        if let ProcessIds::LevelsUp(levels) = ids {
            globals.extend(layout::offsets(types, Reader::NestedHolders)?);
            globals.extend(layout::nested_pids(types, levels)?);
        }
        Ok(globals)
    }

    /// Passes every descriptor of a TCP socket to `each`, in the order of the process ids.
    ///
    /// # Errors
    /// [`IterError`], after the descriptors before the error.
    pub(crate) fn each_descriptor(
        &mut self,
        each: impl FnMut(HolderRecord),
    ) -> Result<(), IterError> {
        self.iterator.each_decoded(decode, each)
    }
}

/// `None` for a record that is too short.
pub(super) fn decode(bytes: &[u8]) -> Option<HolderRecord> {
    let (skaddr, rest) = bytes.split_first_chunk()?;
    let (address, rest) = rest.split_first_chunk()?;
    let (now, rest) = rest.split_first_chunk()?;
    let (heard, rest) = rest.split_first_chunk()?;
    let (pid, rest) = rest.split_first_chunk()?;
    let (netns_inum, rest) = rest.split_first_chunk()?;
    let (queue_length, rest) = rest.split_first_chunk()?;
    let (queue_limit, rest) = rest.split_first_chunk()?;
    let (local_port, rest) = rest.split_first_chunk()?;
    let (remote_port, rest) = rest.split_first_chunk()?;
    let &[state, family, _, _] = rest.first_chunk()?;
    Some(HolderRecord {
        skaddr: u64::from_ne_bytes(*skaddr),
        address: *address,
        now: u32::from_ne_bytes(*now),
        heard: u32::from_ne_bytes(*heard),
        pid: u32::from_ne_bytes(*pid),
        netns_inum: u32::from_ne_bytes(*netns_inum),
        queue_length: u32::from_ne_bytes(*queue_length),
        queue_limit: u32::from_ne_bytes(*queue_limit),
        local_port: u16::from_ne_bytes(*local_port),
        remote_port: u16::from_ne_bytes(*remote_port),
        state,
        family,
        reserved: [0; 2],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_decodes_to_the_descriptor_that_the_iterator_wrote() {
        let record = HolderRecord {
            skaddr: 0xffff_8880_1234_5678,
            address: std::array::from_fn(|at| u8::try_from(at).unwrap()),
            now: 1,
            heard: 2,
            pid: 3,
            netns_inum: 0xf000_0001,
            queue_length: 4,
            queue_limit: 5,
            local_port: 6,
            remote_port: 7,
            state: 8,
            family: 1,
            reserved: [0; 2],
        };
        let mut bytes = record.skaddr.to_ne_bytes().to_vec();
        bytes.extend(record.address);
        for word in [1, 2, 3, 0xf000_0001, 4, 5_u32] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(6_u16.to_ne_bytes());
        bytes.extend(7_u16.to_ne_bytes());
        bytes.extend([8, 1, 0, 0]);
        assert_eq!(bytes.len(), size_of::<HolderRecord>());
        assert_eq!(decode(&bytes), Some(record));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
