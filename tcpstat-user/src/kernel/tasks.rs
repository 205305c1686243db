//! The processes of this host with their network namespaces and cgroups, by the BPF iterator over tasks.

use aya::{Btf, Ebpf};
use tcpstat_ebpf::{Reader, TaskRecord};
use tracing::debug;

use super::{
    btf::{BtfError, KernelTypes},
    error::LoadError,
    iterator::{IterError, Kind, RecordIterator},
    layout::{self, Globals},
};

/// The loaded iterator. It lists the processes of this process' PID namespace, nested ones included.
pub(crate) struct TaskIterator {
    iterator: RecordIterator,
    /// What [`TaskRecord::pid`] is.
    pub(crate) ids: ProcessIds,
}

/// The PID namespace of a process id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessIds {
    /// The initial one, whose ids the kernel itself uses.
    Initial,
    /// The one that is so many levels above that of this process: 0 is its own.
    LevelsUp(u32),
}

const KIND: Kind =
    Kind { name: "task", symbol: "tcpstat_tasks", record_bytes: size_of::<TaskRecord>() };

impl TaskIterator {
    /// Loads the program. It needs CAP_BPF and CAP_PERFMON. [`TaskIterator::ids`] are [`ProcessIds::Initial`] where
    /// the kernel refuses to read others.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    pub(crate) fn load(ids: ProcessIds) -> Result<Self, LoadError> {
        match Self::load_with(ids) {
            Err(error) if ids != ProcessIds::Initial => {
                debug!("iter/task reads process ids of the initial PID namespace: {error}");
                Self::load_with(ProcessIds::Initial)
            }
            loaded => loaded,
        }
    }

    fn load_with(ids: ProcessIds) -> Result<Self, LoadError> {
        Ok(Self { iterator: RecordIterator::load(KIND, |types| Self::globals(types, ids))?, ids })
    }

    pub(super) fn globals(types: &KernelTypes, ids: ProcessIds) -> Result<Globals, BtfError> {
        let mut globals = layout::offsets(types, Reader::Tasks)?;
        globals.extend(layout::netns_key(types));
        if let ProcessIds::LevelsUp(levels) = ids {
            globals.extend(layout::nested_pids(types, levels)?);
        }
        Ok(globals)
    }

    /// As [`RecordIterator::load_from`].
    pub(super) fn load_from(
        ebpf: &mut Ebpf,
        btf: &Btf,
        ids: ProcessIds,
    ) -> Result<Self, LoadError> {
        Ok(Self { iterator: RecordIterator::load_from(ebpf, KIND, btf)?, ids })
    }

    /// Passes every process to `each`, in the order of the ids. A process that ends meanwhile can be missing, and
    /// so can one that changes its namespace.
    ///
    /// # Errors
    /// [`IterError`], after the processes before the error.
    pub(crate) fn each_process(&mut self, each: impl FnMut(TaskRecord)) -> Result<(), IterError> {
        self.iterator.each_decoded(decode, each)
    }
}

/// `None` for a record that is too short.
pub(super) fn decode(bytes: &[u8]) -> Option<TaskRecord> {
    let (netns_key, rest) = bytes.split_first_chunk()?;
    let (cgroup, rest) = rest.split_first_chunk()?;
    let (netns_inum, rest) = rest.split_first_chunk()?;
    let (pid, _) = rest.split_first_chunk()?;
    Some(TaskRecord {
        netns_key: u64::from_ne_bytes(*netns_key),
        cgroup: u64::from_ne_bytes(*cgroup),
        netns_inum: u32::from_ne_bytes(*netns_inum),
        pid: u32::from_ne_bytes(*pid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_decodes_to_the_task_that_the_iterator_wrote() {
        let task = TaskRecord { netns_key: 4097, cgroup: 1 << 40, netns_inum: 0xf000_0001, pid: 7 };
        let mut bytes = task.netns_key.to_ne_bytes().to_vec();
        bytes.extend(task.cgroup.to_ne_bytes());
        bytes.extend(task.netns_inum.to_ne_bytes());
        bytes.extend(task.pid.to_ne_bytes());
        assert_eq!(bytes.len(), size_of::<TaskRecord>());
        assert_eq!(decode(&bytes), Some(task));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
