//! Reads the sockets that processes hold.

use std::time::Duration;

use super::listed::{Listed, Parts};
use crate::{
    clock,
    kernel::{HeldIterator, IterError},
    tracker::reader_thread::ListError,
};

/// What a reading has listed, and its CPU time without that of loading the iterator.
pub(super) struct Reading {
    pub(super) listed: Listed,
    pub(super) cpu: Duration,
}

/// What a reading needs.
pub(super) struct Source {
    /// Loaded at the first reading if it is `None`.
    pub(super) iterator: Option<HeldIterator>,
    pub(super) netns_inum: u32,
    pub(super) parts: Parts,
}

impl Source {
    /// Lists the sockets.
    ///
    /// # Errors
    /// [`ListError::Iterator`].
    pub(super) fn read(&mut self) -> Result<Reading, ListError> {
        let mut iterator = match self.iterator.take() {
            Some(iterator) => iterator,
            None => HeldIterator::load(self.netns_inum).map_err(IterError::from)?,
        };
        let cpu = clock::thread_cpu();
        let mut listed = Listed::default();
        iterator.each_socket(|netns, socket| listed.add(netns, &socket, self.parts))?;
        self.iterator = Some(iterator);
        Ok(Reading { listed, cpu: clock::thread_cpu().saturating_sub(cpu) })
    }
}
