//! The state of one connection, and its timeouts.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;

use super::slots::Slot;

/// From the first byte of a request to its last.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two requests. The scrape interval of clients that keep a connection is at most two minutes.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_mins(3);
/// While there is data to write, and the peer reads none of it.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// From the last byte of a request to the last byte of its answer; not for streams.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waits for a request.
    Idle,
    /// A request is arriving, or waits for its turn.
    Request,
    /// An answer is prepared or sent.
    Answer,
    /// A stream of events is open.
    Stream,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionStatus {
    pub(super) phase: Phase,
    /// When the phase began.
    pub(super) since: Instant,
    /// When a write began to wait for the peer; `None` if none waits.
    pub(super) stalled: Option<Instant>,
    /// Whether a request has been answered on this connection.
    pub(super) served: bool,
    /// Whether the current answer is a large one.
    pub(super) large: bool,
}

impl ConnectionStatus {
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: Phase::Idle, since: now, stalled: None, served: false, large: false }
    }

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

/// The state of one connection. The code that serves the connection reports each event to it.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Whether to close the socket with a reset.
    reset: AtomicBool,
}

#[derive(Debug)]
struct State {
    status: ConnectionStatus,
    /// Whether bytes have arrived since the request that is being answered.
    more: bool,
    /// Whether the whole body of the answer has been passed to hyper.
    body_done: bool,
    answer_slot: Option<Slot>,
    large_permit: Option<OwnedSemaphorePermit>,
}

impl Activity {
    pub(super) fn new() -> Self {
        let status = ConnectionStatus::new(Instant::now());
        let state =
            State { status, more: false, body_done: false, answer_slot: None, large_permit: None };
        Self { state: Mutex::new(state), reset: AtomicBool::new(false) }
    }

    pub(super) fn status(&self) -> ConnectionStatus {
        self.locked().status
    }

    pub(super) fn is_answering(&self) -> bool {
        matches!(self.status().phase, Phase::Answer | Phase::Stream)
    }

    /// Bytes have arrived from the peer.
    pub(super) fn received(&self) {
        let mut state = self.locked();
        match state.status.phase {
            Phase::Idle => state.enter(Phase::Request),
            Phase::Request | Phase::Stream => {}
            Phase::Answer => state.more = true,
        }
    }

    /// A TLS handshake begins: it has the time of a request, so that a client that sends nothing is closed too.
    pub(super) fn handshake_began(&self) {
        self.locked().enter(Phase::Request);
    }

    pub(super) fn handshake_done(&self) {
        self.locked().enter(Phase::Idle);
    }

    /// The head of a request is complete, and `slot` allows its answer.
    pub(super) fn answer_began(&self, slot: Slot) {
        let mut state = self.locked();
        state.enter(Phase::Answer);
        state.answer_slot = Some(slot);
        state.more = false;
        state.body_done = false;
    }

    /// The current answer is a large one, which `permit` allows.
    pub(super) fn became_large(&self, permit: OwnedSemaphorePermit) {
        let mut state = self.locked();
        state.status.large = true;
        state.large_permit = Some(permit);
    }

    /// The current answer is a stream, which gives its slot back.
    pub(super) fn became_stream(&self) {
        let mut state = self.locked();
        state.enter(Phase::Stream);
        state.answer_slot = None;
    }

    /// The whole body of the answer has been passed to hyper.
    pub(super) fn body_done(&self) {
        self.locked().body_done = true;
    }

    /// Everything passed to the socket has been written.
    pub(super) fn flushed(&self) {
        let mut state = self.locked();
        state.status.stalled = None;
        if state.body_done {
            state.body_done = false;
            state.answer_slot = None;
            state.large_permit = None;
            state.status.large = false;
            state.status.served = true;
            let next = if state.more { Phase::Request } else { Phase::Idle };
            state.enter(next);
        }
    }

    /// Some bytes have been written.
    pub(super) fn wrote(&self) {
        self.locked().status.stalled = None;
    }

    /// A write waits for the peer. Returns whether it is an answer that has just begun to wait.
    pub(super) fn write_blocked(&self) -> bool {
        let mut state = self.locked();
        let begins = state.status.stalled.is_none();
        state.status.stalled.get_or_insert_with(Instant::now);
        begins && state.status.phase == Phase::Answer
    }

    /// Makes dropping the socket reset the connection, so that the kernel keeps no unsent data and no state.
    pub(super) fn set_reset_on_drop(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    pub(super) fn reset_on_drop(&self) -> bool {
        self.reset.load(Ordering::Relaxed)
    }

    /// After a panic the state is still consistent.
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
    use crate::web::server::slots::Slots;

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
    fn a_request_must_be_complete_ten_seconds_after_its_first_byte() {
        assert!(!overdue(Phase::Request, None, 9));
        assert!(overdue(Phase::Request, None, 10));
        let activity = Activity::new();
        assert_eq!(activity.status().phase, Phase::Idle);
        activity.received();
        let began = activity.status();
        assert_eq!(began.phase, Phase::Request);
        // More bytes do not extend the deadline.
        activity.received();
        assert_eq!(activity.status().since, began.since);
    }

    #[test]
    fn a_stream_lasts_while_its_peer_reads() {
        assert!(!overdue(Phase::Stream, None, 1_000_000));
        assert!(!overdue(Phase::Stream, Some(100), 119));
        assert!(overdue(Phase::Stream, Some(100), 120));
        assert!(overdue(Phase::Answer, Some(0), 20));
        assert!(overdue(Phase::Answer, None, 120));
    }

    #[test]
    fn an_answer_ends_when_it_is_written_and_not_when_its_body_is_done() {
        let slots = Slots::new(1);
        let client = std::sync::Arc::default();
        let activity = Activity::new();
        activity.received();
        activity.answer_began(slots.acquire(&client).unwrap());
        activity.flushed();
        activity.body_done();
        assert!(activity.write_blocked());
        assert!(!activity.write_blocked(), "it waits already");
        assert_eq!(activity.status().phase, Phase::Answer);
        assert!(slots.acquire(&client).is_err());
        activity.wrote();
        activity.flushed();
        let status = activity.status();
        assert_eq!((status.phase, status.stalled, status.served), (Phase::Idle, None, true));
        assert!(slots.acquire(&client).is_ok());
    }
}
