//! Loads and attaches the tracer.

use std::{
    os::fd::{AsFd, BorrowedFd},
    path::Path,
    sync::Arc,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Map, MapData},
    programs::{BtfTracePoint, ProgramError, TracePoint},
};
use aya_log::EbpfLogger;
use tcpstat_ebpf::{BANK_CELLS, Reader};
use tracing::warn;

use super::{
    btf::{BtfError, KernelTypes},
    counters::{Counters, OwnRows, Switch},
    cpus::cpu_ids,
    dwell::{self, DwellMap},
    error::{LoadError, refusal},
    events::EventLog,
    hooks::{self, HookRefusal},
    iterators::{FoundIterators, Iterators, WantedIterators},
    layout::{self, Globals},
    memory::release_memory,
    netns_slots::{NETNS_MAPS, Namespaces, NetnsSlots},
    program::Program,
    scope_maps::{ScopeKinds, ScopeMaps},
    step::{Attachment, Step},
    stream::STREAM_MAPS,
};
use crate::{ages::TickRate, clock, dwell::DwellChoice, states::Hooks};

/// A loaded program that counts, with its counters and its event log. Dropping it stops the count.
pub(crate) struct Tracer {
    pub(crate) program: Program,
    /// The counters, in memory that the kernel shares.
    pub(crate) counters: Arc<Counters>,
    pub(crate) log: EventLog,
    /// The inode number of the network namespace that is counted in [`Slot::OWN`].
    pub(crate) netns_inum: u32,
    /// Which namespaces are counted besides.
    pub(crate) namespaces: Namespaces,
    /// Their slots.
    pub(crate) netns_slots: Option<NetnsSlots>,
    /// Which scopes of the own namespace are counted.
    pub(crate) kinds: ScopeKinds,
    /// What is counted of them.
    pub(crate) scopes: Option<ScopeMaps>,
    /// Which dwells of the own namespace are measured.
    pub(crate) dwell: DwellChoice,
    /// Since when its sockets are in these states; `None` for no state.
    pub(crate) dwell_map: Option<DwellMap>,
    pub(crate) hooks: Hooks,
    pub(crate) hooks_refused: Vec<HookRefusal>,
    /// Why causes are not counted; `None` if they are.
    pub(crate) causes_refused: Option<BtfError>,
    /// The ticks in which silences are counted, and ages can be; `None` if they are not.
    pub(crate) silence_rate: Option<TickRate>,
    /// Why silences are not counted.
    pub(crate) silence_refused: Option<BtfError>,
    /// What was loaded with it. These do not need the tracer.
    pub(crate) iterators: Iterators,
    logger: EbpfLogger<&'static dyn log::Log>,
    /// Owns maps, programs and links.
    ebpf: Ebpf,
}

impl Tracer {
    /// The descriptor of [`Tracer::program`]. Its fdinfo has the number of events that the kernel skipped.
    pub(crate) fn program_fd(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds(std::iter::once(self.program.symbol(has_more(&self.kinds, self.dwell))))
    }

    /// The descriptors of the attached hooks. Their fdinfo has the number of events that the kernel skipped.
    pub(crate) fn hook_fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds(hooks::symbols(self.hooks))
    }

    /// Events since the start that the programs saw and did not count: TCP made a transition that the tracer
    /// does not know.
    #[must_use]
    pub(crate) fn events_without_cell(&self) -> u64 {
        self.log.events_without_cell()
    }

    fn fds(
        &self,
        symbols: impl Iterator<Item = &'static str>,
    ) -> impl Iterator<Item = BorrowedFd<'_>> {
        // The programs are loaded, so each has a descriptor.
        symbols.filter_map(|symbol| Some(self.ebpf.program(symbol)?.fd().ok()?.as_fd()))
    }

    /// Loads and attaches `program`, which counts the sockets of the network namespace with the inode number
    /// `netns_inum`, that of this process, and of other `namespaces`. Also attaches the hooks that the kernel
    /// accepts.
    ///
    /// # Errors
    /// [`LoadError`] if `program` cannot run. Then nothing stays loaded.
    pub(crate) fn load(
        program: Program,
        netns_inum: u32,
        namespaces: Namespaces,
    ) -> Result<Self, LoadError> {
        let (kinds, iterators) = (ScopeKinds::default(), WantedIterators::default());
        Self::load_with(program, netns_inum, namespaces, kinds, DwellChoice::default(), iterators)
    }

    /// As [`Tracer::load`], and counts these kinds of scopes and measures these dwells in the namespace of this process.
    /// Leaves out cgroups on a kernel whose sockets have none. Loads these iterators besides.
    ///
    /// # Errors
    /// As [`Tracer::load`].
    pub(crate) fn load_with(
        program: Program,
        netns_inum: u32,
        namespaces: Namespaces,
        mut kinds: ScopeKinds,
        dwell: DwellChoice,
        mut iterators: WantedIterators,
    ) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let types = KernelTypes::read(Path::new(KERNEL_BTF))?;
        let mut globals = globals(&types, program, netns_inum)?;
        let found_hooks = hooks::FoundHooks::find(&types);
        globals.extend(found_hooks.globals());
        if namespaces != Namespaces::Own {
            globals.extend(layout::netns_key(&types));
        }
        if kinds.cgroups.is_some() {
            match layout::cgroup_member(&types) {
                Ok(members) => globals.extend(members),
                Err(error) => {
                    warn!("--cgroups is off: {error}");
                    kinds.cgroups = None;
                }
            }
        }
        globals.push(("PORTS", (!kinds.ports.is_empty()).into()));
        let slots = namespaces.slots();
        let causes_refused = match layout::causes(&types, slots) {
            Ok(members) => {
                globals.extend(members);
                None
            }
            Err(error) => Some(error),
        };
        let own = OwnRows { details: causes_refused.is_none(), dwells: dwell.any() };
        globals.extend(dwell::globals(dwell, slots + own.detail_slots()));
        let (mut silence_rate, mut silence_refused) =
            (clock::tick_rate().filter(|_| own.details), None);
        if let Some(rate) = silence_rate {
            match layout::silence(&types, rate) {
                Ok(members) => globals.extend(members),
                Err(error) => (silence_rate, silence_refused) = (None, Some(error)),
            }
        }
        iterators.sockets &= kinds.cgroups.is_some();
        iterators.close_wait &= silence_rate.is_some();
        iterators.dwell &= dwell.any();
        let iterators = FoundIterators::find(iterators, &types);
        globals.extend_from_slice(iterators.globals());
        drop(types);
        let cpus = cpu_ids().map_err(|error| refusal(Step::CountCpus, error.into()))?;
        globals.push(("CPU_IDS", cpus));

        let mut loader = loader(&globals);
        loader.map_max_entries("ROWS", (slots + own.slots()) * cpus);
        let scope_sizes = namespaces.map_sizes().into_iter().chain(kinds.map_sizes(cpus));
        for (name, entries) in scope_sizes.chain(dwell::map_size(dwell)) {
            loader.map_max_entries(name, entries);
        }
        let mut ebpf =
            loader.load(OBJECT).map_err(|error| refusal(Step::CreateMaps, error.into()))?;

        let rows = map(&ebpf, "ROWS")?;
        let counters = Counters::map(rows, slots as usize, cpus as usize, BANK_CELLS, own)
            .map_err(|error| refusal(Step::MapMemory("the counters"), error.into()))?;
        // Nothing that is loaded here uses these, so their memory is freed.
        for name in STREAM_MAPS {
            drop(ebpf.take_map(name));
        }
        let switch = Switch::map(map(&ebpf, "CONTROL")?)
            .map_err(|error| refusal(Step::MapMemory("the control page"), error.into()))?;
        let ring = ebpf.take_map("EVENTS").ok_or(LoadError::WrongObject("EVENTS"))?;
        let counters = Arc::new(counters);
        let log = EventLog::new(ring, switch, Arc::clone(&counters));
        let netns_slots = match namespaces {
            Namespaces::Own => None,
            Namespaces::All { others } => Some(NetnsSlots::new(&mut ebpf, &NETNS_MAPS, others)?),
        };
        let scopes = ScopeMaps::new(&mut ebpf, &kinds, cpus as usize)?;

        let dwell_map = DwellMap::new(&mut ebpf, dwell)?;

        let logger = EbpfLogger::init(&mut ebpf)
            .map_err(|error| refusal(Step::MapMemory("the tracer's log"), error.into()))?;
        let btf = Btf::from_sys_fs().map_err(|error| refusal(Step::ReadTypes, error.into()))?;
        attach(&mut ebpf, program, program.symbol(has_more(&kinds, dwell)), &btf)?;
        let (hooks, hooks_refused) = found_hooks.attach(&mut ebpf, &btf);
        let iterators = iterators.load(&mut ebpf, &btf);
        drop(btf);
        release_memory();
        Ok(Self {
            program,
            counters,
            log,
            netns_inum,
            namespaces,
            netns_slots,
            kinds,
            scopes,
            dwell,
            dwell_map,
            hooks,
            hooks_refused,
            causes_refused,
            silence_rate,
            silence_refused,
            iterators,
            logger,
            ebpf,
        })
    }

    /// Writes what the programs have logged (transitions without a cell) to this process' log.
    pub(crate) fn flush_log(&mut self) {
        self.logger.flush();
    }
}

/// A program that does not run.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) program: Program,
    pub(crate) error: LoadError,
}

/// What [`load_first`] has found.
#[derive(Default)]
pub(crate) struct FirstTracer {
    /// The first tracer that runs.
    pub(crate) tracer: Option<Tracer>,
    /// The programs that were refused before it.
    pub(crate) refused: Vec<Attempt>,
    /// The programs that were refused with the dwells, if it runs without them.
    pub(crate) refused_with_dwells: Vec<Attempt>,
    /// Those that were refused with the kinds of scopes, if it runs without them.
    pub(crate) refused_with_kinds: Vec<Attempt>,
}

/// Tries `programs` in their order: with these kinds of scopes and these dwells, then with the kinds alone, then without both.
#[must_use]
pub(crate) fn load_first(
    programs: &[Program],
    netns_inum: u32,
    namespaces: Namespaces,
    kinds: &ScopeKinds,
    dwell: DwellChoice,
    iterators: WantedIterators,
) -> FirstTracer {
    let mut first = FirstTracer::default();
    for &program in programs {
        match Tracer::load_with(program, netns_inum, namespaces, kinds.clone(), dwell, iterators) {
            Ok(tracer) => return FirstTracer { tracer: Some(tracer), ..first },
            Err(error) => first.refused.push(Attempt { program, error }),
        }
    }
    let refused = std::mem::take(&mut first.refused);
    if dwell.any() {
        let without = DwellChoice::default();
        first = load_first(programs, netns_inum, namespaces, kinds, without, iterators);
        first.refused_with_dwells = refused;
    } else if kinds.any() {
        let without = ScopeKinds::default();
        first = load_first(programs, netns_inum, namespaces, &without, dwell, iterators);
        first.refused_with_kinds = refused;
    } else {
        first.refused = refused;
    }
    first
}

/// Whether more is counted of the own namespace than the default program counts.
fn has_more(kinds: &ScopeKinds, dwell: DwellChoice) -> bool {
    kinds.any() || dwell.any()
}

/// The read-only globals that `program` needs.
fn globals(types: &KernelTypes, program: Program, netns_inum: u32) -> Result<Globals, LoadError> {
    let reader = match program {
        Program::TpBtf => Reader::TpBtf,
        Program::Tracepoint => Reader::Tracepoint,
    };
    let mut globals = layout::offsets(types, reader)?;
    globals.push(("NETNS_INUM", netns_inum));
    #[cfg(feature = "lose-events")]
    globals.extend(super::lose::globals());
    Ok(globals)
}

/// The BTF of the running kernel.
pub(super) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpstat.bpf.o"));

/// A loader of [`OBJECT`] that sets these read-only globals.
pub(super) fn loader<'a>(globals: &'a [(&'static str, u32)]) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    // The object has no relocations that need the kernel's types, which would take megabytes.
    loader.btf(None);
    for (name, value) in globals {
        loader.override_global(name, value, true);
    }
    loader
}

pub(super) fn map<'a>(
    ebpf: &'a Ebpf,
    name: &'static str,
) -> Result<impl AsFd + use<'a>, LoadError> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(MapData::fd(data).as_fd()),
        _ => Err(LoadError::WrongObject(name)),
    }
}

/// Loads and attaches the program with this name in the object, which is of the kind of `program`.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    program: Program,
    symbol: &'static str,
    btf: &Btf,
) -> Result<(), LoadError> {
    let attachment = match program {
        Program::TpBtf => Attachment::TpBtf,
        Program::Tracepoint => Attachment::Tracepoint,
    };
    let at_load = |error: ProgramError| refusal(Step::Load(attachment), error.into());
    let at_attach = |error: ProgramError| refusal(Step::Attach(attachment), error.into());
    let handle = ebpf.program_mut(symbol).ok_or(LoadError::WrongObject(symbol))?;
    match program {
        Program::TpBtf => {
            let handle: &mut BtfTracePoint = handle.try_into().map_err(at_load)?;
            handle.load("inet_sock_set_state", btf).map_err(at_load)?;
            handle.attach().map_err(at_attach)?;
        }
        Program::Tracepoint => {
            let handle: &mut TracePoint = handle.try_into().map_err(at_load)?;
            handle.load().map_err(at_load)?;
            handle.attach("sock", "inet_sock_set_state").map_err(at_attach)?;
        }
    }
    Ok(())
}
