//! What a walk shows of a namespace, as a snapshot.

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
pub(in crate::tracker) struct WalkedReader<'a> {
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
    pub(in crate::tracker) fn walked<'a>(
        &'a mut self,
        tracer: &'a mut Tracer,
        slot: Slot,
        before: &Transitions,
        held: &Tally,
    ) -> Option<WalkedReader<'a>> {
        let mut traced = self.traced(tracer, slot);
        if !traced.sample().shows_all(before, held) {
            return None;
        }
        let at_cut = AtCut { sockets: held.full, doubts: 0 };
        let snapshot =
            RewoundSnapshot { tally: *held, cut: before.clone(), at_cut, complete: true };
        Some(WalkedReader { traced, snapshot: Some(snapshot) })
    }

    /// Notes that the last snapshot is what a walk has shown. Its duration says nothing about that of a snapshot of its own,
    /// which bounds how often one is taken.
    pub(in crate::tracker) fn record_walk(&mut self, held: &Tally) {
        self.last = Some(LastSnapshot {
            source: SnapshotSource::Iter,
            tally: *held,
            fullest: None,
            finished: clock::now(),
            duration: self.last.as_ref().map_or(Duration::ZERO, |last| last.duration),
            limits: Limits::default(),
        });
    }
}

impl World for WalkedReader<'_> {
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
