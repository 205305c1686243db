//! The sockets in CLOSE_WAIT, by a BPF iterator over TCP sockets.

use aya::{Btf, Ebpf};
use tcpstat_ebpf::{CloseWaitRecord, Reader};

use super::{
    btf::{BtfError, KernelTypes},
    error::LoadError,
    iterator::{IterError, Kind, RecordIterator},
    layout::{self, Globals},
};

/// The loaded iterator. It lists the sockets of this process' network namespace.
pub(crate) struct CloseWaitIterator(RecordIterator);

const KIND: Kind =
    Kind { name: "tcp", symbol: "tcpstat_close_wait", record_bytes: size_of::<CloseWaitRecord>() };

impl CloseWaitIterator {
    /// Loads the program.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    pub(crate) fn load() -> Result<Self, LoadError> {
        RecordIterator::load(KIND, Self::globals).map(Self)
    }

    pub(super) fn globals(types: &KernelTypes) -> Result<Globals, BtfError> {
        layout::offsets(types, Reader::CloseWait)
    }

    /// As [`RecordIterator::load_from`].
    pub(super) fn load_from(ebpf: &mut Ebpf, btf: &Btf) -> Result<Self, LoadError> {
        RecordIterator::load_from(ebpf, KIND, btf).map(Self)
    }

    /// Passes every socket in CLOSE_WAIT to `each`, of both families.
    ///
    /// # Errors
    /// [`IterError`], after the sockets before the error.
    pub(crate) fn each_socket(
        &mut self,
        mut each: impl FnMut(&CloseWaitRecord),
    ) -> Result<(), IterError> {
        self.0.each_decoded(decode, |socket| each(&socket))
    }
}

/// `None` for a record that is too short.
pub(super) fn decode(bytes: &[u8]) -> Option<CloseWaitRecord> {
    let (skaddr, rest) = bytes.split_first_chunk()?;
    let (now, rest) = rest.split_first_chunk()?;
    let (heard, rest) = rest.split_first_chunk()?;
    let (received, _) = rest.split_first_chunk()?;
    Some(CloseWaitRecord {
        skaddr: u64::from_ne_bytes(*skaddr),
        now: u64::from_ne_bytes(*now),
        heard: u32::from_ne_bytes(*heard),
        received: u32::from_ne_bytes(*received),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_decodes_to_the_socket_that_the_iterator_wrote() {
        let socket = CloseWaitRecord {
            skaddr: 0xffff_8880_1234_5678,
            now: 5 << 32,
            heard: 0xfffe_dcba,
            received: 4711,
        };
        let mut bytes = socket.skaddr.to_ne_bytes().to_vec();
        bytes.extend(socket.now.to_ne_bytes());
        bytes.extend(socket.heard.to_ne_bytes());
        bytes.extend(socket.received.to_ne_bytes());
        assert_eq!(bytes.len(), size_of::<CloseWaitRecord>());
        assert_eq!(decode(&bytes), Some(socket));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
