//! The state of one connection, and its timeouts.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::OwnedSemaphorePermit;

use super::answer_slots::AnswerSlot;

/// From the first byte of a request to its last.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two requests. The scrape interval of clients that keep a connection is at most two minutes.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_mins(3);
/// While there is data to write, and the peer reads none of it.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// Without progress for this long, a write is stalled: its connection may be closed for another one. A segment
/// that is lost once is sent again after 200 ms and a round trip (`TCP_RTO_MIN`), so a peer that reads
/// acknowledges data within this time. It is well below the time that a request waits for its turn, so that the
/// request gets the place of a peer that does not read.
pub(super) const STALL_TIME: Duration = Duration::from_millis(500);
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
    /// Since when a write waits for the peer without progress; `None` if none waits.
    pub(super) blocked: Option<Instant>,
    /// Whether a request has been answered on this connection.
    pub(super) served: bool,
    /// Whether the current answer is a large one.
    pub(super) large: bool,
}

impl ConnectionStatus {
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: Phase::Idle, since: now, blocked: None, served: false, large: false }
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        let longer_than = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        let unread = self.blocked.is_some_and(|since| longer_than(since, WRITE_TIMEOUT));
        unread
            || match self.phase {
                Phase::Idle => longer_than(self.since, IDLE_TIMEOUT),
                Phase::Request => longer_than(self.since, REQUEST_TIMEOUT),
                Phase::Answer => longer_than(self.since, ANSWER_TIMEOUT),
                Phase::Stream => false,
            }
    }

    /// When the write that waits is stalled, unless it makes progress; `None` if none waits.
    pub(super) fn stalls_at(&self) -> Option<Instant> {
        Some(self.blocked? + STALL_TIME)
    }

    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.stalls_at().is_some_and(|at| at <= now)
    }
}

/// The state of one connection. The code that serves the connection reports each event to it.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// Whether to close the socket with a reset.
    reset: AtomicBool,
    /// Whether the server stops.
    stopping: AtomicBool,
}

#[derive(Debug)]
struct State {
    status: ConnectionStatus,
    /// Whether bytes have arrived since the request that is being answered.
    more: bool,
    /// Whether the request that is being answered has a body, which no handler reads.
    has_body: bool,
    /// Whether the whole body of the answer has been passed to hyper.
    body_done: bool,
    answer_slot: Option<AnswerSlot>,
    large_permit: Option<OwnedSemaphorePermit>,
}

impl Activity {
    pub(super) fn new() -> Self {
        let status = ConnectionStatus::new(Instant::now());
        let state = State {
            status,
            more: false,
            has_body: false,
            body_done: false,
            answer_slot: None,
            large_permit: None,
        };
        let (reset, stopping) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { state: Mutex::new(state), reset, stopping }
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

    /// The head of a request is complete, and `slot` allows its answer. `has_body` is true if a body follows.
    pub(super) fn answer_began(&self, slot: AnswerSlot, has_body: bool) {
        let mut state = self.locked();
        state.enter(Phase::Answer);
        state.answer_slot = Some(slot);
        state.more = false;
        state.has_body = has_body;
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
        state.status.blocked = None;
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
        self.locked().status.blocked = None;
    }

    /// A write waits for the peer.
    pub(super) fn write_blocked(&self) {
        self.locked().status.blocked.get_or_insert_with(Instant::now);
    }

    /// While a write waits, the peer has acknowledged some bytes.
    pub(super) fn acknowledged(&self) {
        self.locked().status.blocked = Some(Instant::now());
    }

    /// Everything is written, and the connection ends. Returns whether the peer may still be sending the body of
    /// its request, for which it has the time of a request.
    pub(super) fn closes_before_request_ends(&self) -> bool {
        let mut state = self.locked();
        if state.has_body && state.status.phase != Phase::Request {
            state.enter(Phase::Request);
        }
        state.has_body && !self.stopping.load(Ordering::Relaxed)
    }

    /// The connection ends after its answer, whatever the peer still sends.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
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
    use crate::web::server::answer_slots::AnswerSlots;

    fn overdue(phase: Phase, blocked: Option<u64>, seconds: u64) -> bool {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let status = ConnectionStatus {
            phase,
            since: start,
            blocked: blocked.map(after),
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
    fn a_write_is_stalled_if_it_makes_no_progress_for_a_time() {
        let start = Instant::now();
        let mut status = ConnectionStatus::new(start);
        assert!(!status.is_stalled(start + STALL_TIME));
        status.blocked = Some(start);
        assert!(!status.is_stalled(start + STALL_TIME / 2));
        assert!(status.is_stalled(start + STALL_TIME));
    }

    #[test]
    fn an_answer_ends_when_it_is_written_and_not_when_its_body_is_done() {
        let slots = AnswerSlots::new(1);
        let client = std::sync::Arc::default();
        let activity = Activity::new();
        activity.received();
        activity.answer_began(slots.acquire(&client).unwrap(), false);
        activity.flushed();
        activity.body_done();
        activity.write_blocked();
        let blocked = activity.status().blocked;
        activity.write_blocked();
        assert!(blocked.is_some() && activity.status().blocked == blocked, "it waits already");
        activity.acknowledged();
        assert!(activity.status().blocked > blocked);
        assert_eq!(activity.status().phase, Phase::Answer);
        assert!(slots.acquire(&client).is_err());
        activity.wrote();
        activity.flushed();
        let status = activity.status();
        assert_eq!((status.phase, status.blocked, status.served), (Phase::Idle, None, true));
        assert!(slots.acquire(&client).is_ok());
    }
}
