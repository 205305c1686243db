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
    holders::SortBy,
    procfs::Procfs,
    tracker::{HolderReader, NetnsSelector, WhoQuery},
};

/// Shortest time from a reading to the next one.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// A pause is at least so many times as long as the reading before it, so that readings take at most 5 % of a core.
const PAUSE_FACTOR: u32 = 20;

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

/// Reads for one question after the other.
struct Source {
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
        thread::Builder::new().name("holders".into()).spawn(move || {
            let mut source = Source::new(&procfs, pods);
            thread.run(|question| source.read(question))
        })?;
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
    fn run(&self, mut read: impl FnMut(&Question) -> Result<Holders, String>) -> Infallible {
        let mut next = Instant::now();
        loop {
            let question = self.await_question(next);
            let start = Instant::now();
            let holders = read(&question);
            next = Instant::now() + pause(start.elapsed());
            let mut state = self.locked();
            if state.wanted.as_ref() == Some(&question) {
                state.newest = Some(Answer { question, holders });
            }
        }
    }

    /// Returns what is wanted, not before `next`.
    fn await_question(&self, next: Instant) -> Question {
        let mut state = self.locked();
        loop {
            let rest = next.saturating_duration_since(Instant::now());
            let waited = match &state.wanted {
                Some(question) if rest.is_zero() => return question.clone(),
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

/// The time between a reading that took so long and the next one.
fn pause(took: Duration) -> Duration {
    took.saturating_mul(PAUSE_FACTOR).max(MIN_PAUSE)
}

impl Source {
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

    fn read(&mut self, question: &Question) -> Result<Holders, String> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let reader = HolderReader::new(&self.mount, self.pods.clone());
                none.insert(reader.map_err(|error| error.to_string())?)
            }
        };
        let query = query(question, &self.own);
        let read = reader.read(&query).map_err(|error| error.to_string())?;
        Ok(Holders::new(&read, question))
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
        port: match place {
            Place::Port(port) => Some(*port),
            _ => None,
        },
        sort: SortBy::Sockets,
        // Rows of other cgroups are removed afterwards.
        limit: if matches!(place, Place::Cgroup(_)) { None } else { Some(MAX_ROWS) },
        ..WhoQuery::default()
    }
}

#[cfg(test)]
mod tests;
