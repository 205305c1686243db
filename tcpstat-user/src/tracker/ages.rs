//! Reads the ages of sockets in CLOSE_WAIT: when, by which iterator, and what the last reading has shown.

use std::time::Instant;

use tracing::{debug, info, warn};

use super::attempts::{LastFailure, retry_at};
use crate::{
    ages::{AgeTable, CloseWaitAges, TickRate},
    clock,
    kernel::{CloseWaitIterator, IterError},
    procfs::Privileges,
};

/// The most sockets whose first reading is kept. They take 5 MB.
pub(super) const MAX_SOCKETS: usize = 100_000;

/// The readings of ages, in this process's network namespace.
pub(super) struct AgeReader {
    iterator: Option<CloseWaitIterator>,
    rate: TickRate,
    table: AgeTable,
    /// What the last reading has shown; `None` if it failed.
    ages: Option<CloseWaitAges>,
    share: Option<u32>,
    /// When another reading may begin; `None` after a failure that lasts.
    next: Option<Instant>,
    last_failure: LastFailure,
}

impl AgeReader {
    /// If there is a `share`, readings take at most this fraction of one CPU: 1 / `share`. Loads the iterator at the
    /// first reading if there is none.
    pub(super) fn new(
        rate: TickRate,
        share: Option<u32>,
        iterator: Option<CloseWaitIterator>,
    ) -> Self {
        Self {
            iterator,
            rate,
            share,
            table: AgeTable::new(rate, MAX_SOCKETS),
            ages: None,
            next: Some(Instant::now()),
            last_failure: LastFailure::default(),
        }
    }

    /// What the last reading has shown, and what it measured in; `None` without one.
    pub(super) fn ages(&self) -> Option<(CloseWaitAges, TickRate)> {
        Some((self.ages?, self.rate))
    }

    /// Reads the ages, unless the last reading was too costly to do it again now. `listed` is how many a snapshot has
    /// just found in CLOSE_WAIT, if there was one: without any, and with an empty table, there is nothing to read.
    pub(super) fn read(&mut self, listed: Option<u64>) {
        let Some(next) = self.next else { return };
        if listed == Some(0) && self.table.is_empty() {
            self.ages = Some(CloseWaitAges::default());
            return;
        }
        if Instant::now() < next {
            return;
        }
        match self.read_now() {
            Ok(ages) => {
                self.ages = Some(ages);
                if self.last_failure.is_over() {
                    info!("the ages of sockets in CLOSE_WAIT are known again");
                }
            }
            Err(error) => self.fail(&error),
        }
    }

    fn read_now(&mut self) -> Result<CloseWaitAges, IterError> {
        let mut iterator = match self.iterator.take() {
            Some(iterator) => iterator,
            None => CloseWaitIterator::load()?,
        };
        let (begin, cpu) = (Instant::now(), clock::thread_cpu());
        let mut reading = self.table.begin();
        iterator.each_socket(|socket| reading.see(socket))?;
        let ages = reading.end();
        let cpu = clock::thread_cpu().saturating_sub(cpu);
        debug!(?ages, ?cpu, "read the ages of sockets in CLOSE_WAIT");
        self.iterator = Some(iterator);
        self.next = Some(begin + cpu * self.share.unwrap_or(0));
        Ok(ages)
    }

    fn fail(&mut self, error: &IterError) {
        self.ages = None;
        self.next = retry_at(error.is_temporary());
        if !self.last_failure.is_new(&error.to_string()) {
            return;
        }
        error.write_kernel_log();
        let error = error.with_remedy(&Privileges::read());
        warn!("the ages of sockets in CLOSE_WAIT are not known: {error}");
    }
}
