//! Reads the values of scrapes and samples: once for all requests that arrived before the reading began.
//!
//! No thread that serves HTTP waits for a file. Files of the kernel's procfs take microseconds, so the thread
//! that serves the request reads them. Any other file may block forever, so a separate thread reads it. If a
//! file is not read within [`READ_DEADLINE`], its values are left out and a new thread takes over; the file
//! is not read again until the blocked read ends.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    sync::{oneshot, watch},
    task::yield_now,
    time::timeout,
};
use tracing::{info, warn};

use super::{
    coding::Coded,
    scrape_requests::{Needed, Reading, Request, Wanted},
};
use crate::{
    clock,
    history::{History, Sample},
    kernel,
    metrics::{Compat, Values, WebConfigValues},
    procfs::{ProcessStatus, Procfs, Sockstat},
    tracker::{Files, Nudge, Published, Scopes, Scrape},
};

/// Maximum time to read a file.
const READ_DEADLINE: Duration = Duration::from_secs(2);
/// Maximum time to answer a request.
const ANSWER_DEADLINE: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub(crate) struct ScrapeSource {
    /// What the tracker publishes.
    pub(crate) published: watch::Receiver<Arc<Published>>,
    /// Asks the tracker for a check if sockstat and the gauges differ.
    pub(crate) nudge: Nudge,
    /// Contains sockstat.
    pub(crate) procfs: Procfs,
    /// Which metrics of other exporters to export.
    pub(crate) compat: Compat,
    /// The last samples, in which peaks are found.
    pub(crate) history: Arc<Mutex<History>>,
    /// The last reading of the web configuration, if there is one.
    pub(crate) web_config: Option<watch::Receiver<WebConfigValues>>,
}

/// Answers requests for scrapes and samples; clones share one queue.
#[derive(Clone, Debug)]
pub(crate) struct Scrapes(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: ScrapeSource,
    /// Whether all files are the kernel's, so that the thread that serves a request reads them.
    reads_inline: bool,
    state: Mutex<State>,
    /// Notified when a request is added.
    added: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Request>,
    /// The requests that the current reading answers.
    in_progress: Vec<Request>,
    /// The number of the current thread; 0 before the first.
    thread: u64,
    /// The file that the current thread reads, and since when.
    reading: Option<(PathBuf, Instant)>,
    /// Earlier threads, and the files whose reads block them. The current thread is one of them if no other could be
    /// started.
    blocked: Vec<(u64, PathBuf)>,
}

impl Scrapes {
    /// Starts the thread that reads, if one is needed.
    ///
    /// # Errors
    /// If the thread cannot be created.
    pub(crate) fn start(source: ScrapeSource) -> std::io::Result<Self> {
        let reads_inline = source.procfs.sockstat_is_on_procfs();
        let shared =
            Shared { source, reads_inline, state: Mutex::default(), added: Condvar::new() };
        let scrapes = Self(Arc::new(shared));
        if !reads_inline {
            scrapes.0.start_thread(&mut scrapes.0.locked())?;
        }
        Ok(scrapes)
    }

    /// An exposition that is read after the call; `None` if it cannot be read in time. `alone` means that no
    /// other request can come meanwhile.
    pub(super) async fn exposition(&self, wanted: Wanted, alone: bool) -> Option<Coded> {
        self.request(alone, |reply| Request::Exposition(wanted, reply)).await
    }

    /// The scopes of each kind that is counted; `None` if they cannot be read in time. `alone` is as above.
    pub(super) async fn scopes(&self, alone: bool) -> Option<Arc<[Scopes]>> {
        self.request(alone, Request::Scopes).await
    }

    /// `None` before the first snapshot.
    pub(super) async fn sample(&self) -> Option<Sample> {
        self.request(true, Request::Sample).await?
    }

    async fn request<T>(
        &self,
        alone: bool,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Option<T> {
        let (reply, mut answer) = oneshot::channel();
        let start = Instant::now();
        self.0.locked().waiting.push(request(reply));
        if self.0.reads_inline {
            if !alone {
                // Lets other requests join the same reading.
                yield_now().await;
            }
            self.0.answer_inline();
        } else {
            self.0.added.notify_all();
        }
        let mut next_check = READ_DEADLINE;
        loop {
            if let Ok(answer) = timeout(next_check, &mut answer).await {
                return answer.ok();
            }
            if start.elapsed() >= ANSWER_DEADLINE {
                return None;
            }
            next_check = self.0.replace_blocked_thread();
        }
    }
}

impl State {
    /// Whether a file blocks the current thread, and no other thread could be started.
    fn is_blocked(&self) -> bool {
        self.blocked.iter().any(|(thread, _)| *thread == self.thread)
    }

    /// Files that blocked the thread `number` can be read again.
    fn unblock(&mut self, number: u64) {
        self.blocked.retain(|(thread, path)| {
            if *thread == number {
                info!("{} can be read again: its values are no longer left out", path.display());
            }
            *thread != number
        });
    }
}

impl Shared {
    /// Starts a new thread if a file blocks the current one. Returns the time until the next check is due.
    fn replace_blocked_thread(self: &Arc<Self>) -> Duration {
        let mut state = self.locked();
        let is_repeated = state.is_blocked();
        if let Some((path, since)) = &state.reading {
            let left = READ_DEADLINE.saturating_sub(since.elapsed());
            if left > Duration::ZERO {
                return left;
            }
            let blocked = (state.thread, path.clone());
            let path = path.display();
            warn!(
                "{path} could not be read within {READ_DEADLINE:?}: its values are left out until it can be read"
            );
            state.reading = None;
            state.blocked.push(blocked);
            let in_progress = std::mem::take(&mut state.in_progress);
            state.waiting.extend(in_progress);
        } else if !is_repeated {
            return READ_DEADLINE;
        }
        // Also if an earlier try failed.
        if let Err(cause) = self.start_thread(&mut state) {
            if !is_repeated {
                warn!("cannot start a thread that answers scrapes without it: {cause}");
            }
            // Dropping a request ends it with an error.
            state.waiting.clear();
        }
        READ_DEADLINE
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let (shared, number) = (self.clone(), state.thread + 1);
        thread::Builder::new().name("scrapes".into()).spawn(move || shared.run_thread(number))?;
        state.thread = number;
        Ok(())
    }

    /// Answers requests until `number` is no longer the current thread.
    fn run_thread(&self, number: u64) {
        kernel::request_short_slices();
        while self.take_requests(number) && self.answer_requests(number) {}
        self.locked().unblock(number);
    }

    /// Waits for requests. Returns whether `number` is still the current thread.
    fn take_requests(&self, number: u64) -> bool {
        let mut state = self.locked();
        while state.waiting.is_empty() && state.thread == number {
            state = self.added.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let current = state.thread == number;
        if current {
            state.in_progress = std::mem::take(&mut state.waiting);
        }
        current
    }

    /// Answers all waiting requests. There may be none, if another thread has answered them.
    fn answer_inline(&self) {
        let waiting = std::mem::take(&mut self.locked().waiting);
        if !waiting.is_empty() {
            self.read(Needed::by(&waiting), &self.source.procfs).answer(waiting);
        }
    }

    /// Answers the requests in progress. Returns whether `number` is still the current thread; if not,
    /// another thread answers them.
    fn answer_requests(&self, number: u64) -> bool {
        let needed = Needed::by(&self.locked().in_progress);
        let reading = self.read(needed, &MonitoredFiles { number, shared: self });
        let mut state = self.locked();
        if state.thread != number {
            return false;
        }
        state.reading = None;
        state.unblock(number);
        let in_progress = std::mem::take(&mut state.in_progress);
        drop(state);
        reading.answer(in_progress);
        true
    }

    fn read(&self, needed: Needed, files: &impl Files) -> Reading {
        // Not borrowed while files are read: a file can block, and the tracker would wait.
        let published = Arc::clone(&self.source.published.borrow());
        let sample = if needed.sample { published.sample(files, clock::now()) } else { None };
        let scrape = needed.scrape().then(|| published.scrape(files));
        if scrape.as_ref().is_some_and(|scrape| scrape.suspicious) {
            self.source.nudge.check();
        }
        let scopes =
            scrape.as_ref().filter(|_| needed.scopes).map(|scrape| scrape.scopes[..].into());
        let values = scrape
            .filter(|_| needed.exposition)
            .map(|scrape| Arc::new(self.values(&published, scrape)));
        Reading { sample, scopes, values }
    }

    fn values(&self, published: &Published, scrape: Scrape) -> Values {
        let mut values = Values::new(published, scrape, self.source.compat);
        values.web_config = self.source.web_config.as_ref().map(|status| *status.borrow());
        if let Some(peak) = &mut values.peak {
            let history = self.source.history.lock().unwrap_or_else(PoisonError::into_inner);
            *peak = peak.max(history.peak(clock::now().uptime_ms));
        }
        values
    }

    /// After a panic the state is still consistent.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of procfs, as the thread `number` reads them: the state has the file that is being read, and
/// files that block another thread are left out.
struct MonitoredFiles<'a> {
    number: u64,
    shared: &'a Shared,
}

impl MonitoredFiles<'_> {
    /// Records that a read of `path` begins; `None` if it must not be read.
    fn begin(&self, path: PathBuf) -> Option<()> {
        let mut state = self.shared.locked();
        if state.thread != self.number || state.blocked.iter().any(|(_, blocked)| *blocked == path)
        {
            return None;
        }
        state.reading = Some((path, Instant::now()));
        Some(())
    }
}

impl Files for MonitoredFiles<'_> {
    fn process(&self) -> Option<ProcessStatus> {
        self.begin(ProcessStatus::path())?;
        self.shared.source.procfs.process()
    }

    fn sockstat(&self) -> Option<Sockstat> {
        let procfs = &self.shared.source.procfs;
        self.begin(procfs.sockstat_path())?;
        Files::sockstat(procfs)
    }
}
