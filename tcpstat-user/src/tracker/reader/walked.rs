//! What a walk shows of a namespace, as a snapshot.

use std::time::Duration;

use super::{LastSnapshot, Reader};
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

/// One snapshot and the sockstat sample after it, which are there already.
pub(in crate::tracker) struct Walked {
    /// `None` after it was taken.
    snapshot: Option<RewoundSnapshot>,
    sample: SockstatSample,
}

/// The audit needs another snapshot.
#[derive(Debug)]
pub(in crate::tracker) struct Undecided;

impl Reader {
    /// The sockets that processes have held since the counters of `slot`, in which `tracer` counts the namespace, were
    /// `before`. `None` if these are not all sockets, or have changed their states since.
    pub(in crate::tracker) fn walked(
        &mut self,
        tracer: &mut Tracer,
        slot: Slot,
        before: &Transitions,
        held: &Tally,
    ) -> Option<Walked> {
        let sample = self.traced(tracer, slot).sample();
        if !sample.shows_all(before, held) {
            return None;
        }
        let at_cut = AtCut { sockets: held.full, doubts: 0 };
        let snapshot =
            RewoundSnapshot { tally: *held, cut: before.clone(), at_cut, complete: true };
        Some(Walked { snapshot: Some(snapshot), sample })
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

impl World for Walked {
    type Error = Undecided;

    fn snapshot(&mut self) -> Result<RewoundSnapshot, Undecided> {
        self.snapshot.take().ok_or(Undecided)
    }

    fn sample(&mut self) -> SockstatSample {
        self.sample.clone()
    }

    fn check_repeatable(&self) -> Result<(), Undecided> {
        Err(Undecided)
    }

    /// There is nothing else to wait for.
    fn pause(&mut self) {}
}
