//! Seeds and confirms all other network namespaces by one walk over the files of all processes (`iter/task_file`).
//!
//! For each /proc/PID/net/tcp the kernel walks the hash table of the whole host, so to list every namespace costs the square
//! of what the host has. One walk shows the sockets that processes hold in all of them. They are all sockets of a namespace
//! if sockstat counts as many and no counter has changed since the walk began. The others have a snapshot of their own:
//! those with TIME_WAIT, orphans, connections that are not accepted, half-open requests, subflows, or transitions meanwhile.
//!
//! A thread of its own reads ([`super::reader_thread`]).

mod listed;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::debug;

pub(super) use self::listed::HeldTally;
use self::listed::Listed;
use super::{
    active_tracer::ActiveTracer,
    attempts::retry_at,
    budget::Budget,
    others::{Others, ToTally},
    reader_thread::{ListError, ReaderThread},
    schedule::Schedule,
};
use crate::{
    clock,
    kernel::{HeldStateIterator, IterError, NetnsKey},
};

/// Readings take at most this fraction of one CPU: 1 / `SHARE`.
const SHARE: u32 = 200;

/// The shortest time between two checks of whether a reading has ended. One that waits for a peer or a server is asked less
/// and less often.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// For fewer namespaces than these, no reading is worth its walk.
const MIN_NAMESPACES: usize = 2;

/// What a reading gives.
struct Reading {
    /// `None` if there were too many sockets.
    tallies: Option<HashMap<NetnsKey, HeldTally>>,
    /// CPU time, without that of loading the iterator.
    cpu: Duration,
    duration: Duration,
}

/// A reading that goes on.
struct Begun {
    at: Instant,
    namespaces: Vec<ToTally>,
}

/// The thread that reads, and when it does.
pub(super) struct TallyReader {
    /// `None` before the first reading.
    reader_thread: Option<ReaderThread<Reading>>,
    /// The iterator of the thread, until it is started.
    iterator: Option<HeldStateIterator>,
    netns_inum: u32,
    begun: Option<Begun>,
    interval: Duration,
    budget: Budget,
    /// When the next reading is due, or whether one has ended has to be asked; `None` after a failure that lasts.
    due: Option<Instant>,
}

impl TallyReader {
    /// Reads at least `interval` apart.
    pub(super) fn new(
        interval: Duration,
        netns_inum: u32,
        iterator: Option<HeldStateIterator>,
    ) -> Self {
        let now = Instant::now();
        Self {
            reader_thread: None,
            iterator,
            netns_inum,
            begun: None,
            interval,
            budget: Budget::new(SHARE, Duration::ZERO, now),
            due: Some(now),
        }
    }

    /// When to call [`Self::update`] next; `None` for never.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Lets the next reading be due as soon as the budget allows it, because the counters of another tracer count from now on.
    pub(super) fn begin_again(&mut self, now: Instant) {
        if let Some(begun) = &mut self.begun {
            begun.namespaces.clear();
        } else if self.due.is_some() {
            self.due = Some(self.budget.open_at(now));
        }
    }

    /// Begins a reading if one is due, or gives `others` what one shows that has ended. Returns whether any of them has changed.
    pub(super) fn update(
        &mut self,
        others: &mut Others,
        active: &mut ActiveTracer,
        schedule: &mut Schedule,
    ) -> bool {
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        let Some(Begun { at, namespaces }) = self.begun.take() else {
            self.begin(now, others.to_tally(active));
            return false;
        };
        match self.reader_thread.as_ref().and_then(ReaderThread::take) {
            None => {
                self.due = Some(now + POLL_INTERVAL.max((now - at) / 10));
                self.begun = Some(Begun { at, namespaces });
                false
            }
            Some(Err(error)) => {
                self.fail(&error);
                false
            }
            Some(Ok(reading)) => {
                let cpu = clock::thread_cpu();
                let of_all = namespaces.len();
                let taken = reading.tallies.map_or(0, |tallies| {
                    others.take_tallies(namespaces, &tallies, reading.duration, active, schedule)
                });
                let took = reading.cpu + clock::thread_cpu().saturating_sub(cpu);
                debug!(of_all, taken, cpu = ?took, "what processes hold are all sockets of these namespaces");
                self.budget.spend(now, took);
                self.due = Some(self.budget.open_at(now).max(at + self.interval));
                taken > 0
            }
        }
    }

    fn begin(&mut self, now: Instant, namespaces: Vec<ToTally>) {
        if namespaces.len() < MIN_NAMESPACES {
            self.due = Some(now + self.interval);
            return;
        }
        match self.reader_thread() {
            Ok(reader_thread) => reader_thread.request(),
            Err(error) => return self.fail(&error),
        }
        self.begun = Some(Begun { at: now, namespaces });
        self.due = Some(now + POLL_INTERVAL);
    }

    /// The thread; starts it if necessary.
    fn reader_thread(&mut self) -> Result<&ReaderThread<Reading>, ListError> {
        let reader_thread = if let Some(reader_thread) = self.reader_thread.take() {
            reader_thread
        } else {
            let (mut iterator, netns_inum) = (self.iterator.take(), self.netns_inum);
            ReaderThread::start("tallies", move || read(&mut iterator, netns_inum))?
        };
        Ok(self.reader_thread.insert(reader_thread))
    }

    /// Every namespace has snapshots of its own in any case.
    fn fail(&mut self, error: &ListError) {
        self.due = retry_at(error.is_temporary());
        debug!("network namespaces are listed one by one: {error}");
    }
}

/// Loads the iterator if it is `None`.
fn read(iterator: &mut Option<HeldStateIterator>, netns_inum: u32) -> Result<Reading, ListError> {
    let mut loaded = match iterator.take() {
        Some(loaded) => loaded,
        None => HeldStateIterator::load(netns_inum).map_err(IterError::from)?,
    };
    let (begun, cpu) = (Instant::now(), clock::thread_cpu());
    let mut listed = Listed::default();
    loaded.each_socket(|socket| listed.add(&socket))?;
    *iterator = Some(loaded);
    let tallies = listed.into_tallies();
    let cpu = clock::thread_cpu().saturating_sub(cpu);
    Ok(Reading { tallies, cpu, duration: begun.elapsed() })
}
