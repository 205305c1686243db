//! Loads and attaches the tracer: the programs of the ladder one after the other, until one runs.

use std::{
    error::Error,
    os::fd::{AsFd, AsRawFd, RawFd},
    path::Path,
    sync::Arc,
};

use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Map, MapData},
    programs::{BtfTracePoint, ProgramError, TracePoint},
};
use aya_log::EbpfLogger;

use super::{
    btf::KernelTypes,
    counters::{Counters, Switch},
    cpus::cpu_ids,
    error::{LoadError, refusal},
    events::EventLog,
    globals::globals,
    hooks::{self, HookRefusal},
    memory::release_memory,
    program::Program,
    step::{Attachment, Step},
};
use crate::states::Hooks;

/// A tracer that counts; it stops when this is dropped.
pub struct Tracer {
    /// The candidate it stands on.
    pub program: Program,
    /// Its counters.
    pub counters: Arc<Counters>,
    /// Its event log.
    pub log: EventLog,
    /// The hooks that attached beside the program.
    pub hooks: Hooks,
    /// Those that did not.
    pub hooks_refused: Vec<HookRefusal>,
    program_fd: RawFd,
    hook_fds: Vec<RawFd>,
    logger: EbpfLogger<&'static dyn log::Log>,
    /// Holds maps, programs and links.
    _ebpf: Ebpf,
}

impl Tracer {
    /// The program's descriptor, whose fdinfo tells what the kernel skipped.
    #[must_use]
    pub fn program_fd(&self) -> RawFd {
        self.program_fd
    }

    /// Those of the hooks, likewise.
    #[must_use]
    pub fn hook_fds(&self) -> &[RawFd] {
        &self.hook_fds
    }

    /// Loads `program` and attaches it, counting the sockets of the network namespace `netns_inum`; and
    /// the hooks, where the kernel takes them.
    ///
    /// # Errors
    /// [`LoadError`]; nothing stays loaded then.
    pub fn load(program: Program, netns_inum: u32) -> Result<Self, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let types = KernelTypes::read(Path::new(KERNEL_BTF))?;
        let mut globals = globals(&types, program, netns_inum)?;
        let hookable = hooks::Hookable::find(&types);
        globals.extend(hookable.globals());
        drop(types);
        let refused = |step| move |source: Box<dyn Error + Send + Sync>| refusal(step, source);
        let cpus = cpu_ids().map_err(|error| refusal(Step::CountCpus, error.into()))?;

        let mut loader = loader(&globals);
        loader.map_max_entries("MATRIX", cpus);
        let mut ebpf =
            loader.load(OBJECT).map_err(|error| refused(Step::CreateMaps)(error.into()))?;

        let counters = Counters::map(map(&ebpf, "MATRIX")?, cpus as usize)
            .map_err(|error| refused(Step::MapMemory("the counters"))(error.into()))?;
        let switch = Switch::map(map(&ebpf, "CONTROL")?)
            .map_err(|error| refused(Step::MapMemory("the control page"))(error.into()))?;
        let ring = ebpf.take_map("EVENTS").ok_or(LoadError::WrongObject("EVENTS"))?;
        let counters = Arc::new(counters);
        let log = EventLog::new(ring, switch, Arc::clone(&counters));

        let logger = EbpfLogger::init(&mut ebpf)
            .map_err(|error| refused(Step::MapMemory("the tracer's log"))(error.into()))?;
        let btf = Btf::from_sys_fs().map_err(|error| refused(Step::ReadTypes)(error.into()))?;
        let program_fd = attach(&mut ebpf, program, &btf)?;
        let hooks::Attached { hooks, refused: hooks_refused, fds: hook_fds } =
            hookable.attach(&mut ebpf, &btf);
        drop(btf);
        release_memory();
        Ok(Self {
            program,
            counters,
            log,
            hooks,
            hooks_refused,
            program_fd,
            hook_fds,
            logger,
            _ebpf: ebpf,
        })
    }

    /// Hands what the tracer has logged (state numbers that there are not) to this process' log.
    pub fn flush_log(&mut self) {
        self.logger.flush();
    }
}

/// A candidate that was tried and refused.
#[derive(Debug)]
pub struct Attempt {
    /// The candidate.
    pub program: Program,
    /// Why not.
    pub error: LoadError,
}

/// Tries `programs` in their order; gives the first tracer that runs, and what was refused before it.
#[must_use]
pub fn climb(programs: &[Program], netns_inum: u32) -> (Option<Tracer>, Vec<Attempt>) {
    let mut refused = Vec::new();
    for &program in programs {
        match Tracer::load(program, netns_inum) {
            Ok(tracer) => return (Some(tracer), refused),
            Err(error) => refused.push(Attempt { program, error }),
        }
    }
    (None, refused)
}

/// Kernel BTF, as sysfs shows it.
pub(super) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpstat.bpf.o"));

/// Loads the object with these values of its read-only globals.
pub(super) fn loader<'a>(globals: &'a [(&'static str, u32)]) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    // Nothing in the object is relocated by the kernel's types: megabytes that need not be kept.
    loader.btf(None);
    for (name, value) in globals {
        loader.override_global(name, value, true);
    }
    loader
}

fn map<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<impl AsFd + use<'a>, LoadError> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(MapData::fd(data).as_fd()),
        _ => Err(LoadError::WrongObject(name)),
    }
}

fn attach(ebpf: &mut Ebpf, program: Program, btf: &Btf) -> Result<RawFd, LoadError> {
    let attachment = match program {
        Program::TpBtf => Attachment::TpBtf,
        Program::Tracepoint => Attachment::Tracepoint,
    };
    let loaded = |error: ProgramError| refusal(Step::Load(attachment), error.into());
    let attached = |error: ProgramError| refusal(Step::Attach(attachment), error.into());
    let handle =
        ebpf.program_mut(program.symbol()).ok_or(LoadError::WrongObject(program.symbol()))?;
    let fd = match program {
        Program::TpBtf => {
            let handle: &mut BtfTracePoint = handle.try_into().map_err(loaded)?;
            handle.load("inet_sock_set_state", btf).map_err(loaded)?;
            handle.attach().map_err(attached)?;
            handle.fd().map_err(attached)?
        }
        Program::Tracepoint => {
            let handle: &mut TracePoint = handle.try_into().map_err(loaded)?;
            handle.load().map_err(loaded)?;
            handle.attach("sock", "inet_sock_set_state").map_err(attached)?;
            handle.fd().map_err(attached)?
        }
    };
    Ok(fd.as_fd().as_raw_fd())
}
