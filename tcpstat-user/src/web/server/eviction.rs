//! Which connection is closed to make room for another. No I/O and no clock.

use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use super::activity::{ConnectionStatus, Phase, STALL_TIME};

/// How long the kernel may take to send the rest of an answer to a peer that reads. A connection that is closed
/// for another one is reset, which discards that rest.
const SENDING_TIME: Duration = Duration::from_secs(2);

/// A connection that may be closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: u64,
    /// Connections, or streams, of its client.
    pub(super) of_client: usize,
    pub(super) status: ConnectionStatus,
}

/// The connections to close for `wanted` new ones, or fewer if fewer may be closed: idle ones of the clients
/// with the most connections, then those that are stalled or that have just been answered, because the kernel
/// may still be sending the answer, then streams; never one that is being answered.
///
/// Of clients with equally many, a connection without an answered request goes first, then the one that has
/// waited longest.
pub(super) fn for_connections(
    candidates: impl IntoIterator<Item = Candidate>,
    wanted: usize,
    now: Instant,
) -> Vec<u64> {
    let ranked = |candidate: Candidate| {
        let ConnectionStatus { phase, since, blocked, served, .. } = candidate.status;
        let rank = match (phase, candidate.status.is_stalled(now)) {
            (Phase::Idle, _) if served && now.saturating_duration_since(since) < SENDING_TIME => 1,
            (Phase::Idle | Phase::Request, false) => 0_u8,
            (_, true) => 1,
            (Phase::Stream, false) => 2,
            (Phase::Answer, false) => return None,
        };
        let waiting_since = blocked.unwrap_or(since);
        Some(((rank, Reverse(candidate.of_client), served, waiting_since), candidate.id))
    };
    let mut all: Vec<_> = candidates.into_iter().filter_map(ranked).collect();
    // Only idle ones are closed several at a time.
    let idle = all.iter().filter(|((rank, ..), _)| *rank == 0).count();
    let wanted = wanted.min(idle.max(1));
    if wanted < all.len() {
        all.select_nth_unstable(wanted);
        all.truncate(wanted);
    }
    all.into_iter().map(|(_, id)| id).collect()
}

/// The answer to end for another one: a stalled one, of the client with the most connections. `None` if none is
/// stalled.
pub(super) fn for_an_answer(
    candidates: impl IntoIterator<Item = Candidate>,
    now: Instant,
) -> Option<u64> {
    longest_stalled(candidates, Phase::Answer, now)
}

/// The earliest time after `now` at which [`for_an_answer`] may find one more.
pub(super) fn next_stalled_answer(
    candidates: impl IntoIterator<Item = Candidate>,
    now: Instant,
) -> Instant {
    candidates
        .into_iter()
        .filter(|candidate| candidate.status.phase == Phase::Answer)
        .filter_map(|candidate| candidate.status.stalls_at())
        .filter(|at| *at > now)
        .min()
        .unwrap_or(now + STALL_TIME)
}

/// The stream to end for one of a client that has `streams`: a stalled one; else the oldest one of a client with at least
/// two more. `None` if no client has so many.
pub(super) fn for_a_stream(
    candidates: impl IntoIterator<Item = Candidate> + Clone,
    streams: usize,
    now: Instant,
) -> Option<u64> {
    longest_stalled(candidates.clone(), Phase::Stream, now).or_else(|| {
        let richest = candidates
            .into_iter()
            .filter(|candidate| {
                candidate.status.phase == Phase::Stream && candidate.of_client >= streams + 2
            })
            .min_by_key(|candidate| (Reverse(candidate.of_client), candidate.status.since));
        richest.map(|candidate| candidate.id)
    })
}

fn longest_stalled(
    candidates: impl IntoIterator<Item = Candidate>,
    phase: Phase,
    now: Instant,
) -> Option<u64> {
    candidates
        .into_iter()
        .filter(|candidate| candidate.status.phase == phase && candidate.status.is_stalled(now))
        .min_by_key(|candidate| (Reverse(candidate.of_client), candidate.status.blocked))
        .map(|candidate| candidate.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that has been in `phase` for that many seconds.
    fn candidate(id: u64, of_client: usize, phase: Phase, seconds: u64) -> Candidate {
        let since = start() + Duration::from_secs(1000 - seconds);
        Candidate {
            id,
            of_client,
            status: ConnectionStatus { phase, since, blocked: None, served: false, large: false },
        }
    }

    fn start() -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *START
    }

    /// All candidates are younger.
    fn now() -> Instant {
        start() + Duration::from_secs(1000)
    }

    fn stalled(mut candidate: Candidate) -> Candidate {
        candidate.status.blocked = Some(candidate.status.since);
        candidate
    }

    /// A write waits, and has made progress a moment ago.
    fn slow(mut candidate: Candidate) -> Candidate {
        candidate.status.blocked = Some(now() - STALL_TIME / 2);
        candidate
    }

    fn served(mut candidate: Candidate) -> Candidate {
        candidate.status.served = true;
        candidate
    }

    #[test]
    fn the_oldest_idle_connection_of_the_client_with_the_most_goes_first() {
        let all = [
            candidate(1, 1, Phase::Idle, 60),
            candidate(2, 9, Phase::Idle, 1),
            candidate(3, 9, Phase::Request, 2),
            candidate(4, 9, Phase::Answer, 50),
            stalled(candidate(5, 9, Phase::Stream, 50)),
        ];
        assert_eq!(for_connections(all, 1, now()), [3]);
        let mut two = for_connections(all, 2, now());
        two.sort_unstable();
        assert_eq!(two, [2, 3]);
        assert_eq!(for_connections(all, 9, now()).len(), 3, "only the idle ones");
    }

    #[test]
    fn a_connection_without_a_request_goes_before_a_scraper_between_two_scrapes() {
        let all = [served(candidate(1, 1, Phase::Idle, 60)), candidate(2, 1, Phase::Idle, 0)];
        assert_eq!(for_connections(all, 1, now()), [2]);
    }

    #[test]
    fn a_peer_that_does_not_read_goes_before_a_stream_and_an_active_answer_never_goes() {
        let answer = candidate(1, 9, Phase::Answer, 100);
        let stream = candidate(2, 9, Phase::Stream, 100);
        let stuck = stalled(candidate(3, 1, Phase::Answer, 1));
        assert_eq!(for_connections([answer, stream, stuck], 2, now()), [3]);
        assert_eq!(for_connections([answer, stream], 2, now()), [2]);
        assert!(for_connections([answer], 1, now()).is_empty());
    }

    #[test]
    fn an_answer_is_ended_only_if_its_peer_does_not_read() {
        let stream = stalled(candidate(1, 9, Phase::Stream, 9));
        let all = [
            stream,
            stalled(candidate(2, 2, Phase::Answer, 9)),
            stalled(candidate(3, 5, Phase::Answer, 1)),
            candidate(4, 9, Phase::Answer, 9),
        ];
        assert_eq!(for_an_answer(all, now()), Some(3));
        assert_eq!(for_an_answer([stream, all[3]], now()), None);
    }

    #[test]
    fn a_slow_peer_keeps_its_answer_until_it_makes_no_progress() {
        let all = [slow(candidate(1, 9, Phase::Answer, 60)), candidate(2, 9, Phase::Answer, 9)];
        assert_eq!(for_an_answer(all, now()), None);
        assert!(for_connections(all, 1, now()).is_empty());
        let later = next_stalled_answer(all, now());
        assert_eq!(later, now() + STALL_TIME / 2);
        assert_eq!(for_an_answer(all, later), Some(1));
        assert_eq!(for_connections(all, 1, later), [1]);
        let stream = slow(candidate(3, 1, Phase::Stream, 60));
        assert_eq!(for_a_stream([stream], 1, now()), None);
        assert_eq!(next_stalled_answer([stream], now()), now() + STALL_TIME);
    }

    #[test]
    fn a_connection_that_has_just_been_answered_goes_after_idle_ones() {
        let answered = served(candidate(1, 9, Phase::Idle, 0));
        let idle = served(candidate(2, 1, Phase::Idle, 60));
        assert_eq!(for_connections([answered, idle], 2, now()), [2]);
        assert_eq!(for_connections([answered], 2, now()), [1]);
        assert_eq!(for_connections([answered, idle], 1, now() + SENDING_TIME), [1]);
    }

    #[test]
    fn a_stream_is_ended_if_it_is_stalled_or_its_client_has_two_more() {
        let rich = [candidate(1, 3, Phase::Stream, 1), candidate(2, 3, Phase::Stream, 9)];
        let all = [rich[0], rich[1], candidate(3, 1, Phase::Stream, 99)];
        assert_eq!(for_a_stream(all, 1, now()), Some(2));
        assert_eq!(for_a_stream(all, 2, now()), None);
        let stuck = stalled(candidate(4, 1, Phase::Stream, 1));
        assert_eq!(for_a_stream([all[0], stuck], 2, now()), Some(4));
    }
}
