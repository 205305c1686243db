//! Reads the sockets in CLOSE_WAIT and the listening ones of other network namespaces: those that processes hold.
//!
//! `iter/task_file` shows every file of every process, so a reading costs as much as there are files. It waits until
//! its share of the time has paid for the last one.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tcpstat_ebpf::ListenerRecord;
use tracing::{debug, info, warn};

use super::{
    ages::MAX_SOCKETS,
    attempts::{LastFailure, retry_at},
    budget::Budget,
    others::Others,
    schedule::NamespaceId,
};
use crate::{
    ages::{AgeTable, CloseWaitAges, Reading, TickRate},
    clock,
    kernel::{HeldIterator, HeldSocket, IterError},
    listeners::{Listeners, MAX_SOCKETS as MAX_LISTENERS, ShownListeners},
    procfs::Privileges,
};

/// Readings take at most this fraction of one CPU: 1 / `SHARE`.
const SHARE: u32 = 100;

/// The most sockets that one reading counts. While it runs, they take 2.5 MB.
const MAX_HELD: usize = 2 * MAX_SOCKETS;

/// What the last reading has shown of one namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// As [`Published::close_wait_ages`](super::Published::close_wait_ages).
    pub(super) close_wait_ages: Option<(CloseWaitAges, TickRate)>,
    /// `None` if they are not read.
    pub(super) listeners: Option<Arc<ShownListeners>>,
}

/// The iterator over the files of processes, and what its readings have shown.
pub(super) struct HeldReader {
    /// `None` if it has to be loaded at the next reading.
    iterator: Option<HeldIterator>,
    netns_inum: u32,
    /// Of all namespaces together; `None` if ages are not read.
    ages: Option<(AgeTable, TickRate)>,
    /// Of all namespaces together; `None` if listeners are not read.
    listeners: Option<Listeners<NamespaceId>>,
    interval: Duration,
    budget: Budget,
    /// When the next reading is due; `None` after a failure that lasts.
    due: Option<Instant>,
    last_failure: LastFailure,
    too_many_logged: bool,
}

/// What a reading shows, by namespace.
#[derive(Default)]
struct Found {
    ages: HashMap<NamespaceId, CloseWaitAges>,
    listeners: HashMap<NamespaceId, ShownListeners>,
}

/// A reading that goes on. It takes each socket once.
struct Collection<'a> {
    sockets: HashSet<u64>,
    /// `None` if ages are not read.
    reading: Option<Reading<'a>>,
    ages: HashMap<NamespaceId, CloseWaitAges>,
    /// `None` if listeners are not read.
    listeners: Option<Vec<(NamespaceId, ListenerRecord)>>,
    /// Whether some had no room.
    too_many: bool,
}

impl<'a> Collection<'a> {
    fn new(ages: Option<&'a mut AgeTable>, reads_listeners: bool) -> Self {
        Self {
            sockets: HashSet::new(),
            reading: ages.map(AgeTable::begin),
            ages: HashMap::new(),
            listeners: reads_listeners.then(Vec::new),
            too_many: false,
        }
    }

    fn add(&mut self, id: NamespaceId, socket: &HeldSocket) {
        match socket {
            HeldSocket::CloseWait(socket) => {
                if self.reading.is_some() && self.is_new(socket.skaddr) {
                    let ages = self.ages.entry(id).or_default();
                    self.reading.iter_mut().for_each(|reading| reading.see_in(socket, ages));
                }
            }
            HeldSocket::Listener(socket) => {
                if self.listeners.is_some() && self.is_new(socket.skaddr) {
                    let Some(listeners) = &mut self.listeners else { return };
                    if listeners.len() < MAX_LISTENERS {
                        listeners.push((id, *socket));
                    } else {
                        self.too_many = true;
                    }
                }
            }
        }
    }

    /// Whether the socket at this address is a new one, and there is room for it.
    fn is_new(&mut self, skaddr: u64) -> bool {
        if self.sockets.len() < MAX_HELD {
            return self.sockets.insert(skaddr);
        }
        self.too_many |= !self.sockets.contains(&skaddr);
        false
    }
}

impl HeldReader {
    /// Reads at least `interval` apart: ages if the kernel's clock ticks at `rate`, and the listeners of at most
    /// `listeners_max` addresses and ports each. `None` if both are off.
    pub(super) fn new(
        rate: Option<TickRate>,
        listeners_max: usize,
        interval: Duration,
        netns_inum: u32,
        iterator: Option<HeldIterator>,
    ) -> Option<Self> {
        let now = Instant::now();
        (rate.is_some() || listeners_max > 0).then(|| Self {
            iterator,
            netns_inum,
            ages: rate.map(|rate| (AgeTable::new(rate, MAX_SOCKETS), rate)),
            listeners: (listeners_max > 0).then(|| Listeners::new(listeners_max)),
            interval,
            budget: Budget::new(SHARE, Duration::ZERO, now),
            due: Some(now),
            last_failure: LastFailure::default(),
            too_many_logged: false,
        })
    }

    /// When the next reading is due; `None` for never.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Reads, if a reading is due, and gives `others` what it shows. Returns whether it did.
    pub(super) fn update(&mut self, others: &mut Others) -> bool {
        let begin = Instant::now();
        if self.due.is_none_or(|due| begin < due) {
            return false;
        }
        match self.read_in_budget(others) {
            Ok(found) => {
                self.due = Some(self.budget.open_at(Instant::now()).max(begin + self.interval));
                if self.last_failure.is_over() {
                    info!(
                        "the sockets that processes hold in other network namespaces are shown again"
                    );
                }
                self.show(found, others);
            }
            Err(error) => {
                self.note_failure(&error);
                others.set_held(|_| Held::default());
            }
        }
        true
    }

    /// Spends the CPU time that the reading takes, without that of loading the iterator.
    fn read_in_budget(&mut self, others: &Others) -> Result<Found, IterError> {
        if others.is_empty() {
            return Ok(Found::default());
        }
        let mut iterator = match self.iterator.take() {
            Some(iterator) => iterator,
            None => HeldIterator::load(self.netns_inum)?,
        };
        let cpu = clock::thread_cpu();
        let found = self.read(&mut iterator, others)?;
        let took = clock::thread_cpu().saturating_sub(cpu);
        debug!(cpu = ?took, "read what processes hold in other network namespaces");
        self.budget.spend(Instant::now(), took);
        self.iterator = Some(iterator);
        Ok(found)
    }

    fn read(&mut self, iterator: &mut HeldIterator, others: &Others) -> Result<Found, IterError> {
        let ages = self.ages.as_mut().map(|(table, _)| table);
        let mut collection = Collection::new(ages, self.listeners.is_some());
        iterator.each_socket(|key, socket| {
            // A search or an event finds the other namespaces.
            if let Some(id) = others.id(key) {
                collection.add(id, &socket);
            }
        })?;
        let Collection { reading, ages, listeners, too_many, .. } = collection;
        // Each namespace has its own ages.
        let _ = reading.map(Reading::end);
        let mut found = Found { ages, listeners: HashMap::new() };
        if let Some((known, listeners)) = self.listeners.as_mut().zip(listeners) {
            known.keep(|id| others.has(id));
            found.listeners = known.update_all(listeners.iter().map(|(id, socket)| (*id, socket)));
        }
        if too_many && !std::mem::replace(&mut self.too_many_logged, true) {
            warn!(
                "processes hold more than {MAX_HELD} sockets in CLOSE_WAIT or {MAX_LISTENERS} listening sockets in \
                 other network namespaces: those beyond are not shown"
            );
        }
        Ok(found)
    }

    /// A namespace without such sockets has zeros.
    fn show(&self, mut found: Found, others: &mut Others) {
        others.set_held(|id| Held {
            close_wait_ages: self.ages.as_ref().map(|(_, rate)| {
                let ages = found.ages.remove(&id).unwrap_or_default();
                (ages, *rate)
            }),
            listeners: self
                .listeners
                .as_ref()
                .map(|_| Arc::new(found.listeners.remove(&id).unwrap_or_default())),
        });
    }

    fn note_failure(&mut self, error: &IterError) {
        self.due = retry_at(error.is_temporary());
        if self.last_failure.is_new(&error.to_string()) {
            let until = if self.due.is_some() { "for now" } else { "from now on" };
            if let IterError::Open(error) = error {
                error.write_kernel_log();
            }
            let cause = error.with_remedy(&Privileges::read());
            warn!(
                "ages of CLOSE_WAIT and listening sockets of other network namespaces are not shown {until}: \
                 iter/task_file: {cause}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tcpstat_ebpf::CloseWaitRecord;

    use super::*;

    const ID: NamespaceId = NamespaceId::other(2);

    /// One that has been in CLOSE_WAIT for more than a minute.
    fn close_wait(skaddr: u64) -> HeldSocket {
        HeldSocket::CloseWait(CloseWaitRecord { skaddr, now: 100_000, heard: 1, received: 1 })
    }

    fn listener(skaddr: u64) -> HeldSocket {
        HeldSocket::Listener(ListenerRecord { skaddr, ..ListenerRecord::default() })
    }

    fn table() -> AgeTable {
        AgeTable::new(TickRate(NonZeroU32::new(250).unwrap()), 10)
    }

    #[test]
    fn a_socket_counts_once_in_its_namespace_however_often_it_comes() {
        let mut table = table();
        let mut collection = Collection::new(Some(&mut table), true);
        let other = NamespaceId::other(3);
        for _ in 0..3 {
            // More than the table has room for.
            (1..=20).for_each(|skaddr| collection.add(ID, &close_wait(skaddr)));
            collection.add(other, &close_wait(21));
            collection.add(other, &listener(22));
        }
        assert_eq!(collection.ages[&ID].older_than, [20, 20, 0]);
        assert_eq!(collection.ages[&other].older_than[0], 1);
        assert_eq!(collection.listeners.map(|listeners| listeners.len()), Some(1));
        assert!(!collection.too_many);
    }

    #[test]
    fn sockets_beyond_the_most_are_left_out_and_those_before_them_stay() {
        let mut table = table();
        let mut collection = Collection::new(Some(&mut table), true);
        let most = MAX_HELD as u64;
        (1..=most).for_each(|skaddr| collection.add(ID, &close_wait(skaddr)));
        collection.add(ID, &close_wait(1));
        assert!(!collection.too_many);
        collection.add(ID, &close_wait(most + 1));
        assert!(collection.too_many);
        assert_eq!(collection.ages[&ID].older_than[0], most);

        let mut collection = Collection::new(None, true);
        (0..=MAX_LISTENERS as u64).for_each(|skaddr| collection.add(ID, &listener(skaddr)));
        assert!(collection.too_many);
        assert_eq!(collection.listeners.map(|listeners| listeners.len()), Some(MAX_LISTENERS));
    }

    #[test]
    fn what_is_off_is_not_taken() {
        let mut collection = Collection::new(None, false);
        collection.add(ID, &close_wait(1));
        collection.add(ID, &listener(2));
        assert!(collection.ages.is_empty() && collection.listeners.is_none());
    }
}
