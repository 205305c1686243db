//! The tracker's thread: gives each namespace its turns, and publishes their results.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    NetnsChoice, Published, SourceChoice, Tracker, TrackerError,
    active_tracer::ActiveTracer,
    ages::AgeReader,
    dwell::DwellReader,
    finder::Finder,
    held::HeldReader,
    listeners::ListenerReader,
    namespace::Namespace,
    others::{Others, WalkedNamespaces},
    roots::Roots,
    schedule::{NamespaceId, Schedule, Turn},
    sources::Sources,
    walker::Walker,
};
use crate::{
    clock,
    kernel::{Program, Reserved, release_memory},
};

/// Readings of ages take at most this fraction of one CPU, unless the user chose a source of snapshots:
/// 1 / `READING_SHARE`.
const READING_SHARE: u32 = 100;

/// Wakes the thread: it checks, and sees whether it has to stop.
pub(super) struct Wake;

/// What the thread owns. It alone changes the ledgers.
pub(super) struct Task {
    own: Namespace,
    /// `None` if there are snapshots only, or if no iterator of this process lists the own namespace.
    close_wait: Option<AgeReader>,
    /// `None` if no dwells are measured.
    dwells: Option<DwellReader>,
    /// `None` if only the own namespace is counted.
    others: Option<Others>,
    /// `None` if listening sockets are not read.
    listeners: Option<ListenerReader>,
    /// `None` if nothing reads the sockets that processes hold in other namespaces.
    held: Option<HeldReader>,
    /// `None` if no other namespaces are counted, or if snapshots are from /proc only.
    walker: Option<Walker>,
    schedule: Schedule,
    /// See [`Tracker::shows_destination`].
    shows_destination: bool,
    /// `None` if there are snapshots only.
    tracer: Option<ActiveTracer>,
    publish: watch::Sender<Arc<Published>>,
}

impl Task {
    pub(super) fn new(mut tracker: Tracker, publish: watch::Sender<Arc<Published>>) -> Self {
        let loaded = tracker.tracer.as_mut().map(|tracer| mem::take(&mut tracer.iterators));
        let loaded = loaded.unwrap_or_default();
        let Tracker { procfs, tracer, source, snapshot_interval, netns, .. } = &tracker;
        let traced = tracer.is_some();
        let rate = tracer.as_ref().and_then(|tracer| tracer.silence_rate);
        let dwell = tracer.as_ref().map(|tracer| tracer.dwell).filter(|dwell| dwell.any());
        let others = (*netns == NetnsChoice::All).then(|| {
            let finder = Finder::new(procfs, tracker.pods.clone(), traced);
            let finder = finder.with_tasks(loaded.tasks);
            Others::new(Box::new(finder), tracker.scopes_max, *snapshot_interval, traced)
        });
        let roots = Roots::new(vec![procfs.clone()]);
        let listeners = ListenerReader::new(tracker.listeners_max as usize, loaded.listeners)
            .filter(|_| traced && roots.list_own_namespace());
        let held = tracer.as_ref().filter(|_| others.is_some()).map(|tracer| {
            let (max, inum) = (tracker.listeners_max as usize, tracer.netns_inum);
            HeldReader::new(rate, max, *snapshot_interval, inum, loaded.held)
        });
        let uses_iterators = *source != SourceChoice::Procfs;
        let walked = others.as_ref().filter(|_| uses_iterators);
        let walker = tracer.as_ref().zip(walked).map(|(tracer, others)| {
            Walker::new(others.walk_interval(), tracer.netns_inum, loaded.held_states)
        });
        let mut sources = Sources::new(roots, *source, *snapshot_interval, traced);
        if tracer.as_ref().is_some_and(|tracer| tracer.kinds.cgroups.is_some()) {
            sources.need_cgroups(loaded.sockets);
        }
        let own_scopes = tracker.own_scopes.filter(|_| traced);
        let shows_destination = tracker.shows_destination;
        let tracer = tracker.tracer.map(|tracer| ActiveTracer::new(tracer, &tracker.programs));
        let own = Namespace::own(sources).with_scopes(own_scopes);
        let share = (tracker.source == SourceChoice::Auto).then_some(READING_SHARE);
        let close_wait = rate
            .filter(|_| own.is_of_this_process())
            .map(|rate| AgeReader::new(rate, share, loaded.close_wait));
        let dwells = dwell.map(|dwell| DwellReader::new(dwell.states, share, loaded.dwell));
        let schedule = Schedule::new(own.intervals(), Instant::now());
        Self {
            own,
            close_wait,
            dwells,
            others,
            listeners,
            held,
            walker,
            schedule,
            shows_destination,
            tracer,
            publish,
        }
    }

    /// Seeds the own namespace, then gives turns until it is woken after `stopping` was set.
    ///
    /// # Errors
    /// [`TrackerError::Seed`].
    pub(super) fn run(
        &mut self,
        woken: &Receiver<Wake>,
        stopping: &AtomicBool,
    ) -> Result<(), TrackerError> {
        self.seed()?;
        loop {
            // What the first reading has shown decides which of the namespaces that a search finds have older sockets.
            self.read_held();
            self.find_others();
            self.walk();
            let now = Instant::now();
            let due = self.schedule.due(now);
            let next_find = self.others.as_ref().map(Others::next_find);
            let next_held = self.held.as_ref().and_then(HeldReader::due);
            let next_walk = self.walker.as_ref().and_then(Walker::due);
            let due =
                [next_find, next_held, next_walk].into_iter().flatten().fold(due, Instant::min);
            let woken = woken.recv_timeout(due.saturating_duration_since(now));
            if stopping.load(Ordering::Acquire) {
                return Ok(());
            }
            match woken {
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Wake) => self.check(),
                Err(RecvTimeoutError::Timeout) => self.give_turn(),
            }
        }
    }

    /// Gives the turn that is due, if there is one.
    fn give_turn(&mut self) {
        match self.schedule.turn(Instant::now()) {
            Some(Turn::Snapshot(id)) => self.take_turn(id),
            Some(Turn::Check) => {
                self.check();
                let next = self.own.intervals().check;
                self.schedule.checked(NamespaceId::OWN, Instant::now(), Duration::ZERO, next);
                self.check_others();
            }
            None => {}
        }
    }

    fn seed(&mut self) -> Result<(), TrackerError> {
        self.own
            .seed(self.tracer.as_mut().map(|active| &mut active.tracer))
            .map_err(TrackerError::Seed)?;
        self.read_ages();
        self.read_listeners();
        self.clean_dwells();
        self.publish();
        if let Some(snapshot) = self.own.last_snapshot() {
            let (sockets, source) = (snapshot.tally.rows, snapshot.source.word());
            info!(sockets, source, duration = ?snapshot.duration, "ready");
            // The start needed memory that is free now.
            release_memory();
        }
        let next = self.own.intervals();
        self.schedule.snapshot_taken(NamespaceId::OWN, Instant::now(), Duration::ZERO, next);
        Ok(())
    }

    /// Checks the own namespace. Switches the program, or reconciles, if there is a reason.
    fn check(&mut self) {
        let Some(active) = &mut self.tracer else { return };
        if let Some(better) = active.check() {
            self.switch_program(better);
            return;
        }
        if let Some(reason) = self.own.check(active) {
            self.own.reconcile(Some(active), reason);
        }
        self.read_listeners();
        self.publish();
    }

    /// Reads the listening sockets of the own namespace, if that is due.
    fn read_listeners(&mut self) {
        if let Some(listeners) = &mut self.listeners {
            listeners.update(self.own.intervals().snapshot);
        }
    }

    /// Finds other namespaces that have come and gone.
    fn find_others(&mut self) {
        let Some(others) = &mut self.others else { return };
        if others.update(self.tracer.as_mut(), &mut self.schedule) {
            self.publish();
        }
    }

    /// Reads what processes hold in other namespaces, if that is due.
    fn read_held(&mut self) {
        let (Some(held), Some(others)) = (&mut self.held, &mut self.others) else { return };
        if held.update(others) {
            self.publish();
        }
    }

    /// Walks over what processes hold in other namespaces, if that is due.
    fn walk(&mut self) {
        let (Some(walker), Some(others)) = (&mut self.walker, &mut self.others) else { return };
        let (Some(active), schedule) = (&mut self.tracer, &mut self.schedule) else { return };
        if walker.update(&mut WalkedNamespaces { others, active, schedule }) {
            self.publish();
        }
    }

    /// Checks the others that are due. If there is a reason to reconcile one, its next turn is due.
    fn check_others(&mut self) {
        let (Some(active), Some(others)) = (&mut self.tracer, &mut self.others) else { return };
        while let Some(id) = self.schedule.check_beside(Instant::now()) {
            let Some(namespace) = others.get_mut(id) else {
                self.schedule.remove(id);
                continue;
            };
            let cpu = clock::thread_cpu();
            let reason = namespace.check(active);
            let took = clock::thread_cpu().saturating_sub(cpu);
            let (now, next) = (Instant::now(), namespace.intervals().check);
            self.schedule.checked(id, now, took, next);
            if let Some(reason) = reason {
                namespace.want_snapshot(reason);
                self.schedule.hurry(id, now);
            }
            others.note_turn(id, Some(active));
        }
    }

    /// Gives a namespace its turn.
    fn take_turn(&mut self, id: NamespaceId) {
        if id != NamespaceId::OWN {
            // A snapshot of those that share a slot decides nothing while one of them is unknown.
            self.find_others();
        }
        let namespace = match &mut self.others {
            _ if id == NamespaceId::OWN => Some(&mut self.own),
            others => others.as_mut().and_then(|others| others.get_mut(id)),
        };
        let Some(namespace) = namespace else { return self.schedule.remove(id) };
        let cpu = clock::thread_cpu();
        namespace.take_turn(self.tracer.as_mut());
        let took = clock::thread_cpu().saturating_sub(cpu);
        let next = namespace.intervals();
        let is_seeded = match &mut self.others {
            Some(others) if id != NamespaceId::OWN => others.note_turn(id, self.tracer.as_ref()),
            _ => true,
        };
        if id == NamespaceId::OWN {
            self.read_ages();
            self.clean_dwells();
        }
        // Snapshots can be more frequent than checks.
        self.read_listeners();
        self.publish();
        if is_seeded {
            self.schedule.snapshot_taken(id, Instant::now(), took, next);
        } else {
            self.schedule.seed_failed(id, Instant::now(), took);
        }
    }

    /// Follows a snapshot of the own namespace.
    fn read_ages(&mut self) {
        if let Some(close_wait) = &mut self.close_wait {
            close_wait.read(self.own.listed_in_close_wait());
        }
    }

    /// Follows a snapshot of the own namespace.
    fn clean_dwells(&mut self) {
        let map = self.tracer.as_mut().and_then(|active| active.tracer.dwell_map.as_mut());
        if let Some((dwells, map)) = self.dwells.as_mut().zip(map) {
            dwells.clean(map);
        }
    }

    /// Lets `program` count from now on, after a seed of its own. If it cannot be loaded or seeded, the
    /// current program continues.
    fn switch_program(&mut self, program: Program) {
        let Some(active) = &mut self.tracer else { return };
        let netns = self.others.as_ref().map(Others::keys).unwrap_or_default();
        let mut reserved = Reserved { netns, ..Reserved::default() };
        self.own.reserve_scopes(&mut reserved);
        let Some(mut tracer) = active.load(program, &reserved) else { return };
        if let Err(error) = self.own.reseed(&mut tracer) {
            warn!(%error, "too many missed events, and seeding the other program failed");
            return;
        }
        let old = active.replace(tracer);
        self.own.carry_over(&old, active);
        self.own.rebind_scopes(&old, active);
        if let Some(others) = &mut self.others {
            others.carry_over(&old, active, &mut self.schedule);
        }
        if let Some(walker) = &mut self.walker {
            walker.begin_again(Instant::now());
        }
        // The last one: a socket that the old tracer alone has seen enter a state does not count from here on, and until the
        // publication a scrape shows the old tracer.
        if let (Some(dwells), Some(active)) = (&mut self.dwells, &self.tracer) {
            dwells.carry_over(&old.counters, &active.tracer.counters);
        }
        self.publish();
        drop(old);
    }

    fn publish(&mut self) {
        let mut published = self.own.publication(self.tracer.as_ref());
        let snapshot = published.snapshot.as_mut().filter(|_| !self.shows_destination);
        if let Some(fullest) = snapshot.and_then(|snapshot| snapshot.fullest.as_mut()) {
            fullest.destination = None;
        }
        published.close_wait_ages = self.close_wait.as_ref().and_then(AgeReader::ages);
        published.dwells = self.dwells.as_ref().map(DwellReader::published);
        published.namespaces = self.others.as_mut().map(Others::publish);
        published.listeners = self.listeners.as_ref().and_then(ListenerReader::published);
        self.publish.send_replace(Arc::new(published));
    }
}

#[cfg(test)]
mod tests;
