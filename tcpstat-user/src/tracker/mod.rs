//! The one thread that owns the ledger: it seeds it, holds it against snapshots, and publishes it.
//!
//! Every interval it takes a snapshot and reconciles. Every second, and when a scrape asks, it looks
//! at the tripwire and at the events that the kernel skipped; either makes it reconcile at once.

mod pass;
mod published;

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio::sync::watch;
use tracing::{debug, info, warn};

pub use pass::{Pass, Rewound, take};
pub use published::{Held, Live, Published, Snapshot};

use crate::{
    kernel::Tracer,
    ledger::{
        Ledger,
        reconcile::{Reconciler, Verdict},
        tripwire::{Look, Tripwire},
    },
    procfs::{Procfs, ProcfsError},
    states::{family_word, state_word},
};

/// How often the tripwire is looked at between snapshots.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What lies between two looks or snapshots that are to confirm one another.
const CONFIRMATION_GAP: Duration = Duration::from_millis(50);
/// Snapshots taken at most for one seed.
const SEED_ATTEMPTS: u32 = 5;
/// Snapshots taken at most for one reconcile.
const RECONCILE_ATTEMPTS: u32 = 3;
/// Snapshots out of turn take at most one part in this of the time.
const BUDGET: u32 = 10;

/// Why a reconcile is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Interval,
    Tripwire,
    MissedEvents,
}

/// What the tracker is made of.
pub struct Tracker {
    /// Where sockets are listed.
    pub procfs: Procfs,
    /// Who counts; `None` for snapshots alone.
    pub tracer: Option<Tracer>,
    /// Time between two snapshots.
    pub snapshot_interval: Duration,
}

/// The tracker at work.
pub struct Tracking {
    /// What it tells. Closed when it has ended.
    pub published: watch::Receiver<Published>,
    wake: SyncSender<Wake>,
    thread: JoinHandle<Result<(), TrackerError>>,
}

/// Asks the tracker to look now; without effect while one request is waiting.
#[derive(Clone, Debug)]
pub struct Nudge(SyncSender<Wake>);

enum Wake {
    Look,
    Stop,
}

/// Why the tracker ended.
#[derive(Debug, Error)]
pub enum TrackerError {
    /// There was nothing to begin with.
    #[error("no first snapshot: {0}")]
    Seed(ProcfsError),
    /// The thread could not be started.
    #[error("starting the tracker's thread: {0}")]
    Spawn(std::io::Error),
    /// A defect in this program.
    #[error("the tracker panicked")]
    Panicked,
}

impl Tracker {
    /// Starts the thread. It publishes first when it has seeded the ledger.
    ///
    /// # Errors
    /// [`TrackerError::Spawn`].
    pub fn start(self) -> Result<Tracking, TrackerError> {
        let (publish, published) = watch::channel(Published::default());
        let (wake, woken) = sync_channel(1);
        let mut task = Task {
            procfs: self.procfs,
            tracer: self.tracer,
            interval: self.snapshot_interval,
            state: Published::default(),
            publish,
            reconciler: Reconciler::default(),
            tripwire: Tripwire::default(),
            broken_row_named: false,
            last_reconcile: Instant::now(),
        };
        let thread = thread::Builder::new()
            .name("tracker".into())
            .spawn(move || task.run(&woken))
            .map_err(TrackerError::Spawn)?;
        Ok(Tracking { published, wake, thread })
    }
}

impl Tracking {
    /// A handle for those who notice something.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        Nudge(self.wake.clone())
    }

    /// Asks the tracker to end, and waits until it has; a snapshot under way is finished first.
    ///
    /// # Errors
    /// What it ended with.
    pub fn stop(self) -> Result<(), TrackerError> {
        // An error means that it has ended already.
        let _ = self.wake.send(Wake::Stop);
        self.thread.join().map_err(|_| TrackerError::Panicked)?
    }
}

impl Nudge {
    /// See the type.
    pub fn look(&self) {
        // Full: a request waits already. Disconnected: the tracker has ended.
        let _ = self.0.try_send(Wake::Look);
    }
}

struct Task {
    procfs: Procfs,
    tracer: Option<Tracer>,
    interval: Duration,
    state: Published,
    publish: watch::Sender<Published>,
    reconciler: Reconciler,
    tripwire: Tripwire,
    broken_row_named: bool,
    last_reconcile: Instant,
}

impl Task {
    fn run(&mut self, woken: &Receiver<Wake>) -> Result<(), TrackerError> {
        self.seed().map_err(TrackerError::Seed)?;
        let mut next_snapshot = Instant::now() + self.interval;
        let mut next_look = Instant::now() + LOOK_INTERVAL;
        loop {
            let due =
                if self.tracer.is_some() { next_look.min(next_snapshot) } else { next_snapshot };
            match woken.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(Wake::Look) => self.look(),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= next_snapshot => {
                    self.reconcile(Reason::Interval);
                    next_snapshot = Instant::now() + self.interval;
                    next_look = Instant::now() + LOOK_INTERVAL;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.look();
                    next_look = Instant::now() + LOOK_INTERVAL;
                }
            }
        }
    }

    /// Takes snapshots until one seeds the ledger without a doubt; the last attempt's counts anyway.
    fn seed(&mut self) -> Result<(), ProcfsError> {
        for attempt in 1..=SEED_ATTEMPTS {
            let pass = self.pass()?;
            let (Some(tracer), Some(rewound)) = (&self.tracer, &pass.rewound) else {
                self.record(&pass);
                break;
            };
            let live = Live {
                program: tracer.program,
                counters: tracer.counters.clone(),
                ledger: Ledger::seeded(&rewound.transitions, &rewound.at_cut.sockets),
            };
            let Held { reading, transitions: now, sockstat } = live.hold_against(&self.procfs);
            if let Err(error) = sockstat {
                warn!(%error, "the sum of the gauges cannot be checked between snapshots");
            }
            let look = self.tripwire.look(&reading);
            let settled = rewound.exact() && look != Look::Suspect;
            if settled {
                self.tripwire.excuse(&reading);
            }
            debug!(attempt, ?look, ?reading, doubts = rewound.at_cut.doubts, log = ?rewound.log, "seed");
            if settled || attempt == SEED_ATTEMPTS {
                if !settled {
                    warn!(
                        ?reading,
                        doubts = rewound.at_cut.doubts,
                        "seeded with doubts; a later snapshot will tell"
                    );
                }
                self.state.live = Some(live);
                self.record(&pass);
                if let Some(live) = &mut self.state.live {
                    live.ledger.observe(&now, &pass.tally);
                }
                break;
            }
            thread::sleep(CONFIRMATION_GAP);
        }
        self.last_reconcile = Instant::now();
        self.publish();
        Ok(())
    }

    /// Looks at what the kernel tells at no cost, and reconciles at once where it tells of a fault.
    fn look(&mut self) {
        let Some(tracer) = &mut self.tracer else { return };
        tracer.flush_log();
        let missed = match self.procfs.recursion_misses(tracer.program_fd()) {
            Ok(missed) => missed.unwrap_or(0),
            Err(error) => {
                debug!(%error, "misses unknown");
                self.state.events_missed
            }
        };
        let more_missed = missed > self.state.events_missed;
        if more_missed {
            self.state.events_missed = missed;
            self.publish();
        }
        let budget =
            self.state.snapshot.as_ref().map_or(Duration::ZERO, |snapshot| snapshot.duration);
        if self.last_reconcile.elapsed() < LOOK_INTERVAL.max(budget * BUDGET) {
            return;
        }
        if self.tripped() {
            self.reconcile(Reason::Tripwire);
        } else if more_missed {
            self.reconcile(Reason::MissedEvents);
        }
    }

    /// Whether ledger and sockstat differ, seen twice.
    fn tripped(&mut self) -> bool {
        let Some(live) = &self.state.live else { return false };
        for _ in 0..RECONCILE_ATTEMPTS {
            let reading = live.hold_against(&self.procfs).reading;
            match self.tripwire.look(&reading) {
                Look::Agrees => return false,
                Look::Tripped => return true,
                Look::Moving | Look::Suspect => thread::sleep(CONFIRMATION_GAP),
            }
        }
        false
    }

    fn reconcile(&mut self, reason: Reason) {
        debug!(?reason, "reconcile");
        for _ in 0..RECONCILE_ATTEMPTS {
            let pass = match self.pass() {
                Ok(pass) => pass,
                Err(error) => {
                    warn!(%error, "snapshot failed; the numbers of the last one stay");
                    self.state.snapshot_errors += 1;
                    break;
                }
            };
            self.record(&pass);
            if self.judge(&pass) != Verdict::Undecided {
                break;
            }
            thread::sleep(CONFIRMATION_GAP);
        }
        self.last_reconcile = Instant::now();
        self.publish();
    }

    /// Holds the ledger against a pass, and corrects it where that is certain.
    fn judge(&mut self, pass: &Pass) -> Verdict {
        let (Some(live), Some(rewound)) = (&mut self.state.live, &pass.rewound) else {
            // Without a tracer the snapshot is all there is.
            return Verdict::Agrees;
        };
        let Held { reading, transitions, .. } = live.hold_against(&self.procfs);
        live.ledger.observe(&transitions, &pass.tally);
        let drift = live.ledger.drift(&rewound.transitions, &rewound.at_cut.sockets);
        let verdict = self.reconciler.judge(&drift, rewound.exact(), &reading);
        debug!(?verdict, ?reading, doubts = rewound.at_cut.doubts, log = ?rewound.log, "judged");
        if rewound.exact() {
            self.state.drift = drift;
        }
        match verdict {
            Verdict::Agrees => self.tripwire.excuse(&reading),
            Verdict::Correct => {
                live.ledger.correct(&drift);
                for (family, state, drift) in drift.iter().filter(|&(.., drift)| drift != 0) {
                    self.state.corrections[(family, state)] += drift.unsigned_abs();
                    info!(
                        family = family_word(family),
                        state = state_word(state),
                        drift,
                        "corrected: the ledger had drifted from the kernel's list"
                    );
                }
            }
            Verdict::Undecided => {}
        }
        verdict
    }

    fn pass(&mut self) -> Result<Pass, ProcfsError> {
        take(&self.procfs, self.tracer.as_mut().map(|tracer| &mut tracer.log))
    }

    /// Notes what the pass listed, for the metrics.
    fn record(&mut self, pass: &Pass) {
        self.state.snapshot_errors += pass.broken_rows;
        if let (Some(broken), false) = (&pass.first_broken, self.broken_row_named) {
            self.broken_row_named = true;
            warn!(
                rows = pass.broken_rows,
                "{broken}: such rows are left out and counted (tcpstat_snapshot_errors_total)"
            );
        }
        self.state.snapshot =
            Some(Snapshot { tally: pass.tally, finished: pass.finished, duration: pass.duration });
    }

    fn publish(&mut self) {
        self.state.excused = self.tripwire.excused();
        self.publish.send_replace(self.state.clone());
    }
}
