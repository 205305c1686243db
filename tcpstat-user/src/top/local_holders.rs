//! Reads which processes of this host hold sockets: in a thread of its own, while the view shows them.

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::holders::{Answer, Holders, MAX_ROWS, Place, Question};
use crate::{
    clock,
    holders::SortBy,
    procfs::Procfs,
    tracker::{HolderReader, NetnsSelector, Reading, WhoQuery},
};

/// Shortest time from a reading to the next one.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// A pause is at least so many times as long as the CPU time of the reading before it, so that readings take at most 5 %
/// of a core.
const PAUSE_FACTOR: u32 = 20;

/// A defect in this program.
const NOT_PREPARED: &str = "the holders are read before the reader is prepared";

/// A thread that reads while there is a question.
#[derive(Debug)]
pub(crate) struct LocalHolders(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the question changes.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: Option<Question>,
    /// The newest answer to what is wanted.
    newest: Option<Answer>,
}

/// Where readings come from.
trait Source {
    /// What answers any question.
    type Reading;

    /// Prepares the first reading. That takes longer than a reading, and happens once.
    ///
    /// # Errors
    /// What failed, and what to do.
    fn prepare(&mut self) -> Result<(), String>;

    /// # Errors
    /// What failed, and what to do.
    fn read(&mut self) -> Result<Self::Reading, String>;

    /// The CPU time that the reading took in other threads.
    fn other_cpu(reading: &Self::Reading) -> Duration;

    /// # Errors
    /// What failed, and what to do.
    fn answer(&self, reading: &Self::Reading, question: &Question) -> Result<Holders, String>;
}

/// The processes of this host.
struct Host {
    /// Shows the processes.
    mount: Procfs,
    own: NetnsSelector,
    pods: PathBuf,
    /// `None` before the first reading, and after a failed start.
    reader: Option<HolderReader>,
}

impl LocalHolders {
    /// `procfs` lists the sockets that the view shows; `pods` names pods.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(crate) fn start(procfs: &Procfs, pods: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (thread, procfs, pods) = (Arc::clone(&shared), procfs.clone(), pods.to_owned());
        // The thread ends with the process.
        thread::Builder::new()
            .name("holders".into())
            .spawn(move || thread.run(Host::new(&procfs, pods)))?;
        Ok(Self(shared))
    }

    /// Sets what is wanted. Returns the newest answer to it; `None` before that has arrived, and if nothing is wanted.
    pub(super) fn newest(&self, wanted: Option<Question>) -> Option<Answer> {
        let mut state = self.0.locked();
        if state.wanted != wanted {
            *state = State { wanted, newest: None };
            self.0.changed.notify_all();
        }
        state.newest.clone()
    }
}

impl Shared {
    /// Reads again after each pause, and keeps the reading: another question is answered from it at once.
    fn run<S: Source>(&self, mut source: S) -> Infallible {
        let mut next = Instant::now();
        let mut kept = None;
        let mut answered = None;
        loop {
            let Some(question) = self.await_question(next, answered.as_ref()) else {
                (kept, answered) = (None, None);
                continue;
            };
            let is_due = Instant::now() >= next;
            let prepared = source.prepare();
            let start = clock::thread_cpu();
            if is_due {
                // First the memory of the one before.
                drop(kept.take());
                kept = Some(prepared.and_then(|()| source.read()));
            }
            let holders = match &kept {
                Some(Ok(reading)) => source.answer(reading, &question),
                Some(Err(problem)) => Err(problem.clone()),
                None => continue,
            };
            let mut took = clock::thread_cpu().saturating_sub(start);
            if let (true, Some(Ok(reading))) = (is_due, &kept) {
                took += S::other_cpu(reading);
            }
            next = if is_due { Instant::now() + pause(took) } else { next + took * PAUSE_FACTOR };
            answered = Some(question.clone());
            let mut state = self.locked();
            if state.wanted.as_ref() == Some(&question) {
                state.newest = Some(Answer { question, holders });
            }
        }
    }

    /// Returns what is wanted at `next`, and before that only if it has not been answered since the last reading.
    /// `None` if nothing is wanted any more.
    fn await_question(&self, next: Instant, answered: Option<&Question>) -> Option<Question> {
        let mut state = self.locked();
        loop {
            let rest = next.saturating_duration_since(Instant::now());
            let waited = match &state.wanted {
                Some(question)
                    if rest.is_zero() || answered.is_some_and(|answered| answered != question) =>
                {
                    return Some(question.clone());
                }
                None if answered.is_some() => return None,
                Some(_) => self.changed.wait_timeout(state, rest).map(|(state, _)| state).ok(),
                None => self.changed.wait(state).ok(),
            };
            state = waited.unwrap_or_else(|| self.locked());
        }
    }

    /// After a panic the state is still consistent.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time between a reading that took so much CPU time and the next one.
fn pause(took: Duration) -> Duration {
    took.saturating_mul(PAUSE_FACTOR).max(MIN_PAUSE)
}

impl Host {
    fn new(procfs: &Procfs, pods: PathBuf) -> Self {
        // The directory of a process or thread lists another namespace; the mount that it is in shows the processes.
        let mut above = procfs.root().ancestors().map(Procfs::new);
        let mount = above.find(Procfs::is_mount).unwrap_or_else(|| procfs.clone());
        let inode = procfs.namespace().ok().and_then(|namespace| namespace.inum);
        let own = match inode {
            Some(inode) if !procfs.is_mount() => NetnsSelector::Inode(inode.into()),
            _ => NetnsSelector::Own,
        };
        Self { mount, own, pods, reader: None }
    }
}

impl Source for Host {
    type Reading = Reading;

    fn prepare(&mut self) -> Result<(), String> {
        if self.reader.is_none() {
            let reader = HolderReader::new(&self.mount, self.pods.clone());
            self.reader = Some(reader.map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Reading, String> {
        let reader = self.reader.as_mut().ok_or(NOT_PREPARED)?;
        reader.read_all().map_err(|error| error.to_string())
    }

    fn other_cpu(reading: &Reading) -> Duration {
        reading.other_cpu
    }

    fn answer(&self, reading: &Reading, question: &Question) -> Result<Holders, String> {
        let reader = self.reader.as_ref().ok_or(NOT_PREPARED)?;
        let read = reader.answer(reading, &query(question, &self.own));
        Ok(Holders::new(&read.map_err(|error| error.to_string())?, question))
    }
}

fn query(question: &Question, own: &NetnsSelector) -> WhoQuery {
    let Question { state, place } = question;
    WhoQuery {
        states: vec![*state],
        netns: match place {
            Place::Netns { inode, .. } => NetnsSelector::Inode(*inode),
            _ => own.clone(),
        },
        ports: match place {
            Place::Port(port) => vec![*port..=*port],
            _ => Vec::new(),
        },
        sort: SortBy::Sockets,
        // Rows of other cgroups are removed afterwards.
        limit: if matches!(place, Place::Cgroup(_)) { None } else { Some(MAX_ROWS) },
        ..WhoQuery::default()
    }
}

#[cfg(test)]
mod tests;
