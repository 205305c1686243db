//! The signals that end a command, and those that do not.

use std::{
    os::fd::AsFd,
    process, thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal as Number},
        signalfd::{SfdFlags, SignalFd},
    },
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tracing::{error, info, warn};

use super::{log, resources::not_started};

/// Signals that end `serve`, which cleans up first. Ctrl-\ (SIGQUIT) too: a core would leave the textfile
/// behind, and SIGABRT still makes one. SIGALRM is what wrappers that limit the time of a command set,
/// SIGXCPU what RLIMIT_CPU sends, SIGPWR what lxc sends to the first process of a container.
const ENDING: [Number; 6] = [
    Number::SIGTERM,
    Number::SIGINT,
    Number::SIGQUIT,
    Number::SIGALRM,
    Number::SIGXCPU,
    Number::SIGPWR,
];

/// Signals of which a second one ends it at once.
const INSISTING: [Number; 3] = [Number::SIGTERM, Number::SIGINT, Number::SIGQUIT];

/// Signals that do not end it. SIGHUP asks others to read their files again; this one has none. SIGXFSZ
/// comes with an error of the write that caused it, and the error is told. SIGPIPE is ignored from the start
/// (by Rust's runtime).
const HARMLESS: [Number; 4] = [Number::SIGHUP, Number::SIGUSR1, Number::SIGUSR2, Number::SIGXFSZ];

/// How long after the first signal another one takes effect. Some wrappers send two for one: coreutils'
/// `timeout` signals its child, and then the group of the child.
const ONE_REQUEST: Duration = Duration::from_millis(500);

/// How long the end may take after the first signal. It is longer than all that waits with a deadline of its
/// own: it is for threads that hang in the kernel.
const LAST_RESORT: Duration = Duration::from_secs(8);

/// The signals of `serve`, on a thread of their own that depends on no other.
///
/// The first of [`ENDING`] is passed on. After a second of [`INSISTING`] the process ends at once with status
/// 128 + the signal's number, as shells report it; [`LAST_RESORT`] after the first it ends with status 1.
/// Signals in neither list have their default action: SIGKILL and SIGSTOP, faults, those of profilers and
/// timers (SIGPROF, SIGVTALRM), and those that nobody sends (SIGIO, SIGSTKFLT, real-time signals).
#[derive(Debug)]
pub(super) struct EndSignals {
    first: watch::Receiver<Option<Number>>,
}

impl EndSignals {
    /// Takes over the signals. To be called before any other thread starts, because threads inherit it.
    ///
    /// # Errors
    /// Says which system call failed.
    pub(super) fn take_over() -> anyhow::Result<Self> {
        let signals: SigSet = ENDING.into_iter().chain(HARMLESS).collect();
        signals.thread_block().context("blocking the signals that are handled (sigprocmask)")?;
        let waiting =
            SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
                .context("waiting for signals (signalfd)")?;
        let (tell, first) = watch::channel(None);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let failed = Watch { tell, end: None }.run(&waiting);
                error!(
                    "signals are no longer handled: {failed}; they have their default action now"
                );
                // This fails only for a wrong argument.
                let _ = signals.thread_unblock();
            })
            .map_err(|error| not_started("the thread that waits for signals", &error))?;
        Ok(Self { first })
    }

    /// The first one that is to end the process.
    pub(super) async fn first(&mut self) -> &'static str {
        if let Ok(number) = self.first.wait_for(Option::is_some).await {
            return number.map_or("no signal", Number::as_str);
        }
        // The thread has given up. Signals have their default action.
        std::future::pending().await
    }
}

/// What the thread of [`EndSignals`] knows.
struct Watch {
    tell: watch::Sender<Option<Number>>,
    end: Option<End>,
}

/// The end that was asked for.
struct End {
    first: Number,
    since: Instant,
    /// A second signal that came.
    second: Option<Number>,
}

impl Watch {
    /// Waits for signals without end. Returns the error after which it cannot.
    fn run(mut self, waiting: &SignalFd) -> Errno {
        loop {
            match waiting.read_signal() {
                Ok(Some(info)) => {
                    let number = i32::try_from(info.ssi_signo).map(Number::try_from);
                    if let Ok(Ok(number)) = number {
                        self.note(number);
                    }
                }
                Ok(None) => {
                    match poll(&mut [PollFd::new(waiting.as_fd(), PollFlags::POLLIN)], self.left())
                    {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => return error,
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => return error,
            }
            if let Some(end) = self.end.as_ref().filter(|end| end.due() <= Instant::now()) {
                end.at_once();
            }
        }
    }

    /// How long to wait for the next signal.
    fn left(&self) -> PollTimeout {
        self.end.as_ref().map_or(PollTimeout::NONE, |end| {
            // Rounded up: with a timeout of zero it would turn in circles for a millisecond.
            let left =
                end.due().saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        })
    }

    fn note(&mut self, number: Number) {
        match &mut self.end {
            _ if number == Number::SIGHUP => {
                info!(
                    "SIGHUP is ignored: tcpstat has no configuration file; restart it to change a setting"
                );
            }
            _ if HARMLESS.contains(&number) => info!("{number} is ignored"),
            Some(end) if INSISTING.contains(&number) => {
                end.second.get_or_insert(number);
            }
            Some(_) => {}
            None => {
                self.end = Some(End { first: number, since: Instant::now(), second: None });
                self.tell.send_replace(Some(number));
            }
        }
    }
}

impl End {
    /// When the process ends, whether or not all is done.
    fn due(&self) -> Instant {
        self.since + if self.second.is_some() { ONE_REQUEST } else { LAST_RESORT }
    }

    fn at_once(&self) -> ! {
        let status = if let Some(second) = self.second {
            warn!("second {second}: exiting immediately");
            128 + second as i32
        } else {
            let first = self.first;
            error!(
                "still running {LAST_RESORT:?} after {first}: a thread hangs in the kernel. Exiting now; \
                 a --textfile may not be removed"
            );
            1
        };
        log::flush();
        process::exit(status)
    }
}

/// The signals of a command that has the terminal: SIGTERM, SIGINT, and SIGHUP when the terminal has gone.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl StopSignals {
    /// Handles them from now on.
    ///
    /// # Errors
    /// Says which cannot be handled.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("handling SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("handling SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("handling SIGHUP")?,
        })
    }

    /// The next one's name.
    pub(super) async fn any(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}
