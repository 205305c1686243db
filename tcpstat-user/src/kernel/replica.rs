//! The counters without a tracer, to measure what reading them costs.

use std::io;

use super::counters::Counters;
use crate::transitions::Transitions;

/// Rows as the tracer has them, in memory of this process that nothing changes.
#[derive(Debug)]
pub struct CountersReplica(Counters);

impl CountersReplica {
    /// Rows for the slots below `slots`, each with those of the CPU ids below `cpus`.
    ///
    /// # Errors
    /// The error of mmap(2).
    pub fn new(slots: usize, cpus: usize) -> io::Result<Self> {
        Counters::replica(slots, cpus).map(Self)
    }

    /// Reads each slot as a scrape does.
    pub fn read(&self) -> impl Iterator<Item = Transitions> {
        self.0.slots().map(|slot| self.0.read(slot))
    }
}
