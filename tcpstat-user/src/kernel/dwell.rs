//! Since when sockets are in the states whose dwell is measured: the map that the tracer keeps, and the sockets that are in
//! these states, by a BPF iterator.

use aya::{
    Btf, Ebpf,
    maps::{HashMap, MapData, MapError},
};
use nix::errno::Errno;
use tcpstat_ebpf::{DwellRecord, Reader, dwell_since};
use thiserror::Error;

use super::{
    btf::{BtfError, KernelTypes},
    error::{LoadError, refusal},
    iterator::{IterError, Kind, RecordIterator},
    layout::{self, Globals},
    remedy::is_temporary,
    step::Step,
};
use crate::dwell::{DwellChoice, DwellStates};

/// The map `DWELL_SINCE`, and how much fits into it.
pub(crate) struct DwellMap {
    map: HashMap<MapData, u64, u64>,
    max: u32,
}

/// Reading or changing the map failed.
#[derive(Debug, Error)]
#[error("{operation}: {cause}")]
pub(crate) struct DwellMapError {
    operation: &'static str,
    cause: MapError,
}

impl DwellMapError {
    /// Whether the same can succeed later: the kernel lacked memory or descriptors, or the map was busy.
    pub(crate) fn is_temporary(&self) -> bool {
        let errno = errno(&self.cause);
        errno.is_some_and(|errno| errno == Errno::EBUSY || is_temporary(errno))
    }
}

impl DwellMap {
    /// Takes the map of a loaded object; `None` if nothing is measured.
    ///
    /// # Errors
    /// [`LoadError`].
    pub(super) fn new(ebpf: &mut Ebpf, choice: DwellChoice) -> Result<Option<Self>, LoadError> {
        if !choice.any() {
            return Ok(None);
        }
        let map = ebpf.take_map(NAME).ok_or(LoadError::WrongObject(NAME))?;
        let map = HashMap::try_from(map);
        let map = map.map_err(|error| refusal(Step::CreateMaps, error.into()))?;
        Ok(Some(Self { map, max: choice.max }))
    }

    /// The addresses of the sockets that have an entry, in no order. Sockets that come or go meanwhile can be missing, and
    /// others can be there twice.
    ///
    /// Reads keys only: while a system call reads a value, the kernel skips programs of a classic tracepoint on its CPU.
    ///
    /// # Errors
    /// [`DwellMapError`].
    pub(crate) fn addresses(&self) -> Result<Vec<u64>, DwellMapError> {
        // A key that is removed meanwhile makes the kernel begin again.
        let most = self.max as usize * 2;
        let addresses: Result<Vec<_>, _> = self.map.keys().take(most).collect();
        addresses.map_err(|cause| DwellMapError { operation: "reading the entries", cause })
    }

    /// Removes the entry of a socket, if it was made before `time`, in nanoseconds of the kernel's clock. Returns whether it was there.
    ///
    /// # Errors
    /// [`DwellMapError`].
    pub(crate) fn remove_older(&mut self, address: u64, time: u64) -> Result<bool, DwellMapError> {
        let entry = match self.map.get(&address, 0) {
            Ok(entry) => entry,
            Err(MapError::KeyNotFound) => return Ok(false),
            Err(cause) => return Err(DwellMapError { operation: "reading an entry", cause }),
        };
        if dwell_since(entry) >= time {
            return Ok(false);
        }
        match self.map.remove(&address) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(cause) => Err(DwellMapError { operation: "removing an entry", cause }),
        }
    }
}

fn is_absent(error: &MapError) -> bool {
    matches!(error, MapError::KeyNotFound | MapError::ElementNotFound)
        || errno(error) == Some(Errno::ENOENT)
}

fn errno(error: &MapError) -> Option<Errno> {
    let MapError::SyscallError(error) = error else { return None };
    error.io_error.raw_os_error().map(Errno::from_raw)
}

const NAME: &str = "DWELL_SINCE";

/// The read-only globals of the programs that measure `choice`, in the rows of `slot`; none if nothing is measured.
pub(super) fn globals(choice: DwellChoice, slot: u32) -> Globals {
    if choice.any() {
        vec![("DWELL_STATES", choice.states.bits()), ("DWELL_SLOT", slot)]
    } else {
        Globals::new()
    }
}

/// The size of the map.
pub(super) fn map_size(choice: DwellChoice) -> Option<(&'static str, u32)> {
    choice.any().then_some((NAME, choice.max))
}

/// The loaded iterator. It lists the sockets of this process' network namespace.
pub(crate) struct DwellIterator(RecordIterator);

const KIND: Kind =
    Kind { name: "tcp", symbol: "tcpstat_dwell", record_bytes: size_of::<DwellRecord>() };

impl DwellIterator {
    /// Loads the program, for sockets in these states.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    pub(crate) fn load(states: DwellStates) -> Result<Self, LoadError> {
        let globals = |types: &KernelTypes| {
            let mut globals = Self::globals(types)?;
            globals.push(("DWELL_STATES", states.bits()));
            Ok(globals)
        };
        RecordIterator::load(KIND, globals).map(Self)
    }

    /// The globals of the iterator, without `DWELL_STATES`, which the tracer sets.
    pub(super) fn globals(types: &KernelTypes) -> Result<Globals, BtfError> {
        layout::offsets(types, Reader::Dwell)
    }

    /// As [`RecordIterator::load_from`].
    pub(super) fn load_from(ebpf: &mut Ebpf, btf: &Btf) -> Result<Self, LoadError> {
        RecordIterator::load_from(ebpf, KIND, btf).map(Self)
    }

    /// Passes the address of every socket in one of the states to `each`, of both families.
    ///
    /// # Errors
    /// [`IterError`], after the sockets before the error.
    pub(crate) fn each_address(&mut self, mut each: impl FnMut(u64)) -> Result<(), IterError> {
        self.0.each_decoded(decode, |socket| each(socket.skaddr))
    }
}

/// `None` for a record that is too short.
pub(super) fn decode(bytes: &[u8]) -> Option<DwellRecord> {
    let skaddr = bytes.first_chunk()?;
    Some(DwellRecord { skaddr: u64::from_ne_bytes(*skaddr) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_decodes_to_the_address_that_the_iterator_wrote() {
        let bytes = 0xffff_8880_1234_5678_u64.to_ne_bytes();
        assert_eq!(decode(&bytes), Some(DwellRecord { skaddr: 0xffff_8880_1234_5678 }));
        assert_eq!(decode(&bytes[..7]), None);
        assert_eq!(bytes.len(), size_of::<DwellRecord>());
    }

    #[test]
    fn without_a_state_nothing_is_set_and_no_memory_is_asked_for() {
        let none = DwellChoice { states: DwellStates::default(), max: 9 };
        assert!(globals(none, 3).is_empty());
        assert_eq!(map_size(none), None);
    }
}
