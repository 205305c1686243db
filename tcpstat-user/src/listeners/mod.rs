//! The listening sockets of a network namespace, or of many, by local address and port.
//!
//! This part is pure: it takes what a reading shows of each socket, and reads nothing.
//!
//! - Sockets that share address and port (`SO_REUSEPORT`) are added up, and the fullest of them is kept.
//! - The fullest are shown each, up to a maximum, and the others together. One that was shown stays until a fuller one
//!   needs its place.
//! - What is dropped is counted by socket, so that no count falls when a socket is closed and opened again. A
//!   drop counts where its listener is shown at that reading, so the counts together grow by what was dropped.

mod drops;
#[cfg(test)]
mod tests;

use std::{
    cmp::{Ordering, Reverse},
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
};

use tcpstat_ebpf::ListenerRecord;

use self::drops::Drops;
use crate::{snapshot::ip_address, states::Family};

/// The most listening sockets that one reading has.
pub(crate) const MAX_SOCKETS: usize = 16_384;

/// How many counts are kept, for each that can be shown.
const COUNTS_FOR_EACH: usize = 5;

/// So many counts are kept at least.
const MIN_COUNTS: usize = 1000;

/// Local address and port of a listening socket. `::` is also the address of a socket that accepts both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address; an IPv4 address that an IPv6 socket has stays mapped.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl Endpoint {
    fn of(socket: &ListenerRecord) -> Self {
        let family = Family::from_index(socket.family).unwrap_or(Family::Ipv4);
        Self { address: ip_address(family, socket.address), port: socket.port }
    }
}

/// How full an accept queue is. The kernel accepts connections while it has at most `limit`, so it holds one more.
/// A queue is more than another if it is fuller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fill {
    /// Connections in the queue.
    pub length: u32,
    /// The backlog of listen(2), at most `net.core.somaxconn`.
    pub limit: u32,
}

impl Fill {
    fn capacity(self) -> u64 {
        u64::from(self.limit) + 1
    }

    /// 0 for an empty queue, 1 for a full one: the kernel drops connections then.
    #[must_use]
    pub fn ratio(self) -> f64 {
        f64::from(self.length) / (f64::from(self.limit) + 1.0)
    }
}

impl Ord for Fill {
    fn cmp(&self, other: &Self) -> Ordering {
        let ours = u64::from(self.length) * other.capacity();
        ours.cmp(&(u64::from(other.length) * self.capacity()))
    }
}

impl PartialOrd for Fill {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Fill {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Fill {}

/// The numbers of the sockets that listen at one address and port, or of several such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// Connections that wait to be accepted.
    pub queue_length: u64,
    /// Above so many the kernel drops connections: the sum over the sockets.
    pub queue_limit: u64,
    /// The fullest queue.
    pub fullest: Fill,
    /// Half-open connections.
    pub half_open: u64,
    /// Packets that the kernel dropped (`sk_drops`), as far as readings have seen it: those of connections that found a
    /// queue full, and others.
    pub drops: u64,
}

impl Listener {
    fn add(&mut self, other: &Self) {
        self.queue_length += other.queue_length;
        self.queue_limit += other.queue_limit;
        self.fullest = self.fullest.max(other.fullest);
        self.half_open += other.half_open;
        self.drops += other.drops;
    }
}

/// What is shown of the listeners of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownListeners {
    /// The listeners that are shown each by itself, in the order of their addresses.
    pub each: Vec<(Endpoint, Listener)>,
    /// All others together.
    pub other: Listener,
}

/// What is known of listeners from reading to reading: those of one namespace, or of all namespaces `N` together.
#[derive(Debug)]
pub(crate) struct Listeners<N = ()> {
    /// The most that are shown each.
    max: usize,
    drops: Drops,
    /// The counts of those that are or were shown.
    counts: HashMap<(N, Endpoint), Count>,
    /// Drops of all others of each namespace.
    other: HashMap<N, u64>,
    /// The number of the last reading.
    reading: u64,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    drops: u64,
    /// The last reading in which it was shown.
    shown: u64,
}

impl Listeners {
    /// Takes a reading of all listening sockets. Gives what is shown until the next one.
    pub(crate) fn update(&mut self, sockets: &[ListenerRecord]) -> ShownListeners {
        let mut shown = self.update_all(sockets.iter().map(|socket| ((), socket)));
        shown.remove(&()).unwrap_or_default()
    }
}

impl<N: Copy + Ord + Hash> Listeners<N> {
    pub(crate) fn new(max: usize) -> Self {
        let (drops, counts, other) = (Drops::default(), HashMap::new(), HashMap::new());
        Self { max, drops, counts, other, reading: 0 }
    }

    /// Takes a reading of all listening sockets. Gives what is shown of each namespace until the next one, also of
    /// those that had listeners earlier.
    pub(crate) fn update_all<'a>(
        &mut self,
        sockets: impl IntoIterator<Item = (N, &'a ListenerRecord)>,
    ) -> HashMap<N, ShownListeners> {
        self.reading += 1;
        let mut listeners: Vec<_> = self.by_endpoint(sockets).into_iter().collect();
        if listeners.len() > self.max {
            listeners.sort_by_cached_key(|(key, listener)| self.rank(*key, listener));
        }
        let others = listeners.split_off(self.max.min(listeners.len()));
        listeners.sort_unstable_by_key(|(key, _)| *key);
        let mut shown = HashMap::<N, ShownListeners>::new();
        for ((namespace, endpoint), mut listener) in listeners {
            let count = self.counts.entry((namespace, endpoint));
            let count = count.or_insert(Count { drops: 0, shown: 0 });
            count.drops += listener.drops;
            count.shown = self.reading;
            listener.drops = count.drops;
            shown.entry(namespace).or_default().each.push((endpoint, listener));
        }
        for ((namespace, _), listener) in others {
            shown.entry(namespace).or_default().other.add(&listener);
            *self.other.entry(namespace).or_default() += listener.drops;
        }
        for (namespace, drops) in &self.other {
            shown.entry(*namespace).or_default().other.drops = *drops;
        }
        self.forget();
        shown
    }

    /// Forgets the counts of all namespaces but these.
    pub(crate) fn keep(&mut self, is_there: impl Fn(N) -> bool) {
        self.counts.retain(|(namespace, _), _| is_there(*namespace));
        self.other.retain(|namespace, _| is_there(*namespace));
    }

    /// The listeners of a reading, with the drops since the last one.
    fn by_endpoint<'a>(
        &mut self,
        sockets: impl IntoIterator<Item = (N, &'a ListenerRecord)>,
    ) -> HashMap<(N, Endpoint), Listener> {
        let mut listeners = HashMap::<_, Listener>::new();
        for (namespace, socket) in sockets {
            let Some(drops) = self.drops.since_last(self.reading, socket) else { continue };
            listeners.entry((namespace, Endpoint::of(socket))).or_default().add(&Listener {
                queue_length: socket.queue_length.into(),
                queue_limit: socket.queue_limit.into(),
                fullest: Fill { length: socket.queue_length, limit: socket.queue_limit },
                half_open: socket.half_open.into(),
                drops,
            });
        }
        self.drops.forget(self.reading);
        listeners
    }

    /// The first in this order are shown: the fullest, then those that were shown before, then those with the most
    /// drops.
    fn rank(&self, key: (N, Endpoint), listener: &Listener) -> impl Ord + use<N> {
        let count = self.counts.get(&key);
        let was_shown = count.is_some_and(|count| count.shown + 1 == self.reading);
        let drops = count.map_or(0, |count| count.drops) + listener.drops;
        (Reverse((listener.fullest, was_shown, drops)), key)
    }

    /// Forgets counts that nobody misses, and the oldest of too many.
    fn forget(&mut self) {
        let reading = self.reading;
        self.counts.retain(|_, count| count.shown == reading || count.drops > 0);
        let most = (self.max * COUNTS_FOR_EACH).max(MIN_COUNTS);
        if self.counts.len() > most {
            let mut oldest: Vec<_> =
                self.counts.iter().map(|(key, count)| (count.shown, *key)).collect();
            oldest.sort_unstable();
            for (_, key) in &oldest[..oldest.len() - most] {
                self.counts.remove(key);
            }
        }
    }
}
