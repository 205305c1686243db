//! Which connection is closed to make room for another. No I/O and no clock.

use std::{cmp::Reverse, time::Instant};

use super::activity::{ConnectionStatus, Phase};

/// A connection that may be closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: u64,
    /// Connections, or streams, of its client.
    pub(super) of_client: usize,
    pub(super) status: ConnectionStatus,
}

/// The connections to close for `wanted` new ones, or fewer if fewer may be closed: idle ones of the clients
/// with the most connections, then those whose peer does not read, then streams; never one that is being
/// answered.
///
/// Of clients with equally many, a connection without an answered request goes first, then the one that has
/// waited longest.
pub(super) fn for_connections(
    candidates: impl IntoIterator<Item = Candidate>,
    wanted: usize,
) -> Vec<u64> {
    let ranked = |candidate: Candidate| {
        let ConnectionStatus { phase, since, stalled, served, .. } = candidate.status;
        let rank = match (phase, stalled) {
            (Phase::Idle | Phase::Request, None) => 0_u8,
            (_, Some(_)) => 1,
            (Phase::Stream, None) => 2,
            (Phase::Answer, None) => return None,
        };
        let waiting_since = stalled.unwrap_or(since);
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

/// The answer to end for another one: one whose peer does not read, of the client with the most connections.
/// `None` if every peer reads.
pub(super) fn for_an_answer(candidates: impl IntoIterator<Item = Candidate>) -> Option<u64> {
    longest_stalled(candidates, Phase::Answer)
}

/// The stream to end for one of a client that has `streams`: one whose peer does not read; else the oldest
/// one of a client with at least two more. `None` if no client has so many.
pub(super) fn for_a_stream(
    candidates: impl IntoIterator<Item = Candidate> + Clone,
    streams: usize,
) -> Option<u64> {
    longest_stalled(candidates.clone(), Phase::Stream).or_else(|| {
        let richest = candidates
            .into_iter()
            .filter(|candidate| {
                candidate.status.phase == Phase::Stream && candidate.of_client >= streams + 2
            })
            .min_by_key(|candidate| (Reverse(candidate.of_client), candidate.status.since));
        richest.map(|candidate| candidate.id)
    })
}

fn longest_stalled(candidates: impl IntoIterator<Item = Candidate>, phase: Phase) -> Option<u64> {
    let stalled = |candidate: Candidate| -> Option<((Reverse<usize>, Instant), u64)> {
        let since = candidate.status.stalled.filter(|_| candidate.status.phase == phase)?;
        Some(((Reverse(candidate.of_client), since), candidate.id))
    };
    candidates.into_iter().filter_map(stalled).min().map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A connection that has been in `phase` for that many seconds.
    fn candidate(id: u64, of_client: usize, phase: Phase, seconds: u64) -> Candidate {
        let since = start() + Duration::from_secs(1000 - seconds);
        Candidate {
            id,
            of_client,
            status: ConnectionStatus { phase, since, stalled: None, served: false, large: false },
        }
    }

    fn start() -> Instant {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        *START
    }

    fn stalled(mut candidate: Candidate) -> Candidate {
        candidate.status.stalled = Some(candidate.status.since);
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
        assert_eq!(for_connections(all, 1), [3]);
        let mut two = for_connections(all, 2);
        two.sort_unstable();
        assert_eq!(two, [2, 3]);
        assert_eq!(for_connections(all, 9).len(), 3, "only the idle ones");
    }

    #[test]
    fn a_connection_without_a_request_goes_before_a_scraper_between_two_scrapes() {
        let all = [served(candidate(1, 1, Phase::Idle, 60)), candidate(2, 1, Phase::Idle, 0)];
        assert_eq!(for_connections(all, 1), [2]);
    }

    #[test]
    fn a_peer_that_does_not_read_goes_before_a_stream_and_an_active_answer_never_goes() {
        let answer = candidate(1, 9, Phase::Answer, 100);
        let stream = candidate(2, 9, Phase::Stream, 100);
        let stuck = stalled(candidate(3, 1, Phase::Answer, 1));
        assert_eq!(for_connections([answer, stream, stuck], 2), [3]);
        assert_eq!(for_connections([answer, stream], 2), [2]);
        assert!(for_connections([answer], 1).is_empty());
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
        assert_eq!(for_an_answer(all), Some(3));
        assert_eq!(for_an_answer([stream, all[3]]), None);
    }

    #[test]
    fn a_stream_is_ended_if_it_is_stalled_or_its_client_has_two_more() {
        let rich = [candidate(1, 3, Phase::Stream, 1), candidate(2, 3, Phase::Stream, 9)];
        let all = [rich[0], rich[1], candidate(3, 1, Phase::Stream, 99)];
        assert_eq!(for_a_stream(all, 1), Some(2));
        assert_eq!(for_a_stream(all, 2), None);
        let stuck = stalled(candidate(4, 1, Phase::Stream, 1));
        assert_eq!(for_a_stream([all[0], stuck], 2), Some(4));
    }
}
