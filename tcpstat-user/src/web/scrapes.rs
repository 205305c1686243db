//! Reads what a scrape tells, and writes it down: once for all who asked before the reading began.
//!
//! No thread that serves HTTP waits for a file. What the kernel gives takes microseconds, and is read by
//! the thread that is asked. Any other file may take for ever, and is read by a thread of its own. Where it
//! has not been read within [`READ_DEADLINE`] it is left out, and not read again until it has been: another
//! thread then tells the rest.

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
    task::yield_now,
    time::timeout,
};
use tracing::{info, warn};

use super::coding::{Coded, Coding};
use crate::{
    clock,
    history::Sample,
    kernel,
    metrics::{Format, Values},
    procfs::{ProcessStatus, Procfs, Sockstat},
    tracker::{Files, Nudge, Published},
};

/// How long a file may take. Those of procfs take microseconds.
const READ_DEADLINE: Duration = Duration::from_secs(2);
/// How long an answer may take, whatever files do.
const ANSWER_DEADLINE: Duration = Duration::from_secs(8);

/// Where the numbers are read.
#[derive(Debug)]
pub struct ScrapeSource {
    /// What the tracker tells.
    pub published: watch::Receiver<Arc<Published>>,
    /// Who is told where they look wrong.
    pub nudge: Nudge,
    /// Where sockstat is.
    pub procfs: Procfs,
    /// Whether `node_tcp_connection_states` is told too.
    pub node_exporter: bool,
}

/// Gives what is asked for.
#[derive(Clone, Debug)]
pub struct Scrapes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: ScrapeSource,
    /// Whether the kernel gives all files, so that whoever asks reads them.
    at_once: bool,
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
    /// Starts the thread that reads, where one is needed.
    ///
    /// # Errors
    /// That of the thread's creation.
    pub fn start(source: ScrapeSource) -> std::io::Result<Self> {
        let at_once = source.procfs.sockstat_is_the_kernels();
        let shared = Shared { source, at_once, state: Mutex::default(), asked: Condvar::new() };
        let scrapes = Self(Arc::new(shared));
        if !at_once {
            scrapes.0.start_thread(&mut scrapes.0.locked())?;
        }
        Ok(scrapes)
    }

    /// The exposition of this moment or a later one; `None` where no thread gives one. Nobody else asks
    /// where the caller is `alone`.
    pub(super) async fn exposition(
        &self,
        format: Format,
        coding: Coding,
        alone: bool,
    ) -> Option<Coded> {
        self.ask(alone, |reply| Want::Exposition(format, coding, reply)).await
    }

    /// A sample, `None` before the first snapshot.
    pub(super) async fn sample(&self) -> Option<Sample> {
        self.ask(true, Want::Sample).await?
    }

    async fn ask<T>(
        &self,
        alone: bool,
        want: impl FnOnce(oneshot::Sender<T>) -> Want,
    ) -> Option<T> {
        let (reply, mut replied) = oneshot::channel();
        let asked = Instant::now();
        self.0.locked().waiting.push(want(reply));
        if self.0.at_once {
            if !alone {
                // Requests that have come by now are answered from the same reading.
                yield_now().await;
            }
            self.0.answer_at_once();
        } else {
            self.0.asked.notify_all();
        }
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
            "{path} could not be read within {READ_DEADLINE:?}: its values are left out until it can be read"
        );
        state.reading = None;
        state.hanging.push(hanging);
        let in_hand = std::mem::take(&mut state.in_hand);
        state.waiting.extend(in_hand);
        if let Err(cause) = self.start_thread(&mut state) {
            warn!("starting a thread that answers scrapes without it: {cause}");
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
        kernel::request_short_slices();
        while self.take_in_hand(number) && self.answer_those_in_hand(number) {}
        let mut state = self.locked();
        state.hanging.retain(|(thread, path)| {
            if *thread == number {
                info!("{} can be read again: its values are no longer left out", path.display());
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

    /// Reads and answers for all who wait. None may: another has answered them.
    fn answer_at_once(&self) {
        let waiting = std::mem::take(&mut self.locked().waiting);
        if !waiting.is_empty() {
            self.read(Wanted::of(&waiting), &self.source.procfs).answer(waiting);
        }
    }

    /// Reads and answers those in hand. Whether they were still this thread's when all was read.
    fn answer_those_in_hand(&self, number: u64) -> bool {
        let wanted = Wanted::of(&self.locked().in_hand);
        let read = self.read(wanted, &Noting { number, shared: self });
        let mut state = self.locked();
        if state.thread != number {
            return false;
        }
        state.reading = None;
        let in_hand = std::mem::take(&mut state.in_hand);
        drop(state);
        read.answer(in_hand);
        true
    }

    fn read(&self, wanted: Wanted, files: &impl Files) -> Read {
        // No borrow while files are read: a file can hang, and the tracker would wait.
        let published = Arc::clone(&self.source.published.borrow());
        let sample = if wanted.sample { published.sample(files, clock::now()) } else { None };
        let values = wanted.exposition.then(|| {
            let scrape = published.scrape(files);
            if scrape.suspicious {
                self.source.nudge.check();
            }
            Values::new(&published, scrape, self.source.node_exporter)
        });
        Read { sample, values }
    }

    /// A panic leaves a state that is still right.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of all that can be asked is to be read.
#[derive(Clone, Copy)]
struct Wanted {
    exposition: bool,
    sample: bool,
}

impl Wanted {
    fn of(wants: &[Want]) -> Self {
        let samples = wants.iter().filter(|want| matches!(want, Want::Sample(_))).count();
        Self { exposition: samples < wants.len(), sample: samples > 0 }
    }
}

/// What was read at one moment.
struct Read {
    sample: Option<Sample>,
    values: Option<Values>,
}

impl Read {
    /// Encodes each format and coding once.
    fn answer(self, wants: Vec<Want>) {
        let Self { sample, values } = self;
        let mut texts: HashMap<_, Bytes> = HashMap::new();
        let mut coded: HashMap<_, Coded> = HashMap::new();
        for want in wants {
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
