//! How long sockets are in the states that the user chooses: carries the counts from one tracer to the next, and removes
//! the entries of sockets whose end the tracer has missed.

use std::{collections::HashSet, sync::Arc, time::Instant};

use thiserror::Error;
use tracing::{debug, info, warn};

use super::attempts::{LastFailure, retry_at};
use crate::{
    clock,
    dwell::{DwellStates, Dwells},
    kernel::{Counters, DwellIterator, DwellMap, DwellMapError, IterError},
    procfs::Privileges,
};

/// What a scrape needs of dwells besides the counters.
#[derive(Clone, Debug)]
pub(crate) struct PublishedDwells {
    /// The states that are measured.
    pub(crate) states: DwellStates,
    /// What earlier tracers have counted.
    carried: Arc<Dwells>,
}

impl PublishedDwells {
    /// What has been counted since the start, by `counters` and by those before.
    pub(crate) fn read(&self, counters: &Counters) -> Option<Dwells> {
        Some(self.carried.plus(&counters.read_dwells()?))
    }
}

/// The dwells of the own namespace.
pub(super) struct DwellReader {
    states: DwellStates,
    carried: Arc<Dwells>,
    iterator: Option<DwellIterator>,
    share: Option<u32>,
    /// The addresses with an entry at which the last cleaning found no socket.
    suspects: HashSet<u64>,
    /// When another cleaning may begin; `None` after a failure that lasts.
    next: Option<Instant>,
    last_failure: LastFailure,
}

#[derive(Debug, Error)]
enum CleaningError {
    #[error(transparent)]
    Map(#[from] DwellMapError),
    #[error("iter/tcp: {}", .0.with_remedy(&Privileges::read()))]
    Iterator(#[from] IterError),
}

impl DwellReader {
    /// If there is a `share`, cleanings take at most this fraction of the time: 1 / `share`. Loads the iterator at the
    /// first cleaning if there is none.
    pub(super) fn new(
        states: DwellStates,
        share: Option<u32>,
        iterator: Option<DwellIterator>,
    ) -> Self {
        Self {
            states,
            share,
            iterator,
            carried: Arc::default(),
            suspects: HashSet::new(),
            next: Some(Instant::now()),
            last_failure: LastFailure::default(),
        }
    }

    pub(super) fn published(&self) -> PublishedDwells {
        PublishedDwells { states: self.states, carried: Arc::clone(&self.carried) }
    }

    /// Continues with the counters of another tracer. Sockets that are in a state now are not counted when they leave it:
    /// the new tracer has not seen them enter.
    pub(super) fn carry_over(&mut self, old: &Counters, new: &Counters) {
        // The new ones are read first, as for transitions: the sum never decreases.
        let to = new.read_dwells();
        if let Some((from, to)) = old.read_dwells().zip(to) {
            self.carried = Arc::new(self.carried.plus(&from).since(&to));
        }
        self.suspects.clear();
    }

    /// Removes the entries of sockets that are in none of the states, unless the last cleaning was too costly to do it again
    /// now.
    pub(super) fn clean(&mut self, map: &mut DwellMap) {
        if self.next.is_none_or(|next| Instant::now() < next) {
            return;
        }
        let begin = Instant::now();
        match self.clean_now(map) {
            Ok(removed) => {
                let duration = begin.elapsed();
                if removed > 0 {
                    debug!(removed, ?duration, "removed dwells of sockets whose end was missed");
                }
                self.next = Some(begin + duration * self.share.unwrap_or(0));
                if self.last_failure.is_over() {
                    info!("--dwell: sockets whose end was missed are removed again");
                }
            }
            Err(error) => self.note_failure(&error),
        }
    }

    /// Removes an entry if the iterator shows no socket there, now and at the last cleaning: before 5.15 it can leave out a
    /// socket, and it shows one in SYN_SENT only when that has a port.
    fn clean_now(&mut self, map: &mut DwellMap) -> Result<usize, CleaningError> {
        let time = clock::kernel_nanoseconds();
        let mut unlisted: HashSet<u64> = map.addresses()?.into_iter().collect();
        if !unlisted.is_empty() {
            let iterator = match &mut self.iterator {
                Some(iterator) => iterator,
                iterator => {
                    iterator.insert(DwellIterator::load(self.states).map_err(IterError::from)?)
                }
            };
            iterator.each_address(|address| {
                unlisted.remove(&address);
            })?;
        }
        let mut removed = 0;
        for &address in unlisted.intersection(&self.suspects) {
            removed += usize::from(map.remove_older(address, time)?);
        }
        unlisted.retain(|address| !self.suspects.contains(address));
        unlisted.shrink_to_fit();
        self.suspects = unlisted;
        Ok(removed)
    }

    fn note_failure(&mut self, error: &CleaningError) {
        let temporary = match error {
            CleaningError::Map(error) => error.is_temporary(),
            CleaningError::Iterator(error) => error.is_temporary(),
        };
        self.iterator = None;
        self.next = retry_at(temporary);
        if let CleaningError::Iterator(error) = error {
            error.write_kernel_log();
        }
        if self.last_failure.is_new(&error.to_string()) {
            warn!("--dwell: sockets whose end was missed keep their place: {error}");
        }
    }
}
