//! The rows that answer a query.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    net::IpAddr,
    ops::RangeInclusive,
};

use tcpstat_ebpf::State;

use super::{
    Queue,
    sets::SetId,
    table::{Entry, HolderTable},
};
use crate::frequent::Frequent;

/// Peers and local ports that a row shows.
const MOST_SHOWN: usize = 20;

/// Peers that are counted at once in a row.
const MOST_PEERS: usize = 4096;

/// Which sockets and rows a report has.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only sockets in these states; in any if it is empty.
    pub states: Vec<State>,
    /// Only sockets of these network namespaces.
    pub netns: Option<Vec<u64>>,
    /// Only sockets that this process holds.
    pub pid: Option<u32>,
    /// Only sockets with a local port in one of these ranges; with any if it is empty.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Only sockets whose peer has been silent for more ticks than this.
    pub older_than: Option<u32>,
    /// The order of the rows.
    pub sort: SortBy,
    /// Most rows; also most accept queues.
    pub limit: Option<usize>,
}

/// The order of the rows. Rows that are equal are in the order of their lowest process ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortBy {
    /// Rows with most sockets first.
    #[default]
    Sockets,
    /// Rows with the longest silence first.
    Oldest,
    /// By the lowest process id.
    Pid,
}

/// What a query gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HolderReport {
    /// Sockets of all rows, with those that are not shown.
    pub sockets: u64,
    /// Sockets that are in a row of some of their processes: too many sets of processes share sockets, so the others are not
    /// known. Those of the whole reading, for any query: one with `pid` can miss sockets then.
    pub with_more_processes: u64,
    /// The rows in order.
    pub rows: Vec<HolderRow>,
    /// Rows beyond the limit.
    pub more_rows: usize,
    /// Accept queues with a connection in them, the longest first. Those of all states: a queue does not show them.
    pub accept_queues: Vec<AcceptQueue>,
    /// Accept queues beyond the limit.
    pub more_accept_queues: usize,
    /// Totals of each network namespace, for any query.
    pub netns: Vec<NetnsTotals>,
}

/// The sockets that a set of processes holds in a network namespace. Processes that share sockets have a row together
/// for these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderRow {
    /// The namespace of the sockets.
    pub netns: u64,
    /// The processes by id; at least one.
    pub pids: Vec<u32>,
    /// Number of sockets.
    pub sockets: u64,
    /// The number in each state, without zeros.
    pub states: Vec<(State, u64)>,
    /// The longest silence of a peer, in ticks; `None` if none is known.
    pub oldest: Option<u32>,
    /// The most frequent local ports.
    pub local_ports: Vec<(u16, u64)>,
    /// Other local ports.
    pub more_local_ports: usize,
    /// The most frequent peers. Their numbers are exact. One that has less than one in 4096 of the sockets can be
    /// missing.
    pub peers: Vec<Peer>,
}

/// A peer of some sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` for all ports of this address, where a socket of the namespace listens on the local port: a
    /// client has another port for each connection.
    pub port: Option<u16>,
    /// Number of sockets.
    pub sockets: u64,
}

/// The accept queue of a listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptQueue {
    /// The namespace of the socket.
    pub netns: u64,
    /// Local port.
    pub port: u16,
    /// Address, length, and limit.
    pub queue: Queue,
    /// The processes that hold the listening socket; none if they are not visible.
    pub pids: Vec<u32>,
}

/// What a network namespace has in all states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetnsTotals {
    /// The namespace.
    pub netns: u64,
    /// Held sockets that the kernel has hashed: those in any state but CLOSE. sockstat counts these.
    pub held: u64,
    /// Connections in accept queues.
    pub queued: u64,
}

/// What is summed of the sockets of a set.
struct Sums {
    set: SetId,
    /// Whether the set fits the query.
    fits: bool,
    /// As [`NetnsTotals::held`].
    held: u64,
    sockets: u64,
    /// By number.
    states: [u64; 16],
    oldest: Option<u32>,
}

/// No row.
const NONE: u32 = u32::MAX;

impl HolderTable {
    /// Answers a query.
    #[must_use]
    pub fn report(&self, query: &Query) -> HolderReport {
        let mut sums = self.sums(query);
        let netns = self.totals(&sums);
        sums.retain(|sums| sums.sockets > 0);
        let sockets = sums.iter().map(|sums| sums.sockets).sum();
        let (sums, more_rows) = self.sorted(sums, query);
        let rows = self.rows(&sums, query);
        let (accept_queues, more_accept_queues) = self.accept_queues(query);
        let more_processes = self.entries().filter(|(_, entry)| entry.has_more_processes).count();
        HolderReport {
            sockets,
            with_more_processes: more_processes as u64,
            rows,
            more_rows,
            accept_queues,
            more_accept_queues,
            netns,
        }
    }

    fn sums(&self, query: &Query) -> Vec<Sums> {
        let (mut sums, mut place_of) = (Vec::<Sums>::new(), vec![NONE; self.sets.count()]);
        for (_, entry) in self.entries().filter(|(_, entry)| !self.sets.is_empty(entry.set)) {
            let place = &mut place_of[entry.set.index()];
            if *place == NONE {
                *place = u32::try_from(sums.len()).unwrap_or(NONE);
                sums.push(Sums {
                    set: entry.set,
                    fits: self.set_fits(entry.set, query),
                    held: 0,
                    sockets: 0,
                    states: [0; 16],
                    oldest: None,
                });
            }
            let sums = &mut sums[*place as usize];
            sums.held += u64::from(entry.state != State::Close);
            if sums.fits && query.fits(entry) {
                sums.sockets += 1;
                sums.states[usize::from(entry.state.number())] += 1;
                sums.oldest = sums.oldest.max(entry.silence());
            }
        }
        sums
    }

    fn set_fits(&self, set: SetId, query: &Query) -> bool {
        query.netns.as_ref().is_none_or(|wanted| wanted.contains(&self.sets.netns(set)))
            && query.pid.is_none_or(|pid| self.sets.has(set, pid))
    }

    fn totals(&self, sums: &[Sums]) -> Vec<NetnsTotals> {
        let mut totals = HashMap::<u64, NetnsTotals>::new();
        let mut add = |netns, held, queued| {
            let empty = NetnsTotals { netns, held: 0, queued: 0 };
            let totals = totals.entry(netns).or_insert(empty);
            totals.held += held;
            totals.queued += queued;
        };
        for sums in sums {
            add(self.sets.netns(sums.set), sums.held, 0);
        }
        for (entry, queue) in self.listeners() {
            add(self.sets.netns(entry.set), 0, queue.length.into());
        }
        let mut totals: Vec<_> = totals.into_values().collect();
        totals.sort_unstable_by_key(|totals| totals.netns);
        totals
    }

    /// The rows within the limit in their order, and the number of other rows.
    fn sorted(&self, sums: Vec<Sums>, query: &Query) -> (Vec<(Vec<u32>, Sums)>, usize) {
        let mut sums: Vec<_> =
            sums.into_iter().map(|it| (self.sets.first_pid(it.set), it)).collect();
        sums.sort_by_key(|(pid, sums)| {
            let first = match query.sort {
                SortBy::Sockets => (sums.sockets, None),
                SortBy::Oldest => (0, sums.oldest),
                SortBy::Pid => (0, None),
            };
            (Reverse(first), *pid, self.sets.netns(sums.set))
        });
        let more = sums.len().saturating_sub(query.limit.unwrap_or(usize::MAX));
        sums.truncate(sums.len() - more);
        let sums = sums.into_iter().map(|(_, sums)| (self.sets.pids(sums.set), sums));
        (sums.collect(), more)
    }

    /// One row after the other: only the counts of one are in memory.
    fn rows(&self, sums: &[(Vec<u32>, Sums)], query: &Query) -> Vec<HolderRow> {
        let (places, listening) = (self.places(sums, query), self.listening());
        let mut rest = &places[..];
        let rows = sums.iter().map(|(pids, sums)| {
            let count = usize::try_from(sums.sockets).unwrap_or(usize::MAX).min(rest.len());
            let (own, others) = rest.split_at(count);
            rest = others;
            self.row(pids, sums, own, &listening)
        });
        rows.collect()
    }

    /// The places of the sockets of each row, one row after the other.
    fn places(&self, sums: &[(Vec<u32>, Sums)], query: &Query) -> Vec<u32> {
        // The next free element of each row's part, by its set.
        let (mut next, mut end) = (vec![NONE; self.sets.count()], 0);
        for (_, sums) in sums {
            next[sums.set.index()] = end;
            end += u32::try_from(sums.sockets).unwrap_or(0);
        }
        let mut places = vec![0; end as usize];
        for (place, entry) in self.entries() {
            let next = &mut next[entry.set.index()];
            if *next != NONE && query.fits(entry) {
                places[*next as usize] = place;
                *next += 1;
            }
        }
        places
    }

    fn row(
        &self,
        pids: &[u32],
        sums: &Sums,
        places: &[u32],
        listening: &HashSet<(u64, u16)>,
    ) -> HolderRow {
        let entries = || places.iter().map(|&place| self.entry(place));
        let mut ports = Frequent::new(usize::from(u16::MAX) + 1);
        entries().for_each(|entry| ports.add(entry.local_port));
        let mut peers = Frequent::new(MOST_PEERS);
        let of_row = || entries().filter_map(|entry| self.peer(entry, listening));
        of_row().for_each(|peer| peers.add(peer));
        if !peers.is_exact() {
            peers.recount();
            of_row().for_each(|peer| peers.count(peer));
        }
        let states = State::ALL.map(|state| (state, sums.states[usize::from(state.number())]));
        let (local_ports, more_local_ports) = ports.top(MOST_SHOWN);
        let (peers, _) = peers.top(MOST_SHOWN);
        let peer = |((address, port), sockets)| Peer { address, port, sockets };
        HolderRow {
            netns: self.sets.netns(sums.set),
            pids: pids.to_vec(),
            sockets: sums.sockets,
            states: states.into_iter().filter(|&(_, sockets)| sockets > 0).collect(),
            oldest: sums.oldest,
            local_ports,
            more_local_ports,
            peers: peers.into_iter().map(peer).collect(),
        }
    }

    /// Address and port of the peer as [`Peer`] has them.
    fn peer(
        &self,
        entry: &Entry,
        listening: &HashSet<(u64, u16)>,
    ) -> Option<(IpAddr, Option<u16>)> {
        let (address, port) = self.remote(entry)?;
        let accepted = listening.contains(&(self.sets.netns(entry.set), entry.local_port));
        Some((address, (!accepted).then_some(port)))
    }

    /// The ports that sockets listen on, with their namespaces.
    fn listening(&self) -> HashSet<(u64, u16)> {
        self.listeners().map(|(entry, _)| (self.sets.netns(entry.set), entry.local_port)).collect()
    }

    fn listeners(&self) -> impl Iterator<Item = (&Entry, &Queue)> {
        self.queues.iter().map(|(&place, queue)| (self.entry(place), queue))
    }

    fn accept_queues(&self, query: &Query) -> (Vec<AcceptQueue>, usize) {
        let fits =
            |entry: &Entry| self.set_fits(entry.set, query) && query.has_port(entry.local_port);
        let filled = self.listeners().filter(|(entry, queue)| queue.length > 0 && fits(entry));
        let queues = filled.map(|(entry, &queue)| AcceptQueue {
            netns: self.sets.netns(entry.set),
            port: entry.local_port,
            queue,
            pids: self.sets.pids(entry.set),
        });
        let mut queues: Vec<_> = queues.collect();
        queues.sort_unstable_by_key(|it| {
            (
                Reverse(it.queue.length),
                it.netns,
                it.port,
                it.queue.address,
                it.pids.first().copied(),
            )
        });
        let more = queues.len().saturating_sub(query.limit.unwrap_or(usize::MAX));
        queues.truncate(queues.len() - more);
        (queues, more)
    }
}

impl Query {
    /// Whether a socket fits it, apart from its namespace and its holders.
    fn fits(&self, entry: &Entry) -> bool {
        (self.states.is_empty() || self.states.contains(&entry.state))
            && self.has_port(entry.local_port)
            && self.older_than.is_none_or(|bound| entry.silence().is_some_and(|it| it > bound))
    }

    fn has_port(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|ports| ports.contains(&port))
    }
}
