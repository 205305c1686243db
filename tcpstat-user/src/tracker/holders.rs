//! Reads which processes hold TCP sockets, and names what it finds.
//!
//! With BPF, `iter/task_file` lists the descriptors of all processes in all network namespaces. Without it, sockets are
//! those of net/tcp and net/tcp6 in each namespace, and /proc/PID/fd shows who holds them by their inode numbers: of
//! processes that this one may trace, and without ages.
//!
//! It never runs for a scrape: a reading costs as much as there are descriptors.

mod descriptors;
mod namespaces;
mod selector;
mod view;

use std::{
    io, mem, ops::RangeInclusive, path::PathBuf, sync::mpsc::sync_channel, thread, time::Duration,
};

use tcpstat_ebpf::HolderRecord;
use thiserror::Error;
use tracing::warn;

pub(crate) use selector::{NetnsSelector, inode_at};
pub(crate) use view::{HolderView, Holders, NamedNetns, NamedProcess, QueueView};

use self::{namespaces::Namespaces, selector::SelectorError};
use super::finder::{FindError, Finder, task_ids};
use crate::{
    ages::TickRate,
    clock,
    holders::{HolderReport, HolderTable, Query, Socket, SortBy},
    kernel::{HolderIterator, IterError},
    procfs::{Privileges, Processes, Procfs, ProcfsError},
    scopes::NetnsKind,
    states::State,
};

/// Records that go from one thread to the other together.
const BATCH: usize = 512;

/// Batches that wait for the slower thread.
const BATCHES: usize = 8;

/// Which sockets and rows to show.
#[derive(Clone, Debug, Default)]
pub(crate) struct WhoQuery {
    /// As [`Query::states`].
    pub(crate) states: Vec<State>,
    pub(crate) netns: NetnsSelector,
    pub(crate) pid: Option<u32>,
    /// As [`Query::ports`].
    pub(crate) ports: Vec<RangeInclusive<u16>>,
    /// Only sockets whose peer has been silent for more seconds than this.
    pub(crate) older_than: Option<u32>,
    pub(crate) sort: SortBy,
    /// Most rows; also most accept queues.
    pub(crate) limit: Option<usize>,
}

/// Where a reading comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HolderSource {
    #[default]
    Iterator,
    Descriptors,
}

impl HolderSource {
    /// Its name in reports.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Iterator => "iter/task_file",
            Self::Descriptors => Processes::DESCRIPTORS,
        }
    }
}

/// Reading failed.
#[derive(Debug, Error)]
pub(crate) enum WhoError {
    #[error("{0}")]
    Procfs(ProcfsError),
    #[error("{0}")]
    Namespaces(FindError),
    #[error("{}", .0.with_remedy(&Privileges::read()))]
    Iterator(IterError),
    #[error("--netns {0}")]
    Selector(SelectorError),
    #[error("starting a thread: {0}: raise the limit on tasks (RLIMIT_NPROC, TasksMax=, pids.max)")]
    Thread(io::Error),
    /// A defect in this program.
    #[error("the thread that reads panicked")]
    Panicked,
    /// The log at the start has the reason.
    #[error(
        "--older-than: only iter/task_file knows ages, and it does not run here: run tcpstat as root, or with CAP_BPF and \
         CAP_PERFMON, on Linux 5.11 or newer, or leave the flag out"
    )]
    NoAges,
    #[error("--pid {pid}: no process has this id in {}: `tcpstat who` shows those with sockets", root.display())]
    NoProcess { pid: u32, root: PathBuf },
}

/// Reads again and again.
pub(crate) struct HolderReader {
    procfs: Procfs,
    processes: Processes,
    finder: Finder,
    /// `None` for reading descriptors.
    iterator: Option<Loaded>,
    /// `None` if the kernel does not say it.
    rate: Option<TickRate>,
}

struct Loaded {
    iterator: HolderIterator,
    /// Whether its process ids are those of the procfs.
    same_ids: bool,
}

/// What a reading lists.
#[derive(Debug, Default)]
struct Listed {
    table: HolderTable,
    /// Processes whose descriptors cannot be read.
    not_visible: Vec<u32>,
}

impl Listed {
    /// How many of the processes that are asked for are not visible.
    fn not_visible(&self, pid: Option<u32>) -> u64 {
        let asked = |process: &&u32| pid.is_none_or(|pid| pid == **process);
        self.not_visible.iter().filter(asked).count() as u64
    }
}

/// What was read at one time, for any number of queries.
pub(crate) struct Reading {
    namespaces: Namespaces,
    listed: Listed,
    /// The CPU time that the reading took in other threads than the one that called for it.
    pub(crate) other_cpu: Duration,
}

impl HolderReader {
    /// `procfs` is a mount. Names of pods are those of the directories in `pods`. Logs why `iter/task_file` does not run,
    /// if it does not.
    ///
    /// # Errors
    /// [`WhoError::Procfs`] if `procfs` shows no processes.
    pub(crate) fn new(procfs: &Procfs, pods: PathBuf) -> Result<Self, WhoError> {
        let processes = procfs.processes().map_err(WhoError::Procfs)?;
        let iterator = load(procfs);
        let finder = Finder::new(procfs, pods, iterator.is_some());
        let rate = clock::tick_rate();
        Ok(Self { procfs: procfs.clone(), processes, finder, iterator, rate })
    }

    /// Whether it reads the descriptors of each process, because the kernel refuses `iter/task_file`.
    pub(crate) fn reads_descriptors(&self) -> bool {
        self.iterator.is_none()
    }

    /// Reads who holds which sockets now.
    ///
    /// # Errors
    /// [`WhoError`].
    pub(crate) fn read(&mut self, query: &WhoQuery) -> Result<Holders, WhoError> {
        let namespaces = self.namespaces()?;
        let wanted = self.wanted(query, &namespaces)?;
        let (listed, _) = self.list(&namespaces)?;
        let not_visible = listed.not_visible(query.pid);
        let report = listed.table.report(&wanted);
        drop(listed);
        self.check(query, &report, &namespaces)?;
        Ok(self.named(report, &wanted, &namespaces, not_visible))
    }

    /// Reads what answers any query.
    ///
    /// # Errors
    /// [`WhoError`].
    pub(crate) fn read_all(&mut self) -> Result<Reading, WhoError> {
        let namespaces = self.namespaces()?;
        let (listed, other_cpu) = self.list(&namespaces)?;
        Ok(Reading { namespaces, listed, other_cpu })
    }

    /// Who held which sockets at that reading.
    ///
    /// # Errors
    /// [`WhoError`].
    pub(crate) fn answer(&self, reading: &Reading, query: &WhoQuery) -> Result<Holders, WhoError> {
        let Reading { namespaces, listed, .. } = reading;
        let wanted = self.wanted(query, namespaces)?;
        let report = listed.table.report(&wanted);
        Ok(self.named(report, &wanted, namespaces, listed.not_visible(query.pid)))
    }

    /// # Errors
    /// If the query is about a process or a network namespace that does not exist.
    fn check(
        &self,
        query: &WhoQuery,
        report: &HolderReport,
        namespaces: &Namespaces,
    ) -> Result<(), WhoError> {
        if report.sockets > 0 {
            return Ok(());
        }
        if let Some(pid) = query.pid.filter(|_| self.names_processes())
            && !self.processes.directory(pid).exists()
        {
            return Err(WhoError::NoProcess { pid, root: self.processes.root().to_owned() });
        }
        // A namespace without a process can have a name, or sockets of processes that are elsewhere.
        if let NetnsSelector::Inode(inode) = query.netns
            && namespaces.iter().all(|namespace| namespace.inode != Some(inode))
            && report.netns.iter().all(|totals| totals.netns != inode)
            && self.finder.name_of_inode(inode).kind == NetnsKind::Unnamed
        {
            return Err(WhoError::Selector(SelectorError::NoSuchInode(inode)));
        }
        Ok(())
    }

    fn namespaces(&mut self) -> Result<Namespaces, WhoError> {
        let found = self.finder.find().map_err(WhoError::Namespaces)?;
        Ok(Namespaces::new(found, &self.procfs, self.source()))
    }

    fn wanted(&self, query: &WhoQuery, namespaces: &Namespaces) -> Result<Query, WhoError> {
        let rate = self.rate.filter(|_| self.iterator.is_some());
        Ok(Query {
            states: query.states.clone(),
            netns: query.netns.keys(namespaces).map_err(WhoError::Selector)?,
            pid: query.pid,
            ports: query.ports.clone(),
            older_than: match (query.older_than, rate) {
                (None, _) => None,
                (Some(seconds), Some(rate)) => Some(rate.ticks_u32(seconds)),
                (Some(_), None) => return Err(WhoError::NoAges),
            },
            sort: query.sort,
            limit: query.limit,
        })
    }

    fn named(
        &self,
        report: HolderReport,
        wanted: &Query,
        namespaces: &Namespaces,
        not_visible: u64,
    ) -> Holders {
        let view = view::Describe {
            processes: self.names_processes().then_some(&self.processes),
            finder: &self.finder,
            namespaces,
            rate: self.rate,
        };
        let mut holders = view.holders(report, self.source(), not_visible);
        let is_whole = wanted.pid.is_none() && wanted.ports.is_empty();
        if not_visible == 0 && wanted.pid.is_none() {
            let netns = wanted.netns.as_deref();
            holders.without_holder = namespaces.other(&holders.totals, netns, &self.procfs);
        }
        holders.other = holders.without_holder.filter(|_| is_whole);
        if is_whole && wanted.netns.is_none() {
            holders.orphans = self.procfs.orphans().ok();
        }
        holders
    }

    /// With the CPU time of other threads.
    fn list(&mut self, namespaces: &Namespaces) -> Result<(Listed, Duration), WhoError> {
        let Some(loaded) = &mut self.iterator else {
            let listed = descriptors::list(&self.processes, namespaces);
            return Ok((listed.map_err(WhoError::Procfs)?, Duration::ZERO));
        };
        let mut table = HolderTable::with_capacity(namespaces.sockets());
        let other_cpu = for_each_record(&mut loaded.iterator, |record| {
            if let Some((socket, pid)) = Socket::of_record(record, self.rate) {
                table.add_held(&socket, pid);
            }
        })?;
        Ok((Listed { table, not_visible: Vec::new() }, other_cpu))
    }

    fn source(&self) -> HolderSource {
        if self.iterator.is_some() { HolderSource::Iterator } else { HolderSource::Descriptors }
    }

    /// Whether the files of the procfs are those of the processes in a reading.
    fn names_processes(&self) -> bool {
        self.iterator.as_ref().is_none_or(|loaded| loaded.same_ids)
    }
}

/// Passes every record to `each`, while another thread waits for the kernel, which takes more than half of the time.
/// Returns the CPU time of that thread.
fn for_each_record(
    iterator: &mut HolderIterator,
    mut each: impl FnMut(&HolderRecord),
) -> Result<Duration, WhoError> {
    let (sender, batches) = sync_channel::<Vec<HolderRecord>>(BATCHES);
    thread::scope(|scope| {
        let read = move || {
            let mut batch = Vec::with_capacity(BATCH);
            let read = iterator.each_descriptor(|record| {
                batch.push(record);
                if batch.len() == BATCH {
                    // The other side ends after this one.
                    let _ = sender.send(mem::replace(&mut batch, Vec::with_capacity(BATCH)));
                }
            });
            let _ = sender.send(batch);
            // This thread has done nothing else.
            read.map(|()| clock::thread_cpu())
        };
        let reader = thread::Builder::new().name("who".into()).spawn_scoped(scope, read);
        let reader = reader.map_err(WhoError::Thread)?;
        batches.iter().flatten().for_each(|record| each(&record));
        reader.join().map_err(|_| WhoError::Panicked)?.map_err(WhoError::Iterator)
    })
}

fn load(procfs: &Procfs) -> Option<Loaded> {
    let ids = task_ids(procfs)?;
    match HolderIterator::load(ids) {
        Ok(iterator) => {
            let same_ids = iterator.ids == ids;
            Some(Loaded { iterator, same_ids })
        }
        Err(error) => {
            error.write_kernel_log();
            let error = error.with_remedy(&Privileges::read());
            warn!("reading /proc/PID/fd instead of iter/task_file, without ages: {error}");
            None
        }
    }
}
