//! What processes hold in a namespace, as a snapshot.

use std::time::Duration;

use super::{LastSnapshot, Reader, TracedReader};
use crate::{
    clock,
    kernel::{Slot, Tracer},
    ledger::{
        audit::{RewoundSnapshot, World},
        rewind::AtCut,
        sockstat_sample::SockstatSample,
    },
    procfs::Limits,
    snapshot::{SnapshotSource, Tally},
    transitions::Transitions,
};

/// [`TracedReader`] with one snapshot, which is there already.
pub(in crate::tracker) struct TalliedReader<'a> {
    traced: TracedReader<'a>,
    /// `None` after it was taken.
    snapshot: Option<RewoundSnapshot>,
}

/// The audit needs another snapshot.
#[derive(Debug)]
pub(in crate::tracker) struct Undecided;

impl Reader {
    /// The reader with the tracer that counts its namespace in `slot`, and with the sockets that processes have held since
    /// its counters were `before`. `None` if these are not all sockets, or have changed their states since.
    pub(in crate::tracker) fn tallied<'a>(
        &'a mut self,
        tracer: &'a mut Tracer,
        slot: Slot,
        before: &Transitions,
        held: &Tally,
    ) -> Option<TalliedReader<'a>> {
        let mut traced = self.traced(tracer, slot);
        if !traced.sample().counts_just(before, held) {
            return None;
        }
        let at_cut = AtCut { sockets: held.full, doubts: 0 };
        let snapshot =
            RewoundSnapshot { tally: *held, cut: before.clone(), at_cut, complete: true };
        Some(TalliedReader { traced, snapshot: Some(snapshot) })
    }

    /// Notes that the last snapshot is what processes held. `duration` is that of the walk.
    pub(in crate::tracker) fn record_tally(&mut self, held: &Tally, duration: Duration) {
        self.last = Some(LastSnapshot {
            source: SnapshotSource::Iter,
            tally: *held,
            fullest: None,
            finished: clock::now(),
            duration,
            limits: Limits::default(),
        });
    }
}

impl World for TalliedReader<'_> {
    type Error = Undecided;

    fn snapshot(&mut self) -> Result<RewoundSnapshot, Undecided> {
        self.snapshot.take().ok_or(Undecided)
    }

    fn sample(&mut self) -> SockstatSample {
        self.traced.sample()
    }

    fn check_repeatable(&self) -> Result<(), Undecided> {
        Err(Undecided)
    }

    /// There is no other snapshot to wait for.
    fn pause(&mut self) {}
}
