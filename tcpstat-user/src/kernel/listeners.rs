//! The listening sockets, by a BPF iterator that reads nothing else.

use std::ops::ControlFlow;

use aya::{Btf, Ebpf};
use tcpstat_ebpf::{ListenerRecord, Reader};
use tracing::debug;

use super::{
    btf::{BtfError, KernelTypes},
    error::LoadError,
    iterator::{IterError, Kind, Record, RecordIterator},
    layout::{self, Globals},
};

/// The loaded iterator. It lists the listening sockets of this process' network namespace.
pub(crate) struct ListenerIterator {
    pub(super) iterator: RecordIterator,
    /// How many there were at the last reading.
    last: usize,
}

const KIND: Kind =
    Kind { name: "tcp", symbol: "tcpstat_listeners", record_bytes: size_of::<ListenerRecord>() };

impl ListenerIterator {
    /// Loads the program. [`ListenerRecord::cookie`] is 0 where the kernel refuses to give it.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    pub(crate) fn load() -> Result<Self, LoadError> {
        let iterator = match Self::load_with(true) {
            Err(error @ LoadError::Refused { .. }) if !error.is_temporary() => {
                debug!("listening sockets have no cookies: {error}");
                Self::load_with(false)
            }
            loaded => loaded,
        }?;
        Ok(Self { iterator, last: 0 })
    }

    fn load_with(cookies: bool) -> Result<RecordIterator, LoadError> {
        RecordIterator::load(KIND, |types| Self::globals(types, cookies))
    }

    /// `cookies`: whether to ask the kernel for [`ListenerRecord::cookie`].
    pub(super) fn globals(types: &KernelTypes, cookies: bool) -> Result<Globals, BtfError> {
        let mut globals = layout::offsets(types, Reader::Listeners)?;
        globals.push(("LISTENER_COOKIES", cookies.into()));
        Ok(globals)
    }

    /// As [`RecordIterator::load_from`].
    pub(super) fn load_from(ebpf: &mut Ebpf, btf: &Btf) -> Result<Self, LoadError> {
        let iterator = RecordIterator::load_from(ebpf, KIND, btf)?;
        Ok(Self { iterator, last: 0 })
    }

    /// Passes listening sockets to `each`, at most `max`. A socket that begins or ends to listen meanwhile can be
    /// missing; a socket can come twice.
    ///
    /// The kernel shows them before all others. One more than there were last time is asked for, so that it stops at
    /// the first socket that does not listen.
    ///
    /// # Errors
    /// [`IterError`], after the sockets before the error.
    pub(crate) fn each_listener(
        &mut self,
        max: usize,
        mut each: impl FnMut(&ListenerRecord),
    ) -> Result<(), IterError> {
        let mut listed = 0;
        let read = self.iterator.records_until(self.last + 1, |record| {
            let Record::Bytes(bytes) = record else { return ControlFlow::Continue(()) };
            match decode(bytes) {
                Some(listener) if listener.skaddr != 0 && listed < max => {
                    listed += 1;
                    each(&listener);
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Break(()),
            }
        });
        self.last = listed;
        read
    }
}

/// `None` for a record that is too short.
pub(super) fn decode(bytes: &[u8]) -> Option<ListenerRecord> {
    let (skaddr, rest) = bytes.split_first_chunk()?;
    let (cookie, rest) = rest.split_first_chunk()?;
    let (address, rest) = rest.split_first_chunk()?;
    let (queue_length, rest) = rest.split_first_chunk()?;
    let (queue_limit, rest) = rest.split_first_chunk()?;
    let (half_open, rest) = rest.split_first_chunk()?;
    let (drops, rest) = rest.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let (&family, rest) = rest.split_first()?;
    let (&reserved, _) = rest.split_first_chunk()?;
    Some(ListenerRecord {
        skaddr: u64::from_ne_bytes(*skaddr),
        cookie: u64::from_ne_bytes(*cookie),
        address: *address,
        queue_length: u32::from_ne_bytes(*queue_length),
        queue_limit: u32::from_ne_bytes(*queue_limit),
        half_open: u32::from_ne_bytes(*half_open),
        drops: u32::from_ne_bytes(*drops),
        port: u16::from_ne_bytes(*port),
        family,
        reserved,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_decodes_to_the_listener_that_the_iterator_wrote() {
        let listener = ListenerRecord {
            skaddr: 0xffff_8880_1234_5678,
            cookie: 1 << 33,
            address: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            queue_length: 17,
            queue_limit: 128,
            half_open: 3,
            drops: 1_000_000,
            port: 8080,
            family: 1,
            reserved: [0; 5],
        };
        let mut bytes = listener.skaddr.to_ne_bytes().to_vec();
        bytes.extend(listener.cookie.to_ne_bytes());
        bytes.extend(listener.address);
        for number in
            [listener.queue_length, listener.queue_limit, listener.half_open, listener.drops]
        {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(listener.port.to_ne_bytes());
        bytes.extend([listener.family, 0, 0, 0, 0, 0]);
        assert_eq!(bytes.len(), size_of::<ListenerRecord>());
        assert_eq!(decode(&bytes), Some(listener));
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
    }
}
