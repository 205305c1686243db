//! Loads and attaches the tracer.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};

use aya::{Btf, Ebpf};
use aya_log::EbpfLogger;
use tcpstat_ebpf::BANK_CELLS;

use super::{
    btf::BtfError,
    counters::{Counters, Switch},
    dwell::DwellMap,
    error::{LoadError, refusal},
    events::EventLog,
    hooks::{self, HookRefusal},
    iterators::{Iterators, WantedIterators},
    memory::release_memory,
    netns_slots::{NETNS_MAPS, Namespaces, NetnsSlots},
    object::{OBJECT, attach, map},
    plan::{Plan, counts_more},
    program::Program,
    reserved::Reserved,
    scope_maps::{ScopeKinds, ScopeMaps},
    step::Step,
    stream::STREAM_MAPS,
};
use crate::{ages::TickRate, dwell::DwellChoice, states::Hooks};

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
        self.fds(std::iter::once(self.program.symbol(counts_more(&self.kinds, self.dwell))))
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
        kinds: ScopeKinds,
        dwell: DwellChoice,
        iterators: WantedIterators,
    ) -> Result<Self, LoadError> {
        let plan = Plan::make(program, netns_inum, namespaces, kinds, dwell, iterators)?;
        Self::load_plan(program, netns_inum, plan, &Reserved::default())
    }

    /// Loads and attaches `program`, which counts what this tracer counts, beside it, with the slots that are `reserved`.
    ///
    /// # Errors
    /// As [`Tracer::load`].
    pub(crate) fn load_beside(
        &self,
        program: Program,
        reserved: &Reserved,
    ) -> Result<Self, LoadError> {
        let &Self { netns_inum, namespaces, ref kinds, dwell, .. } = self;
        let iterators = WantedIterators::default();
        let plan = Plan::make(program, netns_inum, namespaces, kinds.clone(), dwell, iterators)?;
        Self::load_plan(program, netns_inum, plan, reserved)
    }

    fn load_plan(
        program: Program,
        netns_inum: u32,
        plan: Plan,
        reserved: &Reserved,
    ) -> Result<Self, LoadError> {
        let load = plan.loader().load(OBJECT);
        let mut ebpf = load.map_err(|error| refusal(Step::CreateMaps, error.into()))?;
        let mut maps = Maps::take(&mut ebpf, &plan)?;
        maps.reserve(reserved);
        let logger = EbpfLogger::init(&mut ebpf)
            .map_err(|error| refusal(Step::MapMemory("the tracer's log"), error.into()))?;
        let btf = Btf::from_sys_fs().map_err(|error| refusal(Step::ReadTypes, error.into()))?;
        attach(&mut ebpf, program, plan.symbol, &btf)?;
        let (hooks, hooks_refused) = plan.hooks.attach(&mut ebpf, &btf);
        let iterators = plan.iterators.load(&mut ebpf, &btf);
        drop(btf);
        release_memory();
        Ok(Self {
            program,
            counters: maps.counters,
            log: maps.log,
            netns_inum,
            namespaces: plan.namespaces,
            netns_slots: maps.netns_slots,
            kinds: plan.kinds,
            scopes: maps.scopes,
            dwell: plan.dwell,
            dwell_map: maps.dwell,
            hooks,
            hooks_refused,
            causes_refused: plan.causes_refused,
            silence_rate: plan.silence_rate,
            silence_refused: plan.silence_refused,
            iterators,
            logger,
            ebpf,
        })
    }

    /// How many namespaces have got a slot from the tracer; 0 if it counts one.
    pub(crate) fn netns_assigned(&self) -> u64 {
        self.netns_slots.as_ref().map_or(0, NetnsSlots::assigned)
    }

    /// Writes what the programs have logged (transitions without a cell) to this process' log.
    pub(crate) fn flush_log(&mut self) {
        self.logger.flush();
    }
}

/// What the tracer has in memory that the kernel shares, and its other maps.
struct Maps {
    counters: Arc<Counters>,
    log: EventLog,
    netns_slots: Option<NetnsSlots>,
    scopes: Option<ScopeMaps>,
    dwell: Option<DwellMap>,
}

impl Maps {
    fn take(ebpf: &mut Ebpf, plan: &Plan) -> Result<Self, LoadError> {
        let (slots, cpus) = (plan.namespaces.slots() as usize, plan.cpus as usize);
        let counters = Counters::map(map(ebpf, "ROWS")?, slots, cpus, BANK_CELLS, plan.own)
            .map_err(|error| refusal(Step::MapMemory("the counters"), error.into()))?;
        // Nothing that is loaded here uses these, so their memory is freed.
        for name in STREAM_MAPS {
            drop(ebpf.take_map(name));
        }
        let switch = Switch::map(map(ebpf, "CONTROL")?)
            .map_err(|error| refusal(Step::MapMemory("the control page"), error.into()))?;
        let ring = ebpf.take_map("EVENTS").ok_or(LoadError::WrongObject("EVENTS"))?;
        let counters = Arc::new(counters);
        let log = EventLog::new(ring, switch, Arc::clone(&counters));
        let netns_slots = match plan.namespaces {
            Namespaces::Own => None,
            Namespaces::All { others } => Some(NetnsSlots::new(ebpf, &NETNS_MAPS, others)?),
        };
        let scopes = ScopeMaps::new(ebpf, &plan.kinds, cpus)?;
        let dwell = DwellMap::new(ebpf, plan.dwell)?;
        Ok(Self { counters, log, netns_slots, scopes, dwell })
    }

    fn reserve(&mut self, reserved: &Reserved) {
        if let Some(slots) = &mut self.netns_slots {
            reserved.assign_netns(slots);
        }
        if let Some(slots) = self.scopes.as_mut().and_then(|scopes| scopes.cgroups.as_mut()) {
            reserved.assign_cgroups(slots);
        }
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
    /// The programs that were refused with the kinds of scopes, if it runs without them.
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
