//! What runs on a simulated host: connections, pools, listeners, and what goes wrong with them.

use std::collections::VecDeque;

use super::host::{Host, Life, NEVER, Scope};
use super::socket::{Family, HOST, Place, State};
use super::time::{HOUR, MINUTE, SECOND, Span, span};

/// A round trip.
const ROUND_TRIP: u64 = 20;
const TIME_WAIT: u64 = MINUTE;

/// How many connections begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rate {
    /// The time between two, on average.
    Every(u64),
    /// The time between two, on average, at night and in the middle of the day. The host starts at that hour.
    Office { hour: u64, night: u64, day: u64 },
}

impl Rate {
    fn pause(self, time: u64) -> u64 {
        match self {
            Self::Every(pause) => pause,
            Self::Office { hour, night, day } => {
                let hour = (time + hour * HOUR) % (24 * HOUR);
                // How much of the day's load there is, in percent.
                let share = match hour / HOUR {
                    7 | 8 => (hour - 7 * HOUR) * 100 / (2 * HOUR),
                    12 => 70,
                    9..=16 => 100,
                    17 | 18 => 100 - (hour - 17 * HOUR) * 100 / (2 * HOUR),
                    _ => 0,
                };
                100 * night * day / (share * night + (100 - share) * day)
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Accepts,
    Connects,
}

/// Who closes a connection first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Closes {
    Owner,
    /// The peer, and the owner after that time in CLOSE_WAIT.
    Peer(Span),
    /// The peer, and the owner never.
    PeerAlone,
}

/// Connections of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traffic {
    pub(super) span: Span,
    pub(super) rate: Rate,
    pub(super) side: Side,
    pub(super) family: Family,
    pub(super) place: Place,
    /// How long one is established.
    pub(super) life: Span,
    pub(super) closes: Closes,
    pub(super) keepalive: bool,
    /// To how many destinations it connects.
    pub(super) destinations: usize,
}

/// Connections that a program keeps for later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool {
    pub(super) size: u64,
    /// When its connections are opened, and when the peer closes them.
    pub(super) opened: Span,
    pub(super) closed: Span,
    /// When the program finds out, and closes them.
    pub(super) noticed: Span,
    pub(super) keepalive: bool,
    pub(super) place: Place,
}

impl Host {
    pub(super) fn traffic(&mut self, traffic: &Traffic) {
        let mut time = traffic.span.from;
        loop {
            time += self.random.pause(traffic.rate.pause(time));
            if time >= traffic.span.to {
                return;
            }
            let closed = time + ROUND_TRIP + self.random.within(traffic.life);
            self.connection(traffic, time, closed);
        }
    }

    fn connection(&mut self, traffic: &Traffic, born: u64, closed: u64) {
        let first = match traffic.side {
            Side::Accepts => [(born, State::SynRecv), (born, State::Established)],
            Side::Connects => [(born, State::SynSent), (born + ROUND_TRIP, State::Established)],
        };
        let (rest, end) = match traffic.closes {
            Closes::Owner => {
                let finished = closed + 2 * ROUND_TRIP;
                let rest = vec![
                    (closed, State::FinWait1),
                    (closed + ROUND_TRIP, State::FinWait2),
                    (finished, State::TimeWait),
                ];
                (rest, finished + TIME_WAIT)
            }
            Closes::Peer(answer) => {
                let owner = closed + self.random.within(answer);
                (vec![(closed, State::CloseWait), (owner, State::LastAck)], owner + ROUND_TRIP)
            }
            Closes::PeerAlone => {
                self.leaked.push(closed);
                self.leaks_in = Some(traffic.place);
                (vec![(closed, State::CloseWait)], NEVER)
            }
        };
        let steps: Vec<_> = first.into_iter().chain(rest).collect();
        let Traffic { place, family, keepalive, .. } = *traffic;
        let destination = self.destination(traffic);
        self.live(&Life { place, family, keepalive, destination, steps: &steps, end });
    }

    /// Where the next connection leads.
    fn destination(&mut self, traffic: &Traffic) -> Option<usize> {
        match (traffic.side, traffic.destinations as u64) {
            (Side::Accepts, _) => None,
            (Side::Connects, 0 | 1) => Some(0),
            (Side::Connects, all) => usize::try_from(self.random.within(span(0, all))).ok(),
        }
    }

    pub(super) fn pool(&mut self, pool: &Pool) {
        for _ in 0..pool.size {
            let born = self.random.within(pool.opened);
            let closed = self.random.within(pool.closed).max(born + SECOND);
            let noticed = self.random.within(pool.noticed).max(closed);
            let steps = [
                (born, State::SynSent),
                (born + ROUND_TRIP, State::Established),
                (closed, State::CloseWait),
                (noticed, State::LastAck),
            ];
            let (place, keepalive) = (pool.place, pool.keepalive);
            let (family, end) = (Family::Ipv4, noticed + ROUND_TRIP);
            let destination = Some(0);
            self.live(&Life { place, family, keepalive, destination, steps: &steps, end });
        }
    }

    /// Connects that fail for `cause` after `after`.
    pub(super) fn failing(
        &mut self,
        during: Span,
        every: u64,
        family: Family,
        cause: &str,
        after: u64,
    ) {
        let mut time = during.from + self.random.pause(every);
        while time < during.to {
            self.fail(time, family, cause, after);
            time += self.random.pause(every);
        }
    }

    /// SYNs without an answer, up to the backlog: each stays for 63 seconds.
    pub(super) fn syn_flood(&mut self, during: Span, every: u64, backlog: usize) {
        let (mut half_open, mut time) = (VecDeque::new(), during.from);
        while time < during.to {
            while half_open.front().is_some_and(|end| *end <= time) {
                half_open.pop_front();
            }
            if half_open.len() < backlog {
                let end = time + 63 * SECOND;
                half_open.push_back(end);
                self.stay(Scope::Own, Family::Ipv4, State::SynRecv, span(time, end));
            }
            time += self.random.pause(every);
        }
    }

    /// Short connections to one address and port, which close first: a port is free again after TIME_WAIT.
    pub(super) fn one_destination(&mut self, traffic: &Traffic) {
        let (mut used, mut time) = (VecDeque::new(), traffic.span.from);
        let Rate::Every(every) = traffic.rate else { return };
        let ports = usize::try_from(self.ephemeral_ports).unwrap_or(usize::MAX);
        while time < traffic.span.to {
            while used.front().is_some_and(|end| *end <= time) {
                used.pop_front();
            }
            if used.len() < ports {
                let closed = time + traffic.life.from;
                used.push_back(closed + 2 * ROUND_TRIP + TIME_WAIT);
                self.connection(traffic, time, closed);
            } else {
                self.fail(time, traffic.family, "no_port", 0);
            }
            time += every;
        }
    }

    /// A listener whose program accepts one connection each `accepts` after another, or none while it is stuck.
    /// Clients wait for `patience`.
    pub(super) fn acceptor(&mut self, acceptor: &Acceptor) {
        let Acceptor { port, limit, span: during, arrivals, accepts, stuck, patience } = *acceptor;
        let listener = self.listen(HOST, port, limit);
        let (mut queue, mut next, mut time) = (VecDeque::new(), during.from, during.from);
        let room = usize::try_from(limit).unwrap_or(usize::MAX);
        loop {
            time += self.random.pause(arrivals.pause(time));
            if time >= during.to {
                return;
            }
            while let Some(&born) = queue.front() {
                let mut accepted = next.max(born);
                if (stuck.from..stuck.to).contains(&accepted) {
                    accepted = stuck.to;
                }
                if accepted > time {
                    break;
                }
                next = accepted + accepts;
                queue.pop_front();
                self.queued(listener, born, accepted, patience);
            }
            if queue.len() <= room {
                queue.push_back(time);
            } else {
                let at = self.scrape_at(time);
                self.listeners[listener].drops[at] += 1;
            }
        }
    }

    /// A connection that waits in an accept queue; it is answered at once, then the client closes it.
    fn queued(&mut self, listener: usize, born: u64, accepted: u64, patience: u64) {
        let (from, to) = (self.scrape_at(born), self.scrape_at(accepted));
        self.listeners[listener].length[from] += 1;
        self.listeners[listener].length[to] -= 1;
        let closed = (born + patience).min(accepted + 2 * ROUND_TRIP);
        let owner = (accepted + ROUND_TRIP).max(closed) + ROUND_TRIP;
        let steps = [
            (born, State::SynRecv),
            (born, State::Established),
            (closed, State::CloseWait),
            (owner, State::LastAck),
        ];
        let (family, end) = (Family::Ipv4, owner + ROUND_TRIP);
        let (place, keepalive, destination) = (HOST, false, None);
        self.live(&Life { place, family, keepalive, destination, steps: &steps, end });
    }
}

/// A program that accepts connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acceptor {
    pub(super) port: &'static str,
    pub(super) limit: i64,
    pub(super) span: Span,
    pub(super) arrivals: Rate,
    /// How long it takes to accept one.
    pub(super) accepts: u64,
    /// While it accepts none.
    pub(super) stuck: Span,
    pub(super) patience: u64,
}

#[cfg(test)]
mod tests {
    use super::super::host::EPHEMERAL_PORTS;
    use super::*;

    #[test]
    fn the_load_of_an_office_is_that_of_the_hour() {
        let rate = Rate::Office { hour: 0, night: 1000, day: 100 };
        let at = |hour| rate.pause(hour * HOUR);
        assert_eq!([3, 7, 8, 10, 17, 20, 27].map(at), [1000, 1000, 181, 100, 100, 1000, 1000]);
    }

    #[test]
    fn a_stuck_acceptor_fills_its_queue_and_drops_the_rest() {
        let mut host = Host::new(HOUR, 15 * SECOND, true);
        host.acceptor(&Acceptor {
            port: "80",
            limit: 10,
            span: span(0, HOUR),
            arrivals: Rate::Every(SECOND),
            accepts: 1,
            stuck: span(10 * MINUTE, 20 * MINUTE),
            patience: 30 * SECOND,
        });
        let length = |scrape: usize| host.listeners[0].length[..=scrape].iter().sum::<i64>();
        assert_eq!([30, 60, 100].map(length), [0, 11, 0]);
        assert!(host.listeners[0].drops.iter().sum::<i64>() > 400);
    }

    #[test]
    fn ports_to_one_destination_run_out() {
        let mut host = Host::new(10 * MINUTE, 15 * SECOND, true);
        host.one_destination(&Traffic {
            span: span(0, 2 * MINUTE),
            rate: Rate::Every(2),
            side: Side::Connects,
            family: Family::Ipv4,
            place: HOST,
            life: span(10, 10),
            closes: Closes::Owner,
            keepalive: false,
            destinations: 1,
        });
        assert!(host.failures[0][4].iter().sum::<i64>() > 0);
        let level: i64 = host.tallies[0].states[State::TimeWait as usize][0][..=7].iter().sum();
        assert!((20_000..=EPHEMERAL_PORTS).contains(&level), "{level}");
        let taken: i64 = host.destinations[0][..=7].iter().sum();
        assert!((20_000..=EPHEMERAL_PORTS).contains(&taken), "{taken}");
    }
}
