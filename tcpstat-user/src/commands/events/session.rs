//! One run: from the ring buffer to standard output, until something ends it.

use std::{
    io::{self, ErrorKind},
    ops::ControlFlow,
    os::fd::AsFd,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tracing::debug;

use super::{
    cgroups::{Cgroups, Verdict},
    chosen::ChosenNetns,
    lines::{Context, Lines, Totals},
    losses::Losses,
    netns::NetnsNames,
    output::{Batch, Output},
};
use crate::{
    clock,
    commands::{
        log,
        signals::{EventsSignals, Woken},
    },
    kernel::TransitionStream,
    procfs::Procfs,
    stream::{Connects, Transition},
    text::plural,
};

/// Lines are written when there are so many bytes, or when the ring buffer is empty.
const BATCH_BYTES: usize = 256 * 1024;

/// How long the ring buffer is left alone after it was empty.
const POLL: Duration = Duration::from_millis(10);

/// How long the ring buffer is left alone after a second without a transition.
const IDLE_POLL: Duration = Duration::from_millis(50);

/// How long the ring buffer is left alone while standard output accepts nothing.
const BLOCKED_POLL: Duration = Duration::from_millis(2);

/// How often the number of events is read that the kernel skipped.
const SKIPPED_POLL: Duration = Duration::from_secs(1);

/// How long the reader of standard output may take for the rest at the end.
const GRACE: Duration = Duration::from_millis(500);

/// When a run ends by itself.
pub(super) struct Limits {
    pub(super) end: Option<Instant>,
    pub(super) count: Option<u64>,
}

/// The parts of a run.
pub(super) struct Session {
    pub(super) stream: TransitionStream,
    pub(super) signals: EventsSignals,
    pub(super) output: Output,
    pub(super) lines: Lines,
    pub(super) names: NetnsNames,
    pub(super) chosen: ChosenNetns,
    pub(super) cgroups: Cgroups,
    pub(super) limits: Limits,
    pub(super) losses: Losses,
    pub(super) connects: Connects,
    /// Which network namespaces are shown.
    pub(super) namespaces: String,
}

/// Why a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A limit, or a signal.
    Asked,
    /// So many transitions were shown.
    Count,
    /// Standard output cannot be written.
    Output,
}

impl Session {
    /// # Errors
    /// If standard output cannot be written, for another reason than that its reader has closed it.
    pub(super) fn run(mut self) -> anyhow::Result<ExitCode> {
        let start = Instant::now();
        let mut run =
            Run { shown: 0, batch: Batch::default(), last: start, skipped: 0, skipped_at: start };
        let end = loop {
            let mut is_empty = false;
            let is_blocked = run.batch.bytes.len() >= BATCH_BYTES;
            if !is_blocked {
                is_empty = self.read(&mut run);
            }
            if !run.batch.bytes.is_empty() && (is_empty || run.batch.bytes.len() >= BATCH_BYTES) {
                self.output.offer(&mut run.batch);
            }
            if self.limits.count.is_some_and(|count| run.shown >= count) {
                break End::Count;
            }
            if self.output.error().is_some() {
                break End::Output;
            }
            let wait = if run.batch.bytes.len() >= BATCH_BYTES {
                BLOCKED_POLL
            } else if !is_empty {
                Duration::ZERO
            } else if run.last.elapsed() > Duration::from_secs(1) {
                IDLE_POLL
            } else {
                POLL
            };
            if let Some(end) = self.wait(wait)? {
                break end;
            }
        };
        self.finish(run, end, start)
    }

    /// Formats what the ring buffer has, until there is enough for a batch. Returns whether it is empty.
    fn read(&mut self, run: &mut Run) -> bool {
        let ahead = clock::unix_ahead_of_kernel();
        let mut is_empty = false;
        // Cgroups need the stream between two transitions.
        let mut transitions = Vec::with_capacity(READ_AT_ONCE);
        while !is_empty && run.batch.bytes.len() < BATCH_BYTES && !self.is_complete(run) {
            transitions.clear();
            is_empty = self.stream.read(|transition| {
                transitions.push(transition);
                if transitions.len() < READ_AT_ONCE {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            for transition in &transitions {
                if !self.is_complete(run) {
                    self.show(run, transition, ahead);
                }
            }
        }
        if is_empty && !self.is_complete(run) {
            self.report_losses(run);
        }
        is_empty
    }

    fn is_complete(&self, run: &Run) -> bool {
        self.limits.count.is_some_and(|count| run.shown >= count)
    }

    fn show(&mut self, run: &mut Run, transition: &Transition, ahead: u64) {
        if !self.chosen.has(transition.netns_key) {
            return;
        }
        match self.cgroups.verdict(transition.cgroup, &mut self.stream) {
            Verdict::Shown => {}
            Verdict::LeftOut => return,
            Verdict::Unknown => {
                self.losses.leave_out_unknown();
                return;
            }
        }
        let missing = self.losses.before_record(transition.lost);
        if missing > 0 {
            self.lines.lost(&mut run.batch.bytes, missing);
            run.batch.end_line(0);
        }
        let silence = transition.silence.zip(self.stream.silence_rate);
        let context = Context {
            unix: transition.time.saturating_add(ahead),
            netns: self.names.name(transition.netns_key, transition.netns_inum),
            cgroup: self.cgroups.path(transition.cgroup),
            silence: silence
                .map(|(ticks, rate)| u64::from(ticks) * 1_000 / u64::from(rate.0.get())),
            connect: self.connects.process(transition),
        };
        self.lines.transition(&mut run.batch.bytes, transition, context);
        run.batch.end_line(1);
        run.shown += 1;
        run.last = Instant::now();
    }

    /// Reports the events that are missing after the last transition.
    fn report_losses(&mut self, run: &mut Run) {
        if run.skipped_at.elapsed() >= SKIPPED_POLL {
            run.skipped_at = Instant::now();
            self.read_skipped(run);
        }
        let missing = self.losses.at_rest(self.stream.lost(), run.skipped);
        if missing > 0 {
            self.lines.lost(&mut run.batch.bytes, missing);
            run.batch.end_line(0);
        }
    }

    fn read_skipped(&self, run: &mut Run) {
        match self.stream.program_fd().map(Procfs::recursion_misses) {
            Some(Ok(skipped)) => run.skipped = skipped.unwrap_or(0),
            Some(Err(error)) => debug!(%error, "the number of skipped events is unknown"),
            None => {}
        }
    }

    /// Waits for a signal, the end of the reader of standard output, or the limit of time.
    fn wait(&mut self, time: Duration) -> anyhow::Result<Option<End>> {
        let rest = self.limits.end.map(|end| end.saturating_duration_since(Instant::now()));
        if rest == Some(Duration::ZERO) {
            return Ok(Some(End::Asked));
        }
        let time = rest.map_or(time, |rest| rest.min(time));
        Ok(match self.signals.wait(io::stdout().as_fd(), time)? {
            Woken::Signal => Some(End::Asked),
            Woken::Closed => Some(End::Output),
            Woken::No => None,
        })
    }

    fn finish(mut self, mut run: Run, end: End, start: Instant) -> anyhow::Result<ExitCode> {
        let deadline = Instant::now() + GRACE;
        self.read_skipped(&mut run);
        self.stream.stop();
        let seconds = start.elapsed().as_secs_f64();
        if end == End::Asked {
            while !self.read(&mut run) && !self.is_complete(&run) {
                self.output.offer(&mut run.batch);
                if Instant::now() >= deadline || self.output.error().is_some() {
                    break;
                }
                if run.batch.bytes.len() >= BATCH_BYTES {
                    std::thread::sleep(BLOCKED_POLL);
                }
            }
            // What is left in the ring buffer does not fit in the output.
            let mut left = 0;
            while !self.stream.read(|_| {
                left += 1;
                ControlFlow::Continue(())
            }) {}
            if !self.is_complete(&run) {
                run.shown += left;
            }
        }
        self.report_losses(&mut run);
        let totals = Totals { events: run.shown, lost: self.losses.total(), seconds };
        self.lines.end(&mut run.batch.bytes, totals);
        run.batch.end_line(0);
        let Self { lines, output, namespaces, .. } = self;
        let (written, error) = output.finish(run.batch, deadline);
        let is_closed = error.as_ref().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe);
        if let Some(error) = error.filter(|_| !is_closed) {
            return Err(error).context("writing to standard output");
        }
        let Totals { events, lost, .. } = totals;
        let s = plural(events);
        let summary =
            format!("{events} transition{s} in {seconds:.1} s, {lost} lost ({namespaces})");
        let unwritten = totals.events - written.min(totals.events);
        if is_closed || end == End::Output {
            log::write_notice(&format!("the reader of standard output has closed it: {summary}"));
        } else if unwritten > 0 {
            log::write_notice(&format!(
                "{summary}; standard output did not accept the last {unwritten}"
            ));
        } else if !lines.has_end() {
            log::write_notice(&summary);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Transitions that are taken from the ring buffer together.
const READ_AT_ONCE: usize = 64;

/// What changes in a run.
struct Run {
    /// Transitions that were formatted.
    shown: u64,
    batch: Batch,
    /// When the last transition was formatted.
    last: Instant,
    /// Events that the kernel skipped, at the last reading.
    skipped: u64,
    skipped_at: Instant,
}
