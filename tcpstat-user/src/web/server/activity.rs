//! What one connection is doing, and since when.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;

use super::places::Place;

/// From the first byte of a request to its last.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two requests. Scrapers that keep a connection ask again within two minutes.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_mins(3);
/// While there is something to write, and the peer takes none of it.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// From the last byte of a request to the last byte of its answer, streams excepted.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It waits for a request.
    Idle,
    /// A request has begun to arrive, or waits to be answered.
    Request,
    /// An answer is made or sent.
    Answer,
    /// A stream of events is open.
    Stream,
}

/// What one connection is doing now.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionStatus {
    pub(super) phase: Phase,
    /// Since when.
    pub(super) since: Instant,
    /// Since when a write waits for the peer; `None` while none does.
    pub(super) stalled: Option<Instant>,
    /// Whether a request has been answered on this connection.
    pub(super) served: bool,
    /// Whether the answer is one of the large ones.
    pub(super) large: bool,
}

impl ConnectionStatus {
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: Phase::Idle, since: now, stalled: None, served: false, large: false }
    }

    /// Whether a timeout has passed at `now`.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let longer_than = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        let stalled = self.stalled.is_some_and(|since| longer_than(since, WRITE_TIMEOUT));
        stalled
            || match self.phase {
                Phase::Idle => longer_than(self.since, IDLE_TIMEOUT),
                Phase::Request => longer_than(self.since, REQUEST_TIMEOUT),
                Phase::Answer => longer_than(self.since, ANSWER_TIMEOUT),
                Phase::Stream => false,
            }
    }
}

/// The status of one connection, kept by those who serve it.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Whether the socket is to be reset rather than closed in order.
    reset: AtomicBool,
}

#[derive(Debug)]
struct State {
    status: ConnectionStatus,
    /// Whether bytes have come since the request that is being answered.
    more: bool,
    /// Whether all of the answer has been handed over to be written.
    handed_over: bool,
    /// One of the answers that may be under way at once.
    place: Option<Place>,
    /// One of the large answers that there may be at once.
    large: Option<OwnedSemaphorePermit>,
}

impl Activity {
    pub(super) fn new() -> Self {
        let status = ConnectionStatus::new(Instant::now());
        let state = State { status, more: false, handed_over: false, place: None, large: None };
        Self { state: Mutex::new(state), reset: AtomicBool::new(false) }
    }

    pub(super) fn status(&self) -> ConnectionStatus {
        self.locked().status
    }

    /// Whether an answer is made or sent.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.status().phase, Phase::Answer | Phase::Stream)
    }

    /// Bytes have come from the peer.
    pub(super) fn received(&self) {
        let mut state = self.locked();
        match state.status.phase {
            Phase::Idle => state.enter(Phase::Request),
            Phase::Request | Phase::Stream => {}
            Phase::Answer => state.more = true,
        }
    }

    /// A whole request head is there, and may be answered in `place`.
    pub(super) fn asked(&self, place: Place) {
        let mut state = self.locked();
        state.enter(Phase::Answer);
        state.place = Some(place);
        state.more = false;
        state.handed_over = false;
    }

    /// The answer is a large one, which `place` is for.
    pub(super) fn is_large(&self, place: OwnedSemaphorePermit) {
        let mut state = self.locked();
        state.status.large = true;
        state.large = Some(place);
    }

    /// The answer is a stream: it takes no place among the answers.
    pub(super) fn streams(&self) {
        let mut state = self.locked();
        state.enter(Phase::Stream);
        state.place = None;
    }

    /// All of the answer has been handed over to be written.
    pub(super) fn handed_over(&self) {
        self.locked().handed_over = true;
    }

    /// All that was handed over has been written.
    pub(super) fn flushed(&self) {
        let mut state = self.locked();
        state.status.stalled = None;
        if state.handed_over {
            state.handed_over = false;
            state.place = None;
            state.large = None;
            state.status.large = false;
            state.status.served = true;
            let next = if state.more { Phase::Request } else { Phase::Idle };
            state.enter(next);
        }
    }

    /// The peer has taken something.
    pub(super) fn wrote(&self) {
        self.locked().status.stalled = None;
    }

    /// The peer takes nothing at present. Whether an answer has begun to wait for that.
    pub(super) fn blocked(&self) -> bool {
        let mut state = self.locked();
        let begins = state.status.stalled.is_none();
        state.status.stalled.get_or_insert_with(Instant::now);
        begins && state.status.phase == Phase::Answer
    }

    /// Has the socket reset when it is dropped: the kernel keeps nothing of it then, neither what was to
    /// be sent nor a state that waits for the peer.
    pub(super) fn reset_on_drop(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_to_be_reset(&self) -> bool {
        self.reset.load(Ordering::Relaxed)
    }

    /// A panic leaves a state that is still right.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.status.phase = phase;
        self.status.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::server::places::Places;

    fn overdue(phase: Phase, stalled: Option<u64>, seconds: u64) -> bool {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let status = ConnectionStatus {
            phase,
            since: start,
            stalled: stalled.map(after),
            served: false,
            large: false,
        };
        status.is_overdue(after(seconds))
    }

    #[test]
    fn a_kept_connection_outlives_the_longest_scrape_interval() {
        assert!(!overdue(Phase::Idle, None, 120));
        assert!(overdue(Phase::Idle, None, 180));
    }

    #[test]
    fn a_request_must_be_there_ten_seconds_after_its_first_byte() {
        assert!(!overdue(Phase::Request, None, 9));
        assert!(overdue(Phase::Request, None, 10));
        let activity = Activity::new();
        assert_eq!(activity.status().phase, Phase::Idle);
        activity.received();
        let began = activity.status();
        assert_eq!(began.phase, Phase::Request);
        // More bytes give it no more time.
        activity.received();
        assert_eq!(activity.status().since, began.since);
    }

    #[test]
    fn a_stream_lasts_as_long_as_its_reader_takes_something() {
        assert!(!overdue(Phase::Stream, None, 1_000_000));
        assert!(!overdue(Phase::Stream, Some(100), 119));
        assert!(overdue(Phase::Stream, Some(100), 120));
        assert!(overdue(Phase::Answer, Some(0), 20));
        assert!(overdue(Phase::Answer, None, 120));
    }

    #[test]
    fn an_answer_ends_when_it_is_written_and_not_when_it_is_handed_over() {
        let places = Places::new(1);
        let client = std::sync::Arc::default();
        let activity = Activity::new();
        activity.received();
        activity.asked(places.ask(&client).unwrap());
        activity.flushed();
        activity.handed_over();
        assert!(activity.blocked());
        assert!(!activity.blocked(), "it waits already");
        assert_eq!(activity.status().phase, Phase::Answer);
        assert!(places.ask(&client).is_err());
        activity.wrote();
        activity.flushed();
        let status = activity.status();
        assert_eq!((status.phase, status.stalled, status.served), (Phase::Idle, None, true));
        assert!(places.ask(&client).is_ok());
    }
}
