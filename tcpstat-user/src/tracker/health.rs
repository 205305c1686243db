//! How far the counts can be trusted: what checks and snapshots have shown since the start.

use crate::history::Moment;

/// What sockstat checks and snapshots have shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Health {
    /// Whether the counts agreed with the kernel at the last conclusive check or snapshot.
    pub consistent: bool,
    /// Failed sockstat checks since the start.
    pub mismatches: u64,
    /// Reconciles since the start, by [`Reason`].
    pub reconciles: [u64; Reason::ALL.len()],
    /// When the counts last agreed with the kernel; `None` before the first time.
    pub last_agreement: Option<Moment>,
}

/// Why the tracker reconciles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The snapshot interval has passed.
    Interval,
    /// The sockstat check failed.
    SockstatCheck,
    /// Events were missed: the kernel did not run the tracer, or it had no counter for them.
    MissedEvents,
    /// It is calm after so many transitions that some may have been lost without a report.
    AfterChurn,
}

impl Reason {
    /// All reasons, in the order of [`Health::reconciles`].
    pub const ALL: [Self; 4] =
        [Self::Interval, Self::SockstatCheck, Self::MissedEvents, Self::AfterChurn];

    /// The word for the reason in metrics, the API, and the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::SockstatCheck => "sockstat",
            Self::MissedEvents => "missed_events",
            Self::AfterChurn => "after_churn",
        }
    }
}
