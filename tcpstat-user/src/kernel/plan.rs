//! What a tracer can count on the running kernel, and what its programs need for that: the read-only globals, and the sizes
//! of the maps.

use aya::EbpfLoader;
use tcpstat_ebpf::Reader;
use tracing::warn;

use super::{
    btf::{BtfError, KernelTypes},
    counters::OwnRows,
    cpus::cpu_ids,
    dwell,
    error::{LoadError, refusal},
    hooks::FoundHooks,
    iterators::{FoundIterators, WantedIterators},
    layout::{self, Globals},
    netns_slots::Namespaces,
    object::{OBJECT, loader},
    program::Program,
    scope_maps::ScopeKinds,
    step::Step,
};
use crate::{ages::TickRate, clock, dwell::DwellChoice};

/// What a tracer will count.
pub(super) struct Plan {
    /// The name in the object of the program that counts.
    pub(super) symbol: &'static str,
    pub(super) namespaces: Namespaces,
    pub(super) kinds: ScopeKinds,
    pub(super) dwell: DwellChoice,
    /// What is counted in the own namespace besides transitions.
    pub(super) own: OwnRows,
    /// Number of CPU ids, each of which has its rows.
    pub(super) cpus: u32,
    pub(super) hooks: FoundHooks,
    pub(super) iterators: FoundIterators,
    /// Why causes are not counted; `None` if they are.
    pub(super) causes_refused: Option<BtfError>,
    /// The ticks in which silences are counted; `None` if they are not.
    pub(super) silence_rate: Option<TickRate>,
    /// Why the kernel's structures do not show silences.
    pub(super) silence_refused: Option<BtfError>,
    globals: Globals,
}

impl Plan {
    /// Leaves out what the kernel's structures do not show, except what `program` itself needs.
    ///
    /// # Errors
    /// [`LoadError`] if there is no object, or if `program` cannot run.
    pub(super) fn make(
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
        let types = KernelTypes::read()?;
        let mut globals = own_globals(&types, program, netns_inum)?;
        let hooks = FoundHooks::find(&types);
        globals.extend(hooks.globals());
        if namespaces != Namespaces::Own {
            globals.extend(layout::netns_key(&types));
        }
        if kinds.cgroups.is_some()
            && let Some(error) = add(&mut globals, layout::cgroup_member(&types))
        {
            warn!("--cgroups is off: {error}");
            kinds.cgroups = None;
        }
        globals.push(("PORTS", (!kinds.ports.is_empty()).into()));
        let slots = namespaces.slots();
        let causes_refused = add(&mut globals, layout::causes(&types, slots));
        let own = OwnRows { details: causes_refused.is_none(), dwells: dwell.any() };
        globals.extend(dwell::globals(dwell, slots + own.detail_slots()));
        let rate = clock::tick_rate().filter(|_| own.details);
        let silence_refused =
            rate.and_then(|rate| add(&mut globals, layout::silence(&types, rate)));
        let silence_rate = rate.filter(|_| silence_refused.is_none());
        iterators.sockets &= kinds.cgroups.is_some();
        iterators.close_wait &= silence_rate.is_some();
        iterators.dwell &= dwell.any();
        let iterators = FoundIterators::find(iterators, &types);
        globals.extend_from_slice(iterators.globals());
        drop(types);
        let cpus = cpu_ids().map_err(|error| refusal(Step::CountCpus, error.into()))?;
        globals.push(("CPU_IDS", cpus));
        Ok(Self {
            symbol: program.symbol(counts_more(&kinds, dwell)),
            namespaces,
            kinds,
            dwell,
            own,
            cpus,
            hooks,
            iterators,
            causes_refused,
            silence_rate,
            silence_refused,
            globals,
        })
    }

    /// A loader that sets globals and sizes of maps.
    pub(super) fn loader(&self) -> EbpfLoader<'_> {
        let mut loader = loader(&self.globals);
        let slots = self.namespaces.slots() + self.own.slots();
        loader.map_max_entries("ROWS", slots * self.cpus);
        let scopes = self.namespaces.map_sizes().into_iter().chain(self.kinds.map_sizes(self.cpus));
        for (name, entries) in scopes.chain(dwell::map_size(self.dwell)) {
            loader.map_max_entries(name, entries);
        }
        loader
    }
}

/// Whether more is counted of the own namespace than the default program counts.
pub(super) fn counts_more(kinds: &ScopeKinds, dwell: DwellChoice) -> bool {
    kinds.any() || dwell.any()
}

/// The globals that `program` needs in any case.
fn own_globals(
    types: &KernelTypes,
    program: Program,
    netns_inum: u32,
) -> Result<Globals, LoadError> {
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

/// Adds the globals that were found, or returns why there are none.
fn add(globals: &mut Globals, found: Result<Globals, BtfError>) -> Option<BtfError> {
    found.map(|found| globals.extend(found)).err()
}
