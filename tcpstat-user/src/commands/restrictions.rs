//! Least privilege: which capabilities a command keeps, and the filter of its system calls.
//!
//! The main thread has all capabilities that it was started with until the tracer is attached. Every other thread starts with
//! those that stay, or gives up the rest before anything else.

use std::{collections::BTreeSet, sync::OnceLock, thread::Builder};

use clap::{ArgAction, Args};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use tracing::{debug, error, info, warn};

use super::{resources::not_started, signals::leave_to_other_threads, values};
use crate::{
    kernel::{self, Kept, Needs, Program, Refusals},
    procfs::{Privileges, Procfs},
};

/// The flag of every command that has a filter.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct SeccompArgs {
    /// Turn off the filter that refuses system calls that tcpstat never makes
    #[arg(
        long = "no-seccomp",
        global = true,
        env = "TCPSTAT_NO_SECCOMP",
        value_name = "YES|NO",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        default_value = "no",
        default_missing_value = "yes",
        value_parser = values::switch,
        help_heading = "Privileges"
    )]
    no_seccomp: bool,
}

/// What was refused, for the thread that logs it, and for the end of the process.
static REFUSALS: OnceLock<Refusals> = OnceLock::new();

/// Processes that are checked to find whether procfs hides some.
const SAMPLE: usize = 256;

/// What this process has given up, and what it keeps.
#[derive(Debug)]
pub(super) struct Restrictions {
    /// What it was started with.
    held: Kept,
    /// What every thread may keep.
    kept: Kept,
    /// Why more than usual is kept, or what does not work without it.
    notes: Vec<String>,
    filter: Filter,
}

#[derive(Debug)]
enum Filter {
    On { calls: usize },
    Off,
    Refused(String),
}

impl SeccompArgs {
    /// Restricts a command with these `needs`. Must be called before another thread starts.
    pub(super) fn restrict(self, needs: Needs) -> Restrictions {
        Privileges::remember_filter();
        let held = Kept::held();
        if needs.bpf {
            // Before 5.11 the kernel charges maps to this limit. It needs CAP_SYS_RESOURCE; without it the remedy for maps
            // that are refused names the limit.
            let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        }
        kernel::pass_on_none();
        let filter = if self.no_seccomp {
            Filter::Off
        } else {
            match kernel::install_filter(needs) {
                Ok((refusals, calls)) => {
                    // This is called once.
                    let _ = REFUSALS.set(refusals);
                    Filter::On { calls }
                }
                Err(error) => Filter::Refused(error.to_string()),
            }
        };
        let kept = if needs.bpf { for_bpf(held) } else { Kept::NONE };
        Restrictions { held, kept, notes: Vec::new(), filter }
    }
}

/// CAP_SYS_ADMIN includes the other two, for container runtimes that do not know those.
fn for_bpf(held: Kept) -> Kept {
    let wanted = if held.has(Kept::BPF) { Kept::BPF } else { Kept::BPF.and(Kept::SYS_ADMIN) };
    wanted.within(held)
}

impl Restrictions {
    /// Starts the thread that logs refused calls; the log must have started.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn log_refusals(&self) -> anyhow::Result<()> {
        if let Filter::Refused(error) = &self.filter {
            warn!(
                "there is no filter of system calls: {error}: run a kernel with CONFIG_SECCOMP_FILTER, or use --no-seccomp"
            );
        }
        let Some(refusals) = REFUSALS.get() else { return Ok(()) };
        Builder::new()
            .name("refused".to_owned())
            .spawn(|| {
                let _ = Kept::NONE.keep();
                leave_to_other_threads();
                let mut logged = Logged::default();
                while let Ok(number) = refusals.wait() {
                    logged.log(number);
                }
            })
            .map(drop)
            .map_err(|error| not_started("the thread that logs refused system calls", &error))
    }

    /// What threads may keep that start before [`Self::reduce`].
    pub(super) fn kept(&self) -> Kept {
        self.kept
    }

    /// Does `work` with what is kept so far. If that fails and works with `more`, that is kept too, for `what`.
    ///
    /// # Errors
    /// Those of `work`.
    pub(super) fn attempt<T, E>(
        &mut self,
        more: Kept,
        what: &str,
        work: impl Fn() -> Result<T, E>,
    ) -> Result<T, E> {
        let done = self.kept.do_with(&work);
        if done.is_ok() || self.kept.has(more) || !self.held.has(more) {
            return done;
        }
        let done = self.kept.and(more).do_with(work)?;
        self.keep(more, what);
        Ok(done)
    }

    /// Keeps `more`, as far as it is there, for `what`.
    pub(super) fn keep(&mut self, more: Kept, what: &str) {
        let more = more.within(self.held).without(self.kept);
        if !more.is_empty() {
            self.kept = self.kept.and(more);
            self.notes.push(format!("{} is kept for {what}", more.words()));
        }
    }

    /// Keeps what reading /proc/PID/fd of other users' processes needs.
    pub(super) fn keep_descriptors(&mut self) {
        let more = Kept::SYS_PTRACE.and(Kept::DAC_READ_SEARCH);
        self.keep(more, "the descriptors of other users' processes");
    }

    /// Keeps what reading other processes needs, if this procfs hides them from others.
    pub(super) fn keep_sight(&mut self, procfs: &Procfs) {
        if !self.held.has(Kept::SYS_PTRACE) {
            return;
        }
        let with = self.kept.and(Kept::SYS_PTRACE);
        let mut shown = with.do_with(|| procfs.some_readable_processes(SAMPLE));
        self.kept.do_with(|| shown.retain(|&pid| !procfs.shows_process(pid)));
        // Others have ended meanwhile.
        if with.do_with(|| shown.iter().any(|&pid| procfs.shows_process(pid))) {
            self.keep(Kept::SYS_PTRACE, "a procfs that hides processes (hidepid)");
        }
    }

    /// Keeps what a change to the classic tracepoint needs, if one of `programs` is that one, and if there are others: else
    /// there is no change.
    pub(super) fn keep_tracepoint(&mut self, programs: &[Program]) {
        if programs.len() < 2 || !programs.contains(&Program::Tracepoint) {
            return;
        }
        // Where it is not there at all, or readable, nothing is kept.
        let _ = self.attempt(Kept::DAC_READ_SEARCH, "tracefs", kernel::read_tracefs);
        if Procfs::perf_events_need_admin() {
            let what =
                "a change to the classic tracepoint (kernel.perf_event_paranoid is 3 or more)";
            self.keep(Kept::SYS_ADMIN, what);
        }
    }

    /// Leaves the calling thread, and those that it starts, what is kept, and logs it: at info if the process goes on for
    /// long.
    pub(super) fn reduce(self, stays: Stays) {
        let Self { held, kept, mut notes, filter } = self;
        if let Err(error) = kept.keep() {
            notes.push(format!(
                "they stay as they are: {error}: let the seccomp filter of this process allow capset"
            ));
        }
        let capabilities = kept.words();
        let dropped = held.without(kept).len();
        let calls = match filter {
            Filter::On { calls } => format!("{calls} calls"),
            Filter::Off => "off".to_owned(),
            Filter::Refused(_) => "refused".to_owned(),
        };
        let notes = notes.into_iter().fold(String::new(), |all, note| all + "; " + &note);
        match stays {
            Stays::Long => {
                info!(capabilities, dropped, seccomp = calls, "privileges are reduced{notes}");
            }
            Stays::Briefly => {
                debug!(capabilities, dropped, seccomp = calls, "privileges are reduced{notes}");
            }
        }
    }
}

/// How long a command runs after it has given up what it does not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stays {
    Long,
    Briefly,
}

/// Logs what was refused and not logged yet; called before the process ends.
pub(super) fn log_last_refusals() {
    let Some(refusals) = REFUSALS.get() else { return };
    let mut logged = Logged::default();
    while let Some(number) = refusals.next() {
        logged.log(number);
    }
}

/// The numbers of calls that were logged. A call is logged once, however often it is made.
#[derive(Debug, Default)]
struct Logged(BTreeSet<i32>);

impl Logged {
    fn log(&mut self, number: i32) {
        if !self.0.insert(number) {
            return;
        }
        let name = kernel::name_of_call(number).unwrap_or("unknown");
        error!(
            number,
            "refused the system call {name}, which tcpstat does not make: a defect, or foreign code in this process: restart \
             tcpstat and report it; --no-seccomp turns the filter off"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sys_admin_is_kept_only_in_place_of_what_is_missing() {
        let all = Kept::BPF.and(Kept::SYS_ADMIN).and(Kept::SYS_PTRACE);
        assert_eq!(for_bpf(all), Kept::BPF);
        assert_eq!(for_bpf(Kept::SYS_ADMIN.and(Kept::SYS_PTRACE)), Kept::SYS_ADMIN);
        assert_eq!(for_bpf(Kept::SYS_PTRACE), Kept::NONE);
    }

    #[test]
    fn more_is_kept_only_for_work_that_fails_without_it() {
        let held = Kept::held();
        let restrictions =
            || Restrictions { held, kept: Kept::NONE, notes: Vec::new(), filter: Filter::Off };
        let mut none = restrictions();
        none.attempt(Kept::SYS_PTRACE, "nothing", || Ok::<_, ()>(())).unwrap();
        assert_eq!(none.attempt(Kept::SYS_PTRACE, "nothing", || Err::<(), _>(1)), Err(1));
        assert_eq!(none.kept, Kept::NONE);
        if !held.has(Kept::SYS_PTRACE) {
            println!("ignored: it lacks CAP_SYS_PTRACE");
            return;
        }
        let needs = || if Kept::in_effect().has(Kept::SYS_PTRACE) { Ok(()) } else { Err(()) };
        let mut one = restrictions();
        one.attempt(Kept::SYS_PTRACE, "a test", needs).unwrap();
        assert_eq!(one.kept, Kept::SYS_PTRACE);
        assert_eq!(one.notes, ["CAP_SYS_PTRACE is kept for a test"]);
        assert_eq!(Kept::in_effect(), held, "this thread keeps all");
    }
}
