//! The programs of `tcpstat events`, and the ring buffer that they write transitions to.
//!
//! They are loaded from the object of the tracer, and attached beside it. They never wait: a record that does not fit in the
//! ring buffer is lost and counted.

use std::{
    ops::ControlFlow,
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::Ordering,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, RingBuf, lpm_trie::Key},
    util::KernelVersion,
};
use memmap2::{MmapOptions, MmapRaw};
use tcpstat_ebpf::{
    PORT_WORDS, PREFIX_BYTES, PortFilter, Reader, StreamProcess, StreamRecord, port_word,
};

use super::{
    btf::{BtfError, KernelTypes},
    counters::first_word,
    error::{LoadError, refusal},
    events::await_running_programs,
    layout::{self, Globals},
    load::Attempt,
    memory::release_memory,
    object::{OBJECT, attach, loader, map},
    program::Program,
    step::Step,
};
use crate::{
    ages::TickRate,
    clock,
    procfs::Procfs,
    stream::{Filter, Port, Prefix, Transition},
};

/// Most cgroups whose verdicts the programs have. Transitions of others are written.
const MAX_CGROUPS: u32 = 16_384;

/// The maps that only these programs use.
pub(super) const STREAM_MAPS: [&str; 5] =
    ["STREAM", "STREAM_LOST", "STREAM_PORTS", "STREAM_ADDRESSES", "STREAM_CGROUPS"];

/// A program that writes transitions. Dropping it ends that.
pub(crate) struct TransitionStream {
    pub(crate) program: Program,
    /// The ticks of silences; `None` if they are not known.
    pub(crate) silence_rate: Option<TickRate>,
    /// Whether transitions have a cgroup.
    pub(crate) has_cgroups: bool,
    /// Whether they have a process.
    pub(crate) has_processes: bool,
    ring: RingBuf<MapData>,
    lost: MmapRaw,
    cgroups: HashMap<MapData, u64, u32>,
    ebpf: Ebpf,
}

/// What could not be read on this kernel, besides the globals of what can.
struct Found {
    globals: Globals,
    silence_rate: Option<TickRate>,
    has_cgroups: bool,
    has_processes: bool,
}

impl TransitionStream {
    /// Tries `programs` in their order. The ring buffer has `bytes` bytes, rounded up to a power of two.
    ///
    /// # Errors
    /// Why each program was refused.
    pub(crate) fn load_first(
        programs: &[Program],
        filter: &Filter,
        bytes: u32,
    ) -> Result<Self, Vec<Attempt>> {
        let mut refused = Vec::new();
        for &program in programs {
            match Self::load(program, filter, bytes) {
                Ok(stream) => return Ok(stream),
                Err(error) => refused.push(Attempt { program, error }),
            }
        }
        Err(refused)
    }

    /// Loads and attaches `program`.
    ///
    /// # Errors
    /// [`LoadError`]. Then nothing stays loaded.
    fn load(program: Program, filter: &Filter, bytes: u32) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let types = KernelTypes::read()?;
        let found = Found::new(&types, program)?;
        drop(types);
        let mut globals = found.globals;
        globals.extend(filter_globals(filter));
        let mut loader = loader(&globals);
        loader.override_global("STREAM_TRANSITIONS", &filter.transitions[..], true);
        size_maps(&mut loader, filter, bytes);
        let loaded = loader.load(OBJECT);
        let mut ebpf = loaded.map_err(|error| refusal(Step::CreateMaps, error.into()))?;

        fill_ports(&mut ebpf, filter)?;
        fill_addresses(&mut ebpf, filter)?;
        let lost = map_lost(&ebpf)?;
        let ring = RingBuf::try_from(take(&mut ebpf, "STREAM")?)
            .map_err(|error| refusal(Step::MapMemory("the ring buffer"), error.into()))?;
        let cgroups = HashMap::try_from(take(&mut ebpf, "STREAM_CGROUPS")?).map_err(wrong_map)?;
        let btf = Btf::from_sys_fs().map_err(|error| refusal(Step::ReadTypes, error.into()))?;
        attach(&mut ebpf, program, symbol(program), &btf)?;
        drop(btf);
        release_memory();
        Ok(Self {
            program,
            silence_rate: found.silence_rate,
            has_cgroups: found.has_cgroups,
            has_processes: found.has_processes,
            ring,
            lost,
            cgroups,
            ebpf,
        })
    }

    /// Passes the transitions in the ring buffer to `each`, until that breaks or the buffer is empty. Returns whether it is
    /// empty.
    pub(crate) fn read(&mut self, mut each: impl FnMut(Transition) -> ControlFlow<()>) -> bool {
        while let Some(item) = self.ring.next() {
            let transition = decode(&item);
            drop(item);
            if transition.is_some_and(|transition| each(transition).is_break()) {
                return false;
            }
        }
        true
    }

    /// How many transitions did not fit in the ring buffer.
    pub(crate) fn lost(&self) -> u64 {
        // SAFETY: the mapped memory has one word and lives as long as `self`; the programs change it by atomic adds.
        unsafe { &*first_word(&self.lost) }.load(Ordering::Relaxed)
    }

    /// The descriptor of the program, until [`TransitionStream::stop`]. Its fdinfo has the number of events that the kernel
    /// skipped.
    pub(crate) fn program_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ebpf.program(symbol(self.program))?.fd().ok()?.as_fd())
    }

    /// Decides whether the transitions of a cgroup are written. There are no verdicts for more than 16,384 cgroups.
    pub(crate) fn set_cgroup(&mut self, id: u64, wanted: bool) {
        // A full map: the programs write the transitions.
        let _ = self.cgroups.insert(id, u32::from(wanted), 0);
    }

    /// Removes the verdict of a cgroup.
    pub(crate) fn forget_cgroup(&mut self, id: u64) {
        // There was no room for it.
        let _ = self.cgroups.remove(&id);
    }

    /// Unloads the program. What the ring buffer has stays.
    pub(crate) fn stop(&mut self) {
        if let Some(handle) = self.ebpf.program_mut(symbol(self.program)) {
            // It fails only for a program that is not loaded.
            let _ = match handle {
                aya::programs::Program::BtfTracePoint(program) => program.unload(),
                aya::programs::Program::TracePoint(program) => program.unload(),
                _ => Ok(()),
            };
        }
        await_running_programs();
    }
}

impl Found {
    fn new(types: &KernelTypes, program: Program) -> Result<Self, BtfError> {
        let reader = match program {
            Program::TpBtf => Reader::TpBtf,
            Program::Tracepoint => Reader::Tracepoint,
        };
        let mut globals = layout::offsets(types, reader)?;
        globals.extend(layout::netns_key(types));
        for reader in [Reader::Causes, Reader::Silence, Reader::Stream] {
            globals.extend(layout::offsets(types, reader)?);
        }
        let silence_rate = clock::tick_rate();
        globals.push(("TICKS_PER_SECOND", silence_rate.map_or(0, |rate| rate.0.get())));
        let cgroups = layout::cgroup_member(types);
        let has_cgroups = cgroups.is_ok();
        globals.extend(cgroups.into_iter().flatten());
        let (process, members) = process(types);
        globals.extend(members);
        globals.push(("STREAM_PROCESS", process as u32));
        let has_processes = process != StreamProcess::Off;
        Ok(Self { globals, silence_rate, has_cgroups, has_processes })
    }
}

/// How the programs name processes. The kernel gives the ids of the initial PID namespace.
fn process(types: &KernelTypes) -> (StreamProcess, Globals) {
    if Procfs::in_initial_pid_namespace() != Some(true) {
        return (StreamProcess::Off, Globals::new());
    }
    // `bpf_get_current_task_btf` exists since 5.11.
    let by_task = KernelVersion::current().is_ok_and(|now| now >= KernelVersion::new(5, 11, 0));
    match layout::offsets(types, Reader::ProcessName) {
        Ok(members) if by_task => (StreamProcess::Process, members),
        _ => (StreamProcess::Thread, Globals::new()),
    }
}

fn symbol(program: Program) -> &'static str {
    match program {
        Program::TpBtf => "tcpstat_stream_tp_btf",
        Program::Tracepoint => "tcpstat_stream_tracepoint",
    }
}

fn filter_globals(filter: &Filter) -> Globals {
    let ports = by_port(filter).into_iter().filter(|(_, ports)| !ports.is_empty());
    let ports = ports.fold(0, |bits, (filter, _)| bits | 1 << filter as u32);
    vec![
        ("STREAM_NETNS", filter.netns.unwrap_or(0)),
        ("STREAM_CAUSES", filter.cause_bits()),
        ("STREAM_PORT_FILTERS", ports),
        ("STREAM_BY_ADDRESS", u32::from(!filter.addresses.is_empty())),
        ("STREAM_BY_CGROUP", u32::from(filter.by_cgroup)),
    ]
}

fn by_port(filter: &Filter) -> [(PortFilter, &[Port]); 3] {
    [
        (PortFilter::Either, &filter.ports),
        (PortFilter::Local, &filter.local_ports),
        (PortFilter::Remote, &filter.remote_ports),
    ]
}

fn size_maps(loader: &mut EbpfLoader<'_>, filter: &Filter, bytes: u32) {
    // These programs do not use it, so it gets the minimum size.
    loader.map_max_entries("EVENTS", 4096);
    loader.map_max_entries("STREAM", bytes);
    let by_port = by_port(filter);
    if by_port.iter().any(|(_, ports)| !ports.is_empty()) {
        loader.map_max_entries("STREAM_PORTS", 3 * PORT_WORDS);
    }
    if let Ok(addresses @ 1..) = u32::try_from(filter.addresses.len()) {
        // One more for `Prefix::IPV4`.
        loader.map_max_entries("STREAM_ADDRESSES", addresses + 1);
    }
    if filter.by_cgroup {
        loader.map_max_entries("STREAM_CGROUPS", MAX_CGROUPS);
    }
}

fn fill_ports(ebpf: &mut Ebpf, filter: &Filter) -> Result<(), LoadError> {
    let mut words = vec![0_u64; 3 * PORT_WORDS as usize];
    for (filter, ports) in by_port(filter) {
        for port in ports.iter().flat_map(Clone::clone) {
            words[port_word(filter, port) as usize] |= 1 << (port % 64);
        }
    }
    let mut map = Array::try_from(map_mut(ebpf, "STREAM_PORTS")?).map_err(wrong_map)?;
    for (index, word) in (0..).zip(words).filter(|&(_, word)| word != 0) {
        map.set(index, word, 0).map_err(wrong_map)?;
    }
    Ok(())
}

fn fill_addresses(ebpf: &mut Ebpf, filter: &Filter) -> Result<(), LoadError> {
    let map = map_mut(ebpf, "STREAM_ADDRESSES")?;
    let mut map: LpmTrie<_, [u8; PREFIX_BYTES], u32> = LpmTrie::try_from(map).map_err(wrong_map)?;
    // The longest prefix of an address decides, and the last value of a prefix.
    let unwritten = std::iter::once((&Prefix::IPV4, 0));
    for (prefix, written) in unwritten.chain(filter.addresses.iter().map(|prefix| (prefix, 1))) {
        map.insert(&Key::new(prefix.bits, prefix.bytes), written, 0).map_err(wrong_map)?;
    }
    Ok(())
}

fn map_lost(ebpf: &Ebpf) -> Result<MmapRaw, LoadError> {
    let lost = map(ebpf, "STREAM_LOST")?;
    let mapped = MmapOptions::new().len(size_of::<u64>()).map_raw_read_only(&lost.as_fd());
    mapped.map_err(|error| refusal(Step::MapMemory("the counter of lost records"), error.into()))
}

/// The object keeps the map: its descriptor is in the program until that is loaded.
fn map_mut<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Map, LoadError> {
    ebpf.map_mut(name).ok_or(LoadError::WrongObject(name))
}

fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, LoadError> {
    ebpf.take_map(name).ok_or(LoadError::WrongObject(name))
}

fn wrong_map(error: MapError) -> LoadError {
    refusal(Step::CreateMaps, error.into())
}

pub(super) fn decode(bytes: &[u8]) -> Option<Transition> {
    if bytes.len() < size_of::<StreamRecord>() {
        return None;
    }
    // SAFETY: there are as many bytes as a record has, all members of a record are numbers, and the read needs no alignment.
    let record = unsafe { bytes.as_ptr().cast::<StreamRecord>().read_unaligned() };
    Transition::of(&record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::STATES;

    #[test]
    fn a_truncated_record_is_none() {
        let bytes = [1; size_of::<StreamRecord>()];
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
    }

    #[test]
    fn a_filter_that_is_off_is_0() {
        let on = |filter: &Filter| {
            filter_globals(filter).iter().filter(|(_, value)| *value != 0).count()
        };
        assert_eq!(on(&Filter::default()), 0);
        let filter = Filter {
            netns: Some(4_026_531_840),
            local_ports: vec![80..=80],
            addresses: vec!["10.0.0.0/8".parse().unwrap()],
            by_cgroup: true,
            ..Filter::default()
        };
        assert_eq!(on(&filter), 4);
        assert!(filter_globals(&filter).contains(&("STREAM_PORT_FILTERS", 0b10)));
        assert_eq!(STATES.len(), 10);
    }
}
