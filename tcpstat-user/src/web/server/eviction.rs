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

/// The connections to close for `wanted` new ones, or fewer if fewer may be closed: idle and stalled ones of the
/// clients with the most connections, then streams; never one that is being answered.
///
/// Of clients with equally many, a connection that has just been answered goes last, because the kernel may
/// still be sending the answer. One without an answered request goes first, then the one that has waited longest.
pub(super) fn for_connections(
    candidates: impl IntoIterator<Item = Candidate>,
    wanted: usize,
    now: Instant,
) -> Vec<u64> {
    let ranked = |candidate: Candidate| {
        let ConnectionStatus { phase, since, blocked, served, .. } = candidate.status;
        let is_stream = match (phase, candidate.status.is_stalled(now)) {
            (Phase::Idle | Phase::Request, _) | (_, true) => false,
            (Phase::Stream, false) => true,
            (Phase::Answer, false) => return None,
        };
        let sending =
            phase == Phase::Idle && served && now.saturating_duration_since(since) < SENDING_TIME;
        let waiting_since = blocked.unwrap_or(since);
        let order = (is_stream, Reverse(candidate.of_client), sending, served, waiting_since);
        Some((order, candidate.id))
    };
    let mut all: Vec<_> = candidates.into_iter().filter_map(ranked).collect();
    // Neither streams nor the only connections of clients are closed several at a time.
    let several =
        all.iter().filter(|((is_stream, of_client, ..), _)| !is_stream && of_client.0 > 1).count();
    let wanted = wanted.min(several.max(1));
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
        candidate.status.blocked = now().checked_sub(STALL_TIME / 2);
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
            candidate(5, 9, Phase::Stream, 50),
        ];
        assert_eq!(for_connections(all, 1, now()), [3]);
        let mut two = for_connections(all, 2, now());
        two.sort_unstable();
        assert_eq!(two, [2, 3]);
        assert_eq!(for_connections([all[0], all[4]], 9, now()), [1], "not with a stream");
        assert_eq!(for_connections(all, 9, now()).len(), 2, "not the only one of a client");
    }

    #[test]
    fn a_stalled_connection_of_a_client_with_many_goes_before_the_idle_one_of_another() {
        let many = [1, 2, 3].map(|id| stalled(candidate(id, 9, Phase::Request, 1)));
        let all = [many[0], candidate(4, 1, Phase::Idle, 0), many[1], many[2]];
        let mut closed = for_connections(all, 9, now());
        closed.sort_unstable();
        assert_eq!(closed, [1, 2, 3]);
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
    fn a_connection_that_has_just_been_answered_goes_last() {
        let answered = served(candidate(1, 1, Phase::Idle, 1));
        let silent = candidate(2, 1, Phase::Idle, 0);
        let idle = served(candidate(3, 1, Phase::Idle, 60));
        assert_eq!(for_connections([answered, silent], 1, now()), [2]);
        assert_eq!(for_connections([answered, idle], 1, now()), [3]);
        assert_eq!(for_connections([answered], 1, now()), [1]);
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
