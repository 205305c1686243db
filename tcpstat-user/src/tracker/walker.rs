//! Seeds and confirms many other network namespaces by one walk over the files of all processes (`iter/task_file`).
//!
//! For each /proc/PID/net/tcp the kernel walks the hash table of the whole host. One walk over the files shows the sockets
//! that processes hold in all namespaces. [`Walked`] decides of which namespace these are all sockets; each of the others has
//! a snapshot of its own.
//!
//! A thread of its own walks ([`super::reader_thread`]).

mod listed;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::debug;

pub(super) use self::listed::HeldTally;
use self::listed::Listed;
use super::{
    attempts::retry_at,
    budget::Budget,
    reader_thread::{ListError, ReaderThread},
    schedule::NamespaceId,
};
use crate::{
    clock,
    kernel::{HeldStateIterator, IterError, NetnsKey, Slot},
    transitions::Transitions,
};

/// Walks take at most this fraction of one CPU: 1 / `SHARE`.
const SHARE: u32 = 200;

/// The shortest time between two polls of whether a walk has ended. One that waits for a peer or a server is polled less
/// and less often.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// With fewer namespaces a walk saves nothing.
const MIN_NAMESPACES: usize = 2;
/// While there are fewer, the time until they are counted again.
const FEW_INTERVAL: Duration = Duration::from_secs(5);

/// A namespace before a walk.
#[derive(Debug)]
pub(super) struct BeforeWalk {
    pub(super) id: NamespaceId,
    pub(super) key: NetnsKey,
    pub(super) slot: Slot,
    /// Its counters.
    pub(super) counted: Transitions,
    /// Missed events of all namespaces.
    pub(super) missed: u64,
}

/// The namespaces that a walk can seed or confirm.
pub(super) trait Walked {
    /// Those that need it now, as they are before the walk.
    fn before_walk(&self) -> Vec<BeforeWalk>;

    /// Seeds and confirms those of which the walk has shown all sockets. Returns whether there are any.
    fn take_walk(
        &mut self,
        before: Vec<BeforeWalk>,
        tallies: &HashMap<NetnsKey, HeldTally>,
    ) -> bool;

    /// Notes that a walk has taken so much CPU time.
    fn spend(&mut self, took: Duration);
}

/// The thread that walks, and when it does.
pub(super) struct Walker {
    /// `None` before the first walk.
    thread: Option<ReaderThread<Keys, Walk>>,
    /// The iterator of the thread, until it is started.
    iterator: Option<HeldStateIterator>,
    netns_inum: u32,
    /// The walk that goes on.
    begun: Option<Begun>,
    interval: Duration,
    budget: Budget,
    /// When to begin the next walk, or to ask whether the current one has ended; `None` after a failure that lasts.
    due: Option<Instant>,
}

/// The namespaces whose sockets a walk lists.
type Keys = Vec<NetnsKey>;

struct Begun {
    at: Instant,
    /// `None` if the result is of no use any more.
    before: Option<Vec<BeforeWalk>>,
}

/// A walk that has ended.
struct Walk {
    /// `None` if there were too many sockets.
    listed: Result<Option<Listed>, IterError>,
    /// CPU time.
    took: Duration,
}

impl Walker {
    /// Walks at least `interval` apart.
    pub(super) fn new(
        interval: Duration,
        netns_inum: u32,
        iterator: Option<HeldStateIterator>,
    ) -> Self {
        let now = Instant::now();
        Self {
            thread: None,
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

    /// Lets the next walk begin as soon as the budget allows it, because the counters of another tracer count from now on.
    pub(super) fn begin_again(&mut self, now: Instant) {
        if let Some(begun) = &mut self.begun {
            begun.before = None;
        } else if self.due.is_some() {
            self.due = Some(self.budget.open_at(now));
        }
    }

    /// Begins a walk if one is due, or gives `namespaces` what one shows that has ended. Returns whether any has changed.
    pub(super) fn update(&mut self, namespaces: &mut impl Walked) -> bool {
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        let cpu = clock::thread_cpu();
        let Some(Begun { at, before }) = self.begun.take() else {
            self.begin(now, namespaces.before_walk());
            self.spend(now, clock::thread_cpu().saturating_sub(cpu), namespaces);
            return false;
        };
        let Walk { listed, took } = match self.thread.as_ref().and_then(ReaderThread::take) {
            None => {
                self.due = Some(now + POLL_INTERVAL.max((now - at) / 10));
                self.begun = Some(Begun { at, before });
                return false;
            }
            Some(Ok(walk)) => walk,
            Some(Err(error)) => {
                self.fail(&error);
                return false;
            }
        };
        let wanted = before.is_some();
        let has_changed = match (&listed, before) {
            (Ok(Some(listed)), Some(before)) => namespaces.take_walk(before, listed.tallies()),
            _ => false,
        };
        self.spend(now, took + clock::thread_cpu().saturating_sub(cpu), namespaces);
        let open_at = self.budget.open_at(now);
        match listed {
            Err(error) => self.fail(&error.into()),
            Ok(_) if !wanted => self.due = Some(open_at),
            Ok(listed) => {
                if listed.is_none() {
                    debug!("a walk has ended early: there are too many sockets");
                }
                self.due = Some(open_at.max(at + self.interval));
            }
        }
        has_changed
    }

    fn begin(&mut self, now: Instant, before: Vec<BeforeWalk>) {
        if before.len() < MIN_NAMESPACES {
            self.due = Some(now + self.interval.min(FEW_INTERVAL));
            return;
        }
        let keys = before.iter().map(|namespace| namespace.key).collect();
        match self.thread() {
            Ok(thread) => thread.request(keys),
            Err(error) => return self.fail(&error),
        }
        self.begun = Some(Begun { at: now, before: Some(before) });
        self.due = Some(now + POLL_INTERVAL);
    }

    /// The thread; starts it if necessary.
    fn thread(&mut self) -> Result<&ReaderThread<Keys, Walk>, ListError> {
        let thread = if let Some(thread) = self.thread.take() {
            thread
        } else {
            let (mut iterator, netns_inum) = (self.iterator.take(), self.netns_inum);
            ReaderThread::start("walker", move |keys| Ok(walk(keys, &mut iterator, netns_inum)))?
        };
        Ok(self.thread.insert(thread))
    }

    fn spend(&mut self, now: Instant, took: Duration, namespaces: &mut impl Walked) {
        self.budget.spend(now, took);
        namespaces.spend(took);
    }

    /// Each namespace has snapshots of its own in any case.
    fn fail(&mut self, error: &ListError) {
        let paid = self.budget.open_at(Instant::now());
        self.due = retry_at(error.is_temporary()).map(|retry| retry.max(paid));
        debug!("network namespaces are listed one by one: {error}");
    }
}

/// Loads the iterator if it is `None`.
fn walk(keys: Keys, iterator: &mut Option<HeldStateIterator>, netns_inum: u32) -> Walk {
    let cpu = clock::thread_cpu();
    let list = || {
        let mut loaded = match iterator.take() {
            Some(loaded) => loaded,
            None => HeldStateIterator::load(netns_inum)?,
        };
        let mut listed = Listed::of(keys);
        let ended = loaded.each_socket(|socket| listed.add(&socket))?;
        *iterator = Some(loaded);
        Ok(ended.is_continue().then_some(listed))
    };
    let listed = list();
    Walk { listed, took: clock::thread_cpu().saturating_sub(cpu) }
}
