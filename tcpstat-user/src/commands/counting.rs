//! The flags of the commands that count, and the start of the tracker with them.

use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing::info;

use super::{
    ProcfsArgs, contradiction,
    dwell::DwellArgs,
    first_tracer::{WantedTracer, find_tracer},
    netns::NetnsArgs,
    restrictions::Restrictions,
    scopes::{ScopeArgs, log_unmatched},
};
use crate::{
    kernel::{Kept, Namespaces, Program, WantedIterators},
    procfs::{ListedNamespace, Procfs},
    tracker::{NetnsChoice, OwnScopes, SourceChoice, Tracker, TrackerError, Tracking, task_ids},
};

/// The values of `--tracer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TracerChoice {
    /// btf or tracepoint: the one that misses fewer events on this kernel; the other one if that does not run
    Auto,
    /// The BTF tracepoint (tp_btf)
    Btf,
    /// The classic tracepoint
    Tracepoint,
    /// No tracer: snapshots only
    Off,
}

/// Source of snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SnapshotChoice {
    /// /proc while a snapshot takes less than 1 % of the interval, else the BPF iterator; if that takes
    /// longer too, the interval grows
    Auto,
    /// /proc/net/tcp and tcp6
    Procfs,
    /// The BPF iterator
    Iter,
}

impl From<SnapshotChoice> for SourceChoice {
    fn from(choice: SnapshotChoice) -> Self {
        match choice {
            SnapshotChoice::Auto => Self::Auto,
            SnapshotChoice::Procfs => Self::Procfs,
            SnapshotChoice::Iter => Self::Iter,
        }
    }
}

/// Flags of the commands that count.
#[derive(Args, Clone, Debug)]
pub(super) struct CountingArgs {
    /// The tracer, the BPF program that counts in the kernel; or several with commas between, to try in this order
    #[arg(
        long = "tracer",
        default_value = "auto",
        value_name = "PROGRAM",
        env = "TCPSTAT_TRACER",
        value_delimiter = ',',
        value_enum,
        help_heading = "Counting"
    )]
    tracer: Vec<TracerChoice>,

    #[command(flatten)]
    pub(super) netns: NetnsArgs,

    #[command(flatten)]
    procfs: ProcfsArgs,

    /// Source of snapshots
    #[arg(
        long = "snapshot",
        default_value = "auto",
        value_name = "SOURCE",
        env = "TCPSTAT_SNAPSHOT",
        value_enum,
        help_heading = "Snapshots"
    )]
    snapshot: SnapshotChoice,

    /// Time between two snapshots of tcpstat's own namespace, with which it compares the counts; other namespaces
    /// have their turn less often
    #[arg(
        long = "snapshot-interval",
        default_value = "15s",
        value_name = "TIME",
        env = "TCPSTAT_SNAPSHOT_INTERVAL",
        value_parser = snapshot_interval,
        help_heading = "Snapshots"
    )]
    pub(super) snapshot_interval: Duration,

    #[command(flatten)]
    scopes: ScopeArgs,
}

/// A tracker before its start, with the first tracer that runs.
pub(super) struct Counting {
    pub(super) procfs: Procfs,
    tracker: Tracker,
}

impl CountingArgs {
    /// As the function [`programs`].
    ///
    /// # Errors
    /// As above.
    pub(super) fn programs(&self) -> Result<Vec<Program>, clap::Error> {
        programs(&self.tracer)
    }

    /// Checks the flags without a change of anything.
    ///
    /// # Errors
    /// Those of [`NetnsArgs::check`]; if flags contradict each other.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.scopes.cgroups() && self.snapshot == SnapshotChoice::Procfs {
            let remedy =
                "--cgroups: /proc does not show cgroups: leave out --snapshot procfs, or --cgroups";
            return Err(contradiction(remedy).into());
        }
        self.scopes.check(&self.netns)?;
        self.netns.check(&self.procfs).map(drop)
    }

    /// Whether a program or an iterator can be loaded, now or later.
    pub(super) fn uses_bpf(&self) -> bool {
        self.tracer != [TracerChoice::Off]
            || self.snapshot != SnapshotChoice::Procfs
            || self.netns.netns == NetnsChoice::All
    }

    /// Loads the first of `programs` that runs, for the listening sockets of so many addresses and ports each, and for
    /// these dwells. Logs the network namespace, and why a program does not run.
    ///
    /// # Errors
    /// Those of [`NetnsArgs::procfs`].
    pub(super) fn load(
        &self,
        programs: Vec<Program>,
        listeners_max: u32,
        dwell: &DwellArgs,
    ) -> anyhow::Result<Counting> {
        let procfs = self.netns.procfs(&self.procfs)?;
        // Errors come before the first line of the log.
        let own_scopes = self.scopes.scopes(&procfs, &self.netns)?;
        if let Ok(namespace) = procfs.namespace() {
            info!("counting the sockets of network namespace {}", described(&namespace));
        }
        let dwell = dwell.choice(&procfs);
        let kinds = own_scopes.as_ref().map(OwnScopes::kinds).unwrap_or_default();
        let namespaces = self.netns.namespaces();
        let iterators = WantedIterators {
            sockets: kinds.cgroups.is_some(),
            close_wait: true,
            dwell: dwell.any(),
            listeners: listeners_max > 0,
            held: namespaces != Namespaces::Own,
            held_states: namespaces != Namespaces::Own && self.snapshot != SnapshotChoice::Procfs,
            tasks: if namespaces == Namespaces::Own { None } else { task_ids(&procfs) },
        };
        let tracer = find_tracer(WantedTracer {
            programs: &programs,
            procfs: &procfs,
            namespaces,
            kinds: &kinds,
            dwell,
            iterators,
        });
        if tracer.as_ref().is_some_and(|tracer| tracer.scopes.is_some()) {
            own_scopes.iter().for_each(log_unmatched);
        }
        let tracker = Tracker {
            procfs: procfs.clone(),
            tracer,
            programs,
            source: self.snapshot.into(),
            snapshot_interval: self.snapshot_interval,
            netns: self.netns.netns.clone(),
            pods: self.netns.pods(),
            scopes_max: self.netns.scopes_max,
            own_scopes,
            listeners_max,
            shows_destination: false,
        };
        Ok(Counting { procfs, tracker })
    }
}

impl Counting {
    /// Limits the time between snapshots to `interval` if no tracer runs, because there are only snapshots then.
    pub(super) fn with_snapshots_every(mut self, interval: Duration) -> Self {
        if self.tracker.tracer.is_none() {
            self.tracker.snapshot_interval = self.tracker.snapshot_interval.min(interval);
        }
        self
    }

    /// Publishes which destination takes the most ephemeral ports.
    pub(super) fn with_destination(mut self, shown: bool) -> Self {
        self.tracker.shows_destination = shown;
        self
    }

    /// Keeps what is needed besides the usual: for other processes, and for a change to another program.
    pub(super) fn keep(&self, restrictions: &mut Restrictions) {
        let tracer = self.tracker.tracer.as_ref();
        restrictions.keep_tracepoint(&self.tracker.programs);
        if self.tracker.netns == NetnsChoice::All {
            if tracer.is_none_or(|tracer| tracer.iterators.tasks.is_none()) {
                restrictions.keep(Kept::SYS_PTRACE, "--netns all without iter/task");
            }
            restrictions.keep_sight(&self.procfs);
        }
    }

    /// # Errors
    /// Those of [`Tracker::start`].
    pub(super) fn start(self) -> Result<Tracking, TrackerError> {
        self.tracker.start()
    }
}

/// For example `net:[4026531840], of this process and of process 1`.
pub(super) fn described(namespace: &ListedNamespace) -> String {
    let ListedNamespace { inum, own, of_pid_1 } = *namespace;
    let number =
        inum.map_or_else(|| "with unknown inode number".to_owned(), |inum| format!("net:[{inum}]"));
    let whose = match (own, of_pid_1) {
        (true, Some(true)) => "of this process and of process 1",
        (true, Some(false)) => "of this process, not that of process 1",
        (true, None) => "of this process; that of process 1 is hidden",
        (false, Some(true)) => "of process 1, not that of this process",
        (false, Some(false)) => "neither of this process nor of process 1",
        (false, None) => "not of this process; that of process 1 is hidden",
    };
    format!("{number}, {whose}")
}

/// The programs to try, in order, each once; none for `off`.
///
/// # Errors
/// If `off` is combined with a program.
pub(super) fn programs(choices: &[TracerChoice]) -> Result<Vec<Program>, clap::Error> {
    if choices.contains(&TracerChoice::Off) && choices.len() > 1 {
        let remedy =
            "--tracer: `off` cannot be combined with a program; use it alone, or leave it out";
        return Err(contradiction(remedy));
    }
    let mut programs = Vec::new();
    for choice in choices {
        let chosen: &[Program] = match choice {
            TracerChoice::Auto => &Program::in_order(),
            TracerChoice::Btf => &[Program::TpBtf],
            TracerChoice::Tracepoint => &[Program::Tracepoint],
            TracerChoice::Off => &[],
        };
        for program in chosen {
            if !programs.contains(program) {
                programs.push(*program);
            }
        }
    }
    Ok(programs)
}

fn snapshot_interval(text: &str) -> Result<Duration, String> {
    super::values::duration(text, Duration::from_millis(100), Duration::from_hours(24))
}
