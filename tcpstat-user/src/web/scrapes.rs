//! The one thread that reads what a scrape tells, and writes it down.
//!
//! Whoever asks before a reading begins is answered from it: scrapes at the same moment read and encode
//! once. No thread that serves HTTP waits for a file. A file that has not been read within
//! [`READ_DEADLINE`] is left out, and not read again until it has been: another thread then tells the rest.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};
use tracing::{info, warn};

use super::coding::{Coded, Coding};
use crate::{
    clock,
    history::Sample,
    kernel,
    metrics::Format,
    procfs::{ProcessStatus, Procfs, Sockstat},
    tracker::{Files, Nudge, Published},
};

/// How long a file may take. Those of procfs take microseconds.
const READ_DEADLINE: Duration = Duration::from_secs(2);
/// How long an answer may take, whatever files do.
const ANSWER_DEADLINE: Duration = Duration::from_secs(8);

/// Where the numbers are read.
#[derive(Debug)]
pub struct Source {
    /// What the tracker tells.
    pub published: watch::Receiver<Published>,
    /// Who is told where they look wrong.
    pub nudge: Nudge,
    /// Where sockstat is.
    pub procfs: Procfs,
    /// Whether `node_tcp_connection_states` is told too.
    pub node_exporter: bool,
}

/// Asks the thread.
#[derive(Clone, Debug)]
pub struct Scrapes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Source,
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Want>,
    /// Those whom the reading under way is for.
    in_hand: Vec<Want>,
    /// The thread that is to answer; 0 before the first.
    thread: u64,
    /// What that thread reads, and since when.
    reading: Option<(PathBuf, Instant)>,
    /// Files that earlier threads are still reading.
    hanging: Vec<(u64, PathBuf)>,
}

/// Something asked, and who waits for it.
#[derive(Debug)]
enum Want {
    Exposition(Format, Coding, oneshot::Sender<Coded>),
    Sample(oneshot::Sender<Option<Sample>>),
}

impl Scrapes {
    /// Starts the thread.
    ///
    /// # Errors
    /// That of the thread's creation.
    pub fn start(source: Source) -> std::io::Result<Self> {
        let shared = Shared { source, state: Mutex::default(), asked: Condvar::new() };
        let scrapes = Self(Arc::new(shared));
        scrapes.0.start_thread(&mut scrapes.0.locked())?;
        Ok(scrapes)
    }

    /// The exposition of this moment or a later one; `None` where the thread gives none.
    pub(super) async fn exposition(&self, format: Format, coding: Coding) -> Option<Coded> {
        self.ask(|reply| Want::Exposition(format, coding, reply)).await
    }

    /// A sample, `None` before the first snapshot.
    pub(super) async fn sample(&self) -> Option<Sample> {
        self.ask(Want::Sample).await?
    }

    async fn ask<T>(&self, want: impl FnOnce(oneshot::Sender<T>) -> Want) -> Option<T> {
        let (reply, mut replied) = oneshot::channel();
        let asked = Instant::now();
        self.0.locked().waiting.push(want(reply));
        self.0.asked.notify_all();
        let mut patience = READ_DEADLINE;
        loop {
            if let Ok(reply) = timeout(patience, &mut replied).await {
                return reply.ok();
            }
            if asked.elapsed() >= ANSWER_DEADLINE {
                return None;
            }
            patience = self.0.give_up_file();
        }
    }
}

impl Shared {
    /// Lets another thread answer, where this one hangs in a file. How long to wait for an answer before
    /// this is to be asked again.
    fn give_up_file(self: &Arc<Self>) -> Duration {
        let mut state = self.locked();
        let Some((path, since)) = &state.reading else { return READ_DEADLINE };
        let left = READ_DEADLINE.saturating_sub(since.elapsed());
        if left > Duration::ZERO {
            return left;
        }
        let hanging = (state.thread, path.clone());
        let path = path.display();
        warn!(
            "{path} has not been read for {READ_DEADLINE:?}: what it tells is left out until it is"
        );
        state.reading = None;
        state.hanging.push(hanging);
        let in_hand = std::mem::take(&mut state.in_hand);
        state.waiting.extend(in_hand);
        if let Err(cause) = self.start_thread(&mut state) {
            warn!("no thread can be started to answer without it: {cause}");
            // Whoever waits is told so.
            state.waiting.clear();
        }
        READ_DEADLINE
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let (shared, number) = (self.clone(), state.thread + 1);
        thread::Builder::new().name("scrapes".into()).spawn(move || shared.answer(number))?;
        state.thread = number;
        Ok(())
    }

    /// The thread `number`: answers as long as it is the one that is to.
    fn answer(&self, number: u64) {
        kernel::ask_for_short_turns();
        while self.take_in_hand(number) && self.answer_those_in_hand(number) {}
        let mut state = self.locked();
        state.hanging.retain(|(thread, path)| {
            if *thread == number {
                info!("{} has been read: nothing of it is left out any more", path.display());
            }
            *thread != number
        });
    }

    /// Waits until something is asked. Whether it is for this thread to answer.
    fn take_in_hand(&self, number: u64) -> bool {
        let mut state = self.locked();
        while state.waiting.is_empty() && state.thread == number {
            state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let own = state.thread == number;
        if own {
            state.in_hand = std::mem::take(&mut state.waiting);
        }
        own
    }

    /// Reads and answers those in hand. Whether they were still this thread's when all was read.
    fn answer_those_in_hand(&self, number: u64) -> bool {
        // A copy: the tracker would wait as long as it is borrowed, which a file could make for ever.
        let published = self.source.published.borrow().clone();
        let files = Noting { number, shared: self };
        let (mut expositions, mut samples) = (false, false);
        for want in &self.locked().in_hand {
            match want {
                Want::Exposition(..) => expositions = true,
                Want::Sample(_) => samples = true,
            }
        }
        let sample = if samples { published.sample(&files, clock::now()) } else { None };
        let values = expositions.then(|| {
            let (values, suspicious) = published.scrape(&files, self.source.node_exporter);
            if suspicious {
                self.source.nudge.look();
            }
            values
        });
        let mut state = self.locked();
        if state.thread != number {
            return false;
        }
        state.reading = None;
        let in_hand = std::mem::take(&mut state.in_hand);
        drop(state);
        let mut texts: HashMap<_, Bytes> = HashMap::new();
        let mut coded: HashMap<_, Coded> = HashMap::new();
        for want in in_hand {
            // An error means that nobody waits any more.
            match want {
                Want::Sample(reply) => drop(reply.send(sample.clone())),
                Want::Exposition(format, coding, reply) => {
                    let Some(values) = &values else { continue };
                    let coded = coded.entry((format, coding)).or_insert_with(|| {
                        let encode = || values.clone().encode(format).into();
                        Coded::new(texts.entry(format).or_insert_with(encode).clone(), coding)
                    });
                    drop(reply.send(coded.clone()));
                }
            }
        }
        true
    }

    /// A panic leaves a state that is still right.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Files of procfs, with a note of the one that is being read; those that hang are not.
struct Noting<'a> {
    number: u64,
    shared: &'a Shared,
}

impl Noting<'_> {
    /// `None` where `path` is not to be read.
    fn note(&self, path: PathBuf) -> Option<()> {
        let mut state = self.shared.locked();
        if state.thread != self.number || state.hanging.iter().any(|(_, hangs)| *hangs == path) {
            return None;
        }
        state.reading = Some((path, Instant::now()));
        Some(())
    }
}

impl Files for Noting<'_> {
    fn process(&self) -> Option<ProcessStatus> {
        self.note(ProcessStatus::path())?;
        self.shared.source.procfs.process()
    }

    fn sockstat(&self) -> Option<Sockstat> {
        let procfs = &self.shared.source.procfs;
        self.note(procfs.sockstat_path())?;
        Files::sockstat(procfs)
    }
}
