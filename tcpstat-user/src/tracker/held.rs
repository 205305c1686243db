//! Reads the sockets in CLOSE_WAIT and the listening ones of other network namespaces: those that processes hold. It also
//! says in which namespaces there are held sockets: at the first reading, those are older than the tracer.
//!
//! `iter/task_file` shows every file of every process, so a reading costs as much as there are files. It waits until
//! its share of the time has paid for the last one. A thread of its own reads ([`super::reader_thread`]).

mod listed;
mod source;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{debug, info, warn};

use self::{
    listed::{Listed, MAX_HELD, Parts},
    source::{Reading, Source},
};
use super::{
    ages::MAX_SOCKETS,
    attempts::{LastFailure, retry_at},
    budget::Budget,
    others::Others,
    reader_thread::{ListError, ReaderThread},
    schedule::NamespaceId,
};
use crate::{
    ages::{AgeTable, CloseWaitAges, TickRate},
    clock,
    kernel::HeldIterator,
    listeners::{Listeners, MAX_SOCKETS as MAX_LISTENERS, ShownListeners},
    procfs::Procfs,
};

/// Readings take at most this fraction of one CPU: 1 / `SHARE`.
const SHARE: u32 = 100;

/// Time between two checks of whether a reading has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A reading that takes so long waits for a peer or a server ([`super::reader_thread`]). It can wait for hours, and what the last
/// one has shown is too old then.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// What the last reading has shown of one namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// As [`Published::close_wait_ages`](super::Published::close_wait_ages).
    pub(super) close_wait_ages: Option<(CloseWaitAges, TickRate)>,
    /// `None` if they are not read.
    pub(super) listeners: Option<Arc<ShownListeners>>,
}

/// The thread that reads, and what its readings have shown.
pub(super) struct HeldReader {
    /// `None` before the first reading.
    reader_thread: Option<ReaderThread<(), Reading>>,
    /// The iterator of the thread, until it is started.
    iterator: Option<HeldIterator>,
    netns_inum: u32,
    /// When the reading began that goes on; `None` if there is none.
    begun: Option<Instant>,
    /// Of all namespaces together; `None` if ages are not read.
    ages: Option<(AgeTable, TickRate)>,
    /// Of all namespaces together; `None` if listeners are not read.
    listeners: Option<Listeners<NamespaceId>>,
    interval: Duration,
    budget: Budget,
    /// When the next reading is due, or whether one has ended has to be asked; `None` after a failure that lasts.
    due: Option<Instant>,
    /// Whether a reading has succeeded.
    has_read: bool,
    /// Whether it sees what all processes hold: the iterator lists those of this one's PID namespace.
    sees_all_processes: bool,
    last_failure: LastFailure,
    too_many_logged: bool,
}

/// What a reading shows, by namespace.
#[derive(Default)]
struct Found {
    ages: HashMap<NamespaceId, CloseWaitAges>,
    listeners: HashMap<NamespaceId, ShownListeners>,
}

impl HeldReader {
    /// Reads at least `interval` apart: ages if the kernel's clock ticks at `rate`, and the listeners of at most
    /// `listeners_max` addresses and ports each. If both are off, it reads once.
    pub(super) fn new(
        rate: Option<TickRate>,
        listeners_max: usize,
        interval: Duration,
        netns_inum: u32,
        iterator: Option<HeldIterator>,
    ) -> Self {
        let now = Instant::now();
        Self {
            reader_thread: None,
            iterator,
            netns_inum,
            begun: None,
            ages: rate.map(|rate| (AgeTable::new(rate, MAX_SOCKETS), rate)),
            listeners: (listeners_max > 0).then(|| Listeners::new(listeners_max)),
            interval,
            budget: Budget::new(SHARE, Duration::ZERO, now),
            due: Some(now),
            has_read: false,
            sees_all_processes: Procfs::in_initial_pid_namespace() == Some(true),
            last_failure: LastFailure::default(),
            too_many_logged: false,
        }
    }

    /// When to call [`HeldReader::update`] next; `None` for never.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Begins a reading if one is due, or gives `others` what one shows that has ended. Returns whether it did that.
    pub(super) fn update(&mut self, others: &mut Others) -> bool {
        let now = Instant::now();
        let is_due = self.due.is_some_and(|due| due <= now);
        let Some(begun) = self.begun else {
            if is_due {
                self.begin(now, others);
            }
            return false;
        };
        // As soon as there is one: it says which of the namespaces that appear have older sockets.
        let Some(reading) = self.reader_thread.as_ref().and_then(ReaderThread::take) else {
            if !is_due {
                return false;
            }
            if now.saturating_duration_since(begun) >= MAX_WAIT {
                self.fail(&ListError::Waits(MAX_WAIT), others);
                return true;
            }
            self.due = Some(now + POLL_INTERVAL);
            return false;
        };
        self.begun = None;
        match reading {
            Ok(mut reading) => {
                self.has_read = true;
                if self.sees_all_processes && reading.listed.has_all_namespaces() {
                    others.know_held(mem::take(&mut reading.listed.namespaces));
                }
                let cpu = clock::thread_cpu();
                let found = self.evaluate(&reading.listed, others);
                self.show(found, others);
                let took = reading.cpu + clock::thread_cpu().saturating_sub(cpu);
                debug!(cpu = ?took, "read what processes hold in other network namespaces");
                self.budget.spend(now, took);
                let is_repeated = self.ages.is_some() || self.listeners.is_some();
                let next = self.budget.open_at(now).max(begun + self.interval);
                self.due = is_repeated.then_some(next);
                if self.last_failure.is_over() {
                    info!(
                        "the sockets that processes hold in other network namespaces are shown again"
                    );
                }
            }
            Err(error) => self.fail(&error, others),
        }
        true
    }

    /// Lets the thread read. After the first reading, without another namespace there is nothing to read, and nothing to
    /// remember.
    fn begin(&mut self, now: Instant, others: &mut Others) {
        if self.has_read && others.is_empty() {
            self.evaluate(&Listed::default(), others);
            self.due = Some(now + self.interval);
            return;
        }
        match self.reader_thread() {
            Ok(reader_thread) => reader_thread.request(()),
            Err(error) => return self.fail(&error, others),
        }
        self.begun = Some(now);
        self.due = Some(now + POLL_INTERVAL.min(self.interval));
    }

    /// The thread; starts it if necessary.
    fn reader_thread(&mut self) -> Result<&ReaderThread<(), Reading>, ListError> {
        let reader_thread = if let Some(reader_thread) = self.reader_thread.take() {
            reader_thread
        } else {
            let (iterator, netns_inum) = (self.iterator.take(), self.netns_inum);
            let parts = Parts { ages: self.ages.is_some(), listeners: self.listeners.is_some() };
            let mut source = Source { iterator, netns_inum, parts };
            ReaderThread::start("held", move |()| source.read())?
        };
        Ok(self.reader_thread.insert(reader_thread))
    }

    fn evaluate(&mut self, listed: &Listed, others: &Others) -> Found {
        let mut found = Found::default();
        if let Some((table, _)) = &mut self.ages {
            let mut reading = table.begin();
            for (key, socket) in &listed.close_wait {
                // A search or an event finds the other namespaces.
                if let Some(id) = others.id(*key) {
                    reading.see_in(socket, found.ages.entry(id).or_default());
                }
            }
            // Each namespace has its own ages.
            let _ = reading.end();
        }
        if let Some(known) = &mut self.listeners {
            known.keep(|id| others.has(id));
            let listeners = listed.listeners.iter();
            let listeners = listeners.filter_map(|(key, socket)| Some((others.id(*key)?, socket)));
            found.listeners = known.update_all(listeners);
        }
        if listed.too_many && !mem::replace(&mut self.too_many_logged, true) {
            warn!(
                "processes hold more than {MAX_HELD} sockets in CLOSE_WAIT or {MAX_LISTENERS} listening sockets in \
                 other network namespaces: those beyond are not shown"
            );
        }
        found
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

    fn fail(&mut self, error: &ListError, others: &mut Others) {
        others.set_held(|_| Held::default());
        self.due = retry_at(error.is_temporary());
        if self.last_failure.is_new(&error.to_string()) {
            let until = if self.due.is_some() { "for now" } else { "from now on" };
            let gauges =
                if self.has_read { "" } else { "gauges of namespaces without a process, " };
            let cause = error.explain();
            warn!(
                "{gauges}ages of CLOSE_WAIT and listening sockets of other network namespaces are not shown {until}: \
                 iter/task_file: {cause}"
            );
        }
    }
}
