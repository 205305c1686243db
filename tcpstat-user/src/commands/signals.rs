//! The signals that end a command, and those that it ignores.

use std::{
    os::fd::{AsFd, BorrowedFd},
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
use crate::kernel::Kept;

/// Signals that end `serve` after it has cleaned up. SIGQUIT (Ctrl-\) is one of them because a core dump would
/// leave the textfile behind; SIGABRT still dumps core. Wrappers that limit the time of a command send SIGALRM,
/// RLIMIT_CPU sends SIGXCPU, and lxc sends SIGPWR to the first process of a container.
const STOP: [Number; 6] = [
    Number::SIGTERM,
    Number::SIGINT,
    Number::SIGQUIT,
    Number::SIGALRM,
    Number::SIGXCPU,
    Number::SIGPWR,
];

/// Signals that end the process at once if they come a second time.
const STOP_AT_ONCE: [Number; 3] = [Number::SIGTERM, Number::SIGINT, Number::SIGQUIT];

/// Signals that are ignored. SIGHUP is one of them if there is no configuration to read again.
/// SIGXFSZ comes with a write error, which is reported. Rust's runtime ignores SIGPIPE.
const IGNORED: [Number; 4] = [Number::SIGHUP, Number::SIGUSR1, Number::SIGUSR2, Number::SIGXFSZ];

/// Time after the first signal before a second one takes effect. Some wrappers send two signals for one
/// request: coreutils' `timeout` signals its child, and then the child's process group.
const SECOND_SIGNAL_DELAY: Duration = Duration::from_millis(500);

/// Maximum time from the first signal to the end of the process. It is longer than all other deadlines: it is
/// for threads that hang in the kernel.
const MAX_STOP_TIME: Duration = Duration::from_secs(8);

/// Handles the signals of `serve`, on a thread that depends on no other.
///
/// The first of [`STOP`] is passed on. After a second one of [`STOP_AT_ONCE`] the process ends at once, with
/// status 128 + the signal's number, as shells report it. [`MAX_STOP_TIME`] after the first signal it ends
/// with status 1. All other signals have their default action: SIGKILL and SIGSTOP, faults, those of profilers and timers
/// (SIGPROF, SIGVTALRM), and unused ones (SIGIO, SIGSTKFLT, real-time signals).
#[derive(Debug)]
pub(super) struct ServeSignals {
    first: watch::Receiver<Option<Number>>,
    hangups: watch::Receiver<u64>,
}

impl ServeSignals {
    /// Must be called before any other thread starts, because threads inherit the signal mask. `reloads`: SIGHUP asks
    /// for the configuration to be read again.
    ///
    /// # Errors
    /// With the name of the system call that failed.
    pub(super) fn new(reloads: bool) -> anyhow::Result<Self> {
        let signals: SigSet = STOP.into_iter().chain(IGNORED).collect();
        signals.thread_block().context("blocking the signals that are handled (sigprocmask)")?;
        let descriptor =
            SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
                .context("waiting for signals (signalfd)")?;
        let (sender, first) = watch::channel(None);
        let (hangups_sender, hangups) = watch::channel(0);
        let handler = Handler { first: sender, hangups: hangups_sender, reloads, stop: None };
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                // This thread needs none. A failure is reported elsewhere.
                let _ = Kept::NONE.keep();
                let cause = handler.run(&descriptor);
                error!(
                    "signals are no longer handled: {cause}; they have their default action now"
                );
                // This fails only for an invalid argument.
                let _ = signals.thread_unblock();
            })
            .map_err(|error| not_started("the thread that waits for signals", &error))?;
        Ok(Self { first, hangups })
    }

    /// The number of times that SIGHUP came, if it has a meaning.
    pub(super) fn hangups(&self) -> watch::Receiver<u64> {
        self.hangups.clone()
    }

    /// Waits for the first signal that ends the process, and returns its name.
    pub(super) async fn first(&mut self) -> &'static str {
        if let Ok(number) = self.first.wait_for(Option::is_some).await {
            return number.map_or("no signal", Number::as_str);
        }
        // The thread has ended with an error, and signals have their default action.
        std::future::pending().await
    }
}

/// The state of the thread of [`ServeSignals`].
struct Handler {
    first: watch::Sender<Option<Number>>,
    hangups: watch::Sender<u64>,
    reloads: bool,
    stop: Option<Stop>,
}

/// The signals that asked the process to end.
struct Stop {
    first: Number,
    since: Instant,
    second: Option<Number>,
}

impl Handler {
    /// Handles signals until an error occurs, and returns the error.
    fn run(mut self, descriptor: &SignalFd) -> Errno {
        loop {
            match descriptor.read_signal() {
                Ok(Some(info)) => {
                    let number = i32::try_from(info.ssi_signo).map(Number::try_from);
                    if let Ok(Ok(number)) = number {
                        self.handle(number);
                    }
                }
                Ok(None) => {
                    let readable = PollFd::new(descriptor.as_fd(), PollFlags::POLLIN);
                    match poll(&mut [readable], self.timeout()) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(error) => return error,
                    }
                }
                Err(Errno::EINTR) => {}
                Err(error) => return error,
            }
            if let Some(stop) = self.stop.as_ref().filter(|stop| stop.deadline() <= Instant::now())
            {
                stop.exit();
            }
        }
    }

    /// How long to wait for the next signal.
    fn timeout(&self) -> PollTimeout {
        self.stop.as_ref().map_or(PollTimeout::NONE, |stop| {
            // Rounded up: with a timeout of zero the thread would spin for a millisecond.
            let left = stop.deadline().saturating_duration_since(Instant::now())
                + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        })
    }

    fn handle(&mut self, number: Number) {
        match &mut self.stop {
            _ if number == Number::SIGHUP && self.reloads => {
                info!("SIGHUP: reading --web.config.file again");
                self.hangups.send_modify(|hangups| *hangups += 1);
            }
            _ if number == Number::SIGHUP => {
                info!(
                    "SIGHUP is ignored: without --web.config.file there is nothing to read again; restart tcpstat to \
                     change a setting"
                );
            }
            _ if IGNORED.contains(&number) => info!("{number} is ignored"),
            Some(stop) if STOP_AT_ONCE.contains(&number) => {
                stop.second.get_or_insert(number);
            }
            Some(_) => {}
            None => {
                self.stop = Some(Stop { first: number, since: Instant::now(), second: None });
                self.first.send_replace(Some(number));
            }
        }
    }
}

impl Stop {
    /// When the process ends even if it has not cleaned up.
    fn deadline(&self) -> Instant {
        self.since + if self.second.is_some() { SECOND_SIGNAL_DELAY } else { MAX_STOP_TIME }
    }

    fn exit(&self) -> ! {
        let status = if let Some(second) = self.second {
            warn!("second {second}: exiting immediately");
            128 + second as i32
        } else {
            let first = self.first;
            error!(
                "still running {MAX_STOP_TIME:?} after {first}: a thread hangs in the kernel. Exiting now; \
                 a --textfile may not be removed"
            );
            1
        };
        log::flush();
        process::exit(status)
    }
}

/// Blocks the signals that other threads handle. Not SIGSYS: the kernel sends it to the thread that makes a system call that
/// is refused, and ends the process if that thread blocks it.
pub(super) fn leave_to_other_threads() {
    let mut signals = SigSet::all();
    signals.remove(Number::SIGSYS);
    // This fails only for an invalid argument.
    let _ = signals.thread_block();
}

/// The signals that end `top`: SIGTERM, SIGINT, and SIGHUP, which the kernel sends when the terminal closes.
pub(super) struct TopSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl TopSignals {
    /// # Errors
    /// With the name of the signal that cannot be handled.
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("handling SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("handling SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("handling SIGHUP")?,
        })
    }

    /// Waits for a signal, and returns its name.
    pub(super) async fn any(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}

/// The signals that end `events`: those of [`TopSignals`], and SIGQUIT.
const END_EVENTS: [Number; 4] = [Number::SIGTERM, Number::SIGINT, Number::SIGHUP, Number::SIGQUIT];

/// Waits for the signals that end `events`.
pub(super) struct EventsSignals(SignalFd);

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// The time has passed.
    No,
    Signal,
    /// The other end of the output is closed.
    Closed,
}

impl EventsSignals {
    /// Must be called before any other thread starts, because threads inherit the signal mask.
    ///
    /// # Errors
    /// With the name of the system call that failed.
    pub(super) fn new() -> anyhow::Result<Self> {
        let signals: SigSet = END_EVENTS.into_iter().collect();
        signals.thread_block().context("blocking the signals that are handled (sigprocmask)")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&signals, flags);
        Ok(Self(descriptor.context("waiting for signals (signalfd)")?))
    }

    /// Waits for a signal, or until the other end of `output` is closed, at most so long.
    ///
    /// # Errors
    /// With the name of the system call that failed.
    pub(super) fn wait(&self, output: BorrowedFd<'_>, time: Duration) -> anyhow::Result<Woken> {
        // An error of the output is reported without asking for it.
        let mut descriptors = [
            PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(output, PollFlags::empty()),
        ];
        // Rounded up, so that the end is not missed by less than a millisecond.
        let rounded = if time.is_zero() { time } else { time + Duration::from_micros(999) };
        let time = PollTimeout::try_from(rounded).unwrap_or(PollTimeout::MAX);
        match poll(&mut descriptors, time) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting for signals (poll)"),
        }
        let [signal, output] = descriptors.map(|descriptor| descriptor.revents());
        let is_closed = PollFlags::POLLERR | PollFlags::POLLHUP;
        Ok(if signal.is_some_and(|events| !events.is_empty()) {
            Woken::Signal
        } else if output.is_some_and(|events| events.intersects(is_closed)) {
            Woken::Closed
        } else {
            Woken::No
        })
    }
}
