//! The ladder: which programs there are, and in which order they are tried.

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
    util::{KernelVersion, nr_cpus},
};
use aya_log::EbpfLogger;
use tcpstat_ebpf::tracepoint_record as record;

use super::{
    btf::KernelTypes,
    counters::{Counters, Switch},
    error::{LoadError, refusal},
    events::EventLog,
    hooks::{self, HookRefusal},
    memory::release_memory,
};
use crate::states::Hooks;

/// A rung of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `tp_btf/inet_sock_set_state`
    TpBtf,
    /// `tracepoint/sock/inet_sock_set_state`
    Tracepoint,
}

impl Program {
    /// The word for it in metrics and reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::TpBtf => "tp_btf",
            Self::Tracepoint => "tracepoint",
        }
    }

    /// The rungs in the order in which they lose least on the running kernel.
    ///
    /// Up to 6.18 that is `tp_btf`, the cheaper one. From 7.0 on tracepoints run preemptible and the
    /// recursion guard of `tp_btf` skips one event in a hundred under churn; the classic tracepoint
    /// still runs with preemption off and loses none.
    #[must_use]
    pub fn ladder() -> [Self; 2] {
        match KernelVersion::current() {
            Ok(version) if version >= KernelVersion::new(7, 0, 0) => {
                [Self::Tracepoint, Self::TpBtf]
            }
            _ => [Self::TpBtf, Self::Tracepoint],
        }
    }

    fn symbol(self) -> &'static str {
        match self {
            Self::TpBtf => "tcpstat_tp_btf",
            Self::Tracepoint => "tcpstat_tracepoint",
        }
    }
}

/// A tracer that counts; it stops when this is dropped.
pub struct Tracer {
    /// The rung it stands on.
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
        let cpus = nr_cpus().map_err(|(path, source)| refusal(path, source.into()))?;

        let mut loader = loader(&globals);
        loader.map_max_entries("MATRIX", u32::try_from(cpus).unwrap_or(u32::MAX));
        let mut ebpf =
            loader.load(OBJECT).map_err(|error| refused("creating the maps")(error.into()))?;

        let counters = Counters::map(map(&ebpf, "MATRIX")?, cpus)
            .map_err(|error| refused("mapping the counters")(error.into()))?;
        let switch = Switch::map(map(&ebpf, "CONTROL")?)
            .map_err(|error| refused("mapping the control page")(error.into()))?;
        let ring = ebpf.take_map("EVENTS").ok_or(LoadError::WrongObject("EVENTS"))?;
        let counters = Arc::new(counters);
        let log = EventLog::new(ring, switch, Arc::clone(&counters));

        let logger = EbpfLogger::init(&mut ebpf)
            .map_err(|error| refused("mapping the tracer's log")(error.into()))?;
        let btf = Btf::from_sys_fs().map_err(|error| refused(KERNEL_BTF)(error.into()))?;
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

/// A rung that was tried and refused.
#[derive(Debug)]
pub struct Attempt {
    /// The rung.
    pub program: Program,
    /// Why not.
    pub error: LoadError,
}

/// Tries `rungs` in their order; gives the first tracer that runs, and what was refused before it.
#[must_use]
pub fn climb(rungs: &[Program], netns_inum: u32) -> (Option<Tracer>, Vec<Attempt>) {
    let mut refused = Vec::new();
    for &program in rungs {
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

/// Globals and members of `struct sock` that typed programs read beside the namespace.
pub(super) const SOCK_MEMBERS: [(&str, &str); 7] = [
    ("SOCK_PROTOCOL", "sk_protocol"),
    ("SOCK_FAMILY", "__sk_common.skc_family"),
    ("SOCK_DPORT", "__sk_common.skc_dport"),
    ("SOCK_RCV_SADDR", "__sk_common.skc_rcv_saddr"),
    ("SOCK_DADDR", "__sk_common.skc_daddr"),
    ("SOCK_V6_RCV_SADDR", "__sk_common.skc_v6_rcv_saddr"),
    ("SOCK_V6_DADDR", "__sk_common.skc_v6_daddr"),
];

/// The values of the program's read-only globals, by name.
fn globals(
    types: &KernelTypes,
    program: Program,
    netns_inum: u32,
) -> Result<Vec<(&'static str, u32)>, LoadError> {
    let mut globals = vec![
        ("NETNS_INUM", netns_inum),
        ("SOCK_NET", types.offset("sock", "__sk_common.skc_net.net")?),
        ("NET_INUM", types.offset("net", "ns.inum")?),
    ];
    #[cfg(feature = "lose-events")]
    globals.extend(super::lose::globals());
    match program {
        Program::TpBtf => {
            // `struct tcp_sock` begins with its `struct inet_sock`.
            globals.push(("INET_SPORT", types.offset("inet_sock", "inet_sport")?));
            for (name, member) in SOCK_MEMBERS {
                globals.push((name, types.offset("sock", member)?));
            }
        }
        Program::Tracepoint => {
            for (field, expected) in [
                ("skaddr", record::SKADDR),
                ("oldstate", record::OLDSTATE),
                ("newstate", record::NEWSTATE),
                ("sport", record::SPORT),
                ("dport", record::DPORT),
                ("family", record::FAMILY),
                ("protocol", record::PROTOCOL),
                ("saddr", record::SADDR),
                ("daddr", record::DADDR),
                ("saddr_v6", record::SADDR_V6),
                ("daddr_v6", record::DADDR_V6),
            ] {
                let found = types.offset("trace_event_raw_inet_sock_set_state", field)?;
                if found as usize != expected {
                    return Err(LoadError::RecordLayout { field, found, expected });
                }
            }
        }
    }
    Ok(globals)
}

fn attach(ebpf: &mut Ebpf, program: Program, btf: &Btf) -> Result<RawFd, LoadError> {
    let loaded = |error: ProgramError| refusal("loading the program", error.into());
    let attached = |error: ProgramError| refusal("attaching the program", error.into());
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
