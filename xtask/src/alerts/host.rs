//! A simulated host: sockets are born, change state, and die; what tcpstat counts of them is added up for each scrape.

use super::socket::{CONNECT_CAUSES, Family, HOST, Place, State, TRANSITIONS};
use super::time::{Random, SECOND, Span};

/// tcpstat's default interval between snapshots, and when the first one ends.
const SNAPSHOT: u64 = 15 * SECOND;
const FIRST_SNAPSHOT: u64 = 7 * SECOND;

/// Ports in the default `net.ipv4.ip_local_port_range`.
pub(super) const EPHEMERAL_PORTS: i64 = 28_232;

/// The end of a socket that nothing closes.
pub(super) const NEVER: u64 = u64::MAX;

/// The life of a socket.
#[derive(Debug)]
pub(super) struct Life<'a> {
    pub(super) place: Place,
    pub(super) family: Family,
    /// Whether its peer acknowledges keepalive probes, each minute, so that its silence begins again.
    pub(super) keepalive: bool,
    /// Which destination it takes an ephemeral port to; `None` if a listener accepted it.
    pub(super) destination: Option<usize>,
    /// When it enters which state, in order.
    pub(super) steps: &'a [(u64, State)],
    pub(super) end: u64,
}

/// Numbers of one scope.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) scope: Scope,
    /// Changes of the number of sockets, by state, family, and scrape.
    pub(super) states: Vec<[Vec<i64>; 2]>,
    /// Transitions, by their place in [`TRANSITIONS`], family, and scrape.
    pub(super) transitions: Vec<[Vec<i64>; 2]>,
    /// When sockets enter and leave CLOSE_WAIT, and their keepalive.
    pub(super) close_waits: Vec<(Span, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Own,
    Netns(&'static str),
    Cgroup(&'static str),
    Port(&'static str),
}

/// The accept queue of a listening socket in the host's own namespace, on all addresses.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) port: &'static str,
    pub(super) limit: i64,
    /// Changes of its length, and packets that it drops, by scrape.
    pub(super) length: Vec<i64>,
    pub(super) drops: Vec<i64>,
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) duration: u64,
    /// The time between two scrapes.
    pub(super) scrape: u64,
    pub(super) tracer: bool,
    /// How many ports `net.ipv4.ip_local_port_range` has.
    pub(super) ephemeral_ports: i64,
    pub(super) random: Random,
    /// While tcpstat does not answer.
    pub(super) restarts: Vec<Span>,
    /// While the host is down: no socket survives.
    pub(super) reboots: Vec<Span>,
    /// While Prometheus does not scrape.
    pub(super) gaps: Vec<Span>,
    pub(super) tallies: Vec<Tally>,
    /// Failed connects by family, cause, and scrape.
    pub(super) failures: [Vec<Vec<i64>>; 2],
    /// Connects that sent their SYN again and failed, by family and scrape.
    pub(super) retried: [Vec<i64>; 2],
    pub(super) listeners: Vec<Listener>,
    /// Changes of the number of sockets to each destination, by the first scrape whose snapshot shows them.
    pub(super) destinations: Vec<Vec<i64>>,
    /// When each leaked socket entered CLOSE_WAIT, and where the last one is.
    pub(super) leaked: Vec<u64>,
    pub(super) leaks_in: Option<Place>,
}

impl Host {
    pub(super) fn new(duration: u64, scrape: u64, tracer: bool) -> Self {
        let mut host = Self {
            duration,
            scrape,
            tracer,
            ephemeral_ports: EPHEMERAL_PORTS,
            random: Random::new(0),
            restarts: Vec::new(),
            reboots: Vec::new(),
            gaps: Vec::new(),
            tallies: Vec::new(),
            failures: Default::default(),
            retried: Default::default(),
            listeners: Vec::new(),
            destinations: Vec::new(),
            leaked: Vec::new(),
            leaks_in: None,
        };
        let zeros = host.zeros();
        host.failures = Family::ALL.map(|_| vec![zeros.clone(); CONNECT_CAUSES.len()]);
        host.retried = [zeros.clone(), zeros];
        host.tally(Scope::Own);
        host
    }

    pub(super) fn scrapes(&self) -> usize {
        index(self.duration, self.scrape)
    }

    /// A number for each scrape, and one for what is later.
    pub(super) fn zeros(&self) -> Vec<i64> {
        vec![0; self.scrapes() + 1]
    }

    /// The first scrape at or after `time`.
    pub(super) fn scrape_at(&self, time: u64) -> usize {
        index(time.min(self.duration), self.scrape).min(self.scrapes())
    }

    /// The first snapshot at or after `time`.
    pub(super) fn snapshot_at(time: u64) -> u64 {
        time.saturating_sub(FIRST_SNAPSHOT).div_ceil(SNAPSHOT) * SNAPSHOT + FIRST_SNAPSHOT
    }

    /// The first scrape whose gauges know what happens at `time`: without a tracer a snapshot must see it.
    pub(super) fn gauge_at(&self, time: u64) -> usize {
        let known = time.min(self.duration);
        self.scrape_at(if self.tracer { known } else { Self::snapshot_at(known) })
    }

    pub(super) fn live(&mut self, life: &Life<'_>) {
        let Some(&(born, _)) = life.steps.first() else { return };
        if self.reboots.iter().any(|down| (down.from..down.to).contains(&born)) {
            return;
        }
        let down = self.reboots.iter().map(|down| down.from).filter(|from| *from >= born).min();
        let limit = down.unwrap_or(NEVER);
        if let Some(destination) = life.destination
            && life.place.netns.is_none()
        {
            self.take_port(destination, Span { from: born, to: life.end.min(limit) });
        }
        let own = life.place.netns.map_or(Scope::Own, Scope::Netns);
        let scopes =
            [Some(own), life.place.cgroup.map(Scope::Cgroup), life.place.port.map(Scope::Port)];
        for (at, &(from, state)) in life.steps.iter().enumerate() {
            let next = life.steps.get(at + 1);
            let to = next.map_or(life.end, |(time, _)| *time).min(limit);
            if from >= limit {
                break;
            }
            let before = match (at.checked_sub(1).map(|at| life.steps[at].1), state) {
                (Some(before), _) => before,
                (None, State::SynRecv) => State::Listen,
                (None, _) => State::Close,
            };
            for scope in scopes.into_iter().flatten() {
                self.stay(scope, life.family, state, Span { from, to });
                let entered = if state == State::TimeWait { State::Close } else { state };
                self.transition(scope, life.family, (before, entered), from);
                if next.is_none() && to < limit && state != State::TimeWait {
                    self.transition(scope, life.family, (state, State::Close), to);
                }
                if state == State::CloseWait {
                    let tally = self.tally(scope);
                    self.tallies[tally].close_waits.push((Span { from, to }, life.keepalive));
                }
            }
        }
    }

    /// Sockets that no program owns, such as half-open requests, while they are in a state.
    pub(super) fn stay(&mut self, scope: Scope, family: Family, state: State, span: Span) {
        let (from, to) = (self.gauge_at(span.from), self.gauge_at(span.to));
        let tally = self.tally(scope);
        let changes = &mut self.tallies[tally].states[state as usize][family as usize];
        changes[from] += 1;
        changes[to] -= 1;
    }

    /// A socket has an ephemeral port to a destination; a snapshot sees it.
    fn take_port(&mut self, destination: usize, span: Span) {
        let seen = |time: u64| Self::snapshot_at(time.min(self.duration));
        let (from, to) = (self.scrape_at(seen(span.from)), self.scrape_at(seen(span.to)));
        while self.destinations.len() <= destination {
            self.destinations.push(self.zeros());
        }
        self.destinations[destination][from] += 1;
        self.destinations[destination][to] -= 1;
    }

    fn transition(&mut self, scope: Scope, family: Family, pair: (State, State), time: u64) {
        let Some(place) = TRANSITIONS.iter().position(|known| *known == pair) else { return };
        let (scrape, tally) = (self.scrape_at(time), self.tally(scope));
        self.tallies[tally].transitions[place][family as usize][scrape] += 1;
    }

    /// A connect that fails after `after`, for a cause of [`CONNECT_CAUSES`].
    pub(super) fn fail(&mut self, time: u64, family: Family, cause: &str, after: u64) {
        let steps = [(time, State::SynSent)];
        let end = time + after;
        let destination = (cause != "no_port").then_some(0);
        let (place, keepalive) = (HOST, false);
        self.live(&Life { place, family, keepalive, destination, steps: &steps, end });
        let (scrape, family) = (self.scrape_at(end), family as usize);
        if let Some(cause) = CONNECT_CAUSES.iter().position(|known| *known == cause) {
            self.failures[family][cause][scrape] += 1;
        }
        // The first SYN is sent again after a second.
        if after > SECOND {
            self.retried[family][scrape] += 1;
        }
    }

    pub(super) fn listen(&mut self, place: Place, port: &'static str, limit: i64) -> usize {
        let (length, drops) = (self.zeros(), self.zeros());
        self.listeners.push(Listener { port, limit, length, drops });
        let steps = [(0, State::Listen)];
        let family = Family::Ipv4;
        let (keepalive, destination, end) = (false, None, NEVER);
        self.live(&Life { place, family, keepalive, destination, steps: &steps, end });
        self.listeners.len() - 1
    }

    /// The place of the numbers of `scope`.
    fn tally(&mut self, scope: Scope) -> usize {
        if let Some(found) = self.tallies.iter().position(|tally| tally.scope == scope) {
            return found;
        }
        let each = [self.zeros(), self.zeros()];
        self.tallies.push(Tally {
            scope,
            states: vec![each.clone(); State::ALL.len()],
            transitions: vec![each; TRANSITIONS.len()],
            close_waits: Vec::new(),
        });
        self.tallies.len() - 1
    }
}

/// How many whole intervals `time` takes, rounded up.
fn index(time: u64, interval: u64) -> usize {
    usize::try_from(time.div_ceil(interval)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::time::{HOUR, MINUTE};
    use super::*;

    fn level(host: &Host, state: State, scrape: usize) -> i64 {
        host.tallies[0].states[state as usize][0][..=scrape].iter().sum()
    }

    #[test]
    fn a_socket_is_in_one_state_at_a_time_and_none_survives_a_reboot() {
        let mut host = Host::new(HOUR, 15 * SECOND, true);
        host.reboots.push(Span { from: 30 * MINUTE, to: 31 * MINUTE });
        let steps = [
            (MINUTE, State::SynRecv),
            (MINUTE, State::Established),
            (2 * MINUTE, State::CloseWait),
        ];
        let (place, family) = (HOST, Family::Ipv4);
        let (keepalive, destination, end) = (false, None, NEVER);
        host.live(&Life { place, family, keepalive, destination, steps: &steps, end });
        assert_eq!(
            [3, 4, 8, 119, 120].map(|at| level(&host, State::CloseWait, at)),
            [0, 0, 1, 1, 0]
        );
        assert_eq!([3, 4, 8].map(|at| level(&host, State::Established, at)), [0, 1, 0]);
        assert_eq!(host.tallies[0].transitions.iter().flatten().flatten().sum::<i64>(), 3);
    }

    #[test]
    fn without_a_tracer_the_gauges_are_those_of_the_last_snapshot() {
        assert_eq!(Host::snapshot_at(8 * SECOND), 22 * SECOND);
        let host = Host::new(HOUR, 15 * SECOND, false);
        assert_eq!((host.gauge_at(8 * SECOND), host.scrape_at(8 * SECOND)), (2, 1));
    }
}
