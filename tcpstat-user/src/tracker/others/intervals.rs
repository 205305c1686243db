//! How often namespaces besides the own one are listed.

use std::time::Duration;

use super::{ActiveTracer, Namespace, Roots, Slot, SourceChoice, Sources};

/// Time between two snapshots of a namespace that the tracer counts, in intervals of the own namespace: five
/// minutes by default.
const SNAPSHOT_INTERVALS: u32 = 20;

/// Time between two snapshots of a namespace.
#[derive(Clone, Copy, Debug)]
pub(super) struct SnapshotIntervals {
    pub(super) calm: Duration,
    /// While the last one is outdated.
    pub(super) outdated: Duration,
}

impl SnapshotIntervals {
    /// `snapshot_interval` is that of the own namespace; `traced` says whether a tracer counts.
    pub(super) fn new(snapshot_interval: Duration, traced: bool) -> Self {
        let calm = snapshot_interval * if traced { SNAPSHOT_INTERVALS } else { 1 };
        Self { calm, outdated: snapshot_interval }
    }

    /// A namespace that `roots` list. `is_new`: see [`Namespace::begin`].
    pub(super) fn namespace(
        self,
        roots: Roots,
        slot: Slot,
        active: Option<&ActiveTracer>,
        is_new: bool,
    ) -> Namespace {
        let sources = Sources::new(roots, SourceChoice::Auto, self.calm, active.is_some());
        let mut namespace = Namespace::other(sources, slot, self.outdated);
        if let Some(active) = active {
            namespace.begin(active, is_new);
        }
        namespace
    }
}
