//! The hooks: programs on kernel functions that count mini-sockets and half-open requests.
//!
//! They are optional: a kernel can be built without them, refuse them, or lack a function. Each group
//! attaches as a whole or not at all, because one hook counts out what another one has counted in.

use aya::{
    Btf, Ebpf,
    programs::{FEntry, FExit, ProgramError},
};
use tcpstat_ebpf::Reader;
use thiserror::Error;

use super::{
    btf::{BtfError, KernelTypes, Signature},
    error::{LoadError, refusal},
    layout::{self, Globals},
    step::{Attachment, Step},
};
use crate::states::Hooks;

/// Why a group of hooks is not attached.
#[derive(Debug, Error)]
#[error("{function}: {error}")]
pub(crate) struct HookRefusal {
    /// The group: `timewait` or `requests`.
    pub(crate) group: &'static str,
    /// The kernel function of the program that failed; that of the group's first program if a structure of
    /// the kernel does not fit.
    pub(crate) function: &'static str,
    pub(crate) error: LoadError,
}

impl HookRefusal {
    /// What to do about a refusal.
    pub(crate) const REMEDY: &str =
        "nothing to grant: not every kernel takes hooks, and none are required";

    /// What only snapshots show without the group.
    pub(crate) fn lost(&self) -> &'static str {
        match self.group {
            "timewait" => "which mini-sockets are in TIME_WAIT, and which in FIN_WAIT2",
            _ => "half-open connections (SYN_RECV)",
        }
    }
}

/// Both groups, each with the globals that its programs need, or the reason why it cannot attach.
pub(super) struct FoundHooks {
    timewait: Result<Globals, HookRefusal>,
    requests: Result<Globals, HookRefusal>,
}

impl FoundHooks {
    pub(super) fn find(types: &KernelTypes) -> Self {
        Self { timewait: TIMEWAIT.find(types), requests: REQUESTS.find(types) }
    }

    pub(super) fn globals(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.timewait.iter().chain(&self.requests).flatten().copied()
    }

    /// Attaches each group that can attach. Returns which did, and why others did not.
    pub(super) fn attach(self, ebpf: &mut Ebpf, btf: &Btf) -> (Hooks, Vec<HookRefusal>) {
        let mut refused = Vec::new();
        let mut attach = |group: &Group, found: Result<Globals, HookRefusal>| {
            let attached = found.and_then(|_| group.attach(ebpf, btf));
            attached.map_err(|refusal| refused.push(refusal)).is_ok()
        };
        let timewait = attach(&TIMEWAIT, self.timewait);
        let requests = attach(&REQUESTS, self.requests);
        (Hooks { timewait, requests }, refused)
    }
}

/// The names in the BPF object of the programs of `hooks`.
pub(super) fn symbols(hooks: Hooks) -> impl Iterator<Item = &'static str> {
    let groups = [(hooks.timewait, &TIMEWAIT), (hooks.requests, &REQUESTS)];
    let attached = groups.into_iter().filter_map(|(attached, group)| attached.then_some(group));
    attached.flat_map(|group| group.programs).map(|program| program.symbol)
}

struct Group {
    word: &'static str,
    reader: Reader,
    programs: &'static [HookProgram],
}

struct HookProgram {
    symbol: &'static str,
    function: &'static str,
    at: At,
    /// Whether the program can read the arguments and the result of a function with this signature.
    expects: fn(Signature) -> bool,
    /// The global that receives the number of parameters; 0 if the function returns nothing.
    parameters_global: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum At {
    Entry,
    Exit,
}

const TIMEWAIT: Group = Group {
    word: "timewait",
    reader: Reader::Timewait,
    programs: &[
        HookProgram {
            symbol: "tcpstat_twsk_alloc",
            function: "inet_twsk_alloc",
            at: At::Exit,
            expects: |signature| signature == Signature { parameters: 3, returns_value: true },
            parameters_global: None,
        },
        HookProgram {
            symbol: "tcpstat_twsk_destructor",
            function: "tcp_twsk_destructor",
            at: At::Entry,
            expects: |signature| signature.parameters == 1,
            parameters_global: None,
        },
        HookProgram {
            symbol: "tcpstat_timewait_begin",
            function: "tcp_timewait_state_process",
            at: At::Entry,
            expects: |signature| signature.parameters >= 1,
            parameters_global: None,
        },
        HookProgram {
            symbol: "tcpstat_timewait_end",
            function: "tcp_timewait_state_process",
            at: At::Exit,
            expects: |signature| signature.parameters >= 1,
            parameters_global: None,
        },
    ],
};

const REQUESTS: Group = Group {
    word: "requests",
    reader: Reader::Requests,
    programs: &[
        HookProgram {
            symbol: "tcpstat_reqsk_queue_hash_add",
            function: "inet_csk_reqsk_queue_hash_add",
            at: At::Exit,
            expects: |signature| matches!(signature.parameters, 2 | 3),
            parameters_global: Some("HASH_ADD_PARAMETERS"),
        },
        HookProgram {
            symbol: "tcpstat_ehash_nolisten",
            function: "inet_ehash_nolisten",
            at: At::Exit,
            expects: |signature| signature == Signature { parameters: 3, returns_value: true },
            parameters_global: None,
        },
        HookProgram {
            symbol: "tcpstat_reqsk_queue_drop",
            function: "__inet_csk_reqsk_queue_drop",
            at: At::Exit,
            expects: |signature| signature == Signature { parameters: 3, returns_value: true },
            parameters_global: None,
        },
    ],
};

impl Group {
    fn refusal(&self, function: &'static str, error: impl Into<LoadError>) -> HookRefusal {
        HookRefusal { group: self.word, function, error: error.into() }
    }

    fn find(&self, types: &KernelTypes) -> Result<Globals, HookRefusal> {
        let mut globals = Globals::new();
        for program in self.programs {
            let refused = |error: BtfError| self.refusal(program.function, error);
            let signature = types.signature(program.function).map_err(refused)?;
            let Signature { parameters, returns_value } = signature;
            if !(program.expects)(signature) {
                return Err(refused(BtfError::Signature { parameters, returns_value }));
            }
            if let Some(name) = program.parameters_global {
                let parameters = if returns_value { parameters } else { 0 };
                globals.push((name, u32::try_from(parameters).unwrap_or_default()));
            }
        }
        let offsets = layout::offsets(types, self.reader);
        globals.extend(offsets.map_err(|error| self.refusal(self.programs[0].function, error))?);
        Ok(globals)
    }

    fn attach(&self, ebpf: &mut Ebpf, btf: &Btf) -> Result<(), HookRefusal> {
        let attached = self.programs.iter().try_for_each(|program| {
            program.attach(ebpf, btf).map_err(|error| self.refusal(program.function, error))
        });
        if attached.is_err() {
            for program in self.programs {
                program.unload(ebpf);
            }
        }
        attached
    }
}

impl HookProgram {
    fn attach(&self, ebpf: &mut Ebpf, btf: &Btf) -> Result<(), LoadError> {
        let attachment = match self.at {
            At::Entry => Attachment::Entry(self.function),
            At::Exit => Attachment::Exit(self.function),
        };
        let at_load = |error: ProgramError| refusal(Step::Load(attachment), error.into());
        let at_attach = |error: ProgramError| refusal(Step::Attach(attachment), error.into());
        let program = ebpf.program_mut(self.symbol).ok_or(LoadError::WrongObject(self.symbol))?;
        match self.at {
            At::Entry => {
                let program: &mut FEntry = program.try_into().map_err(at_load)?;
                program.load(self.function, btf).map_err(at_load)?;
                program.attach().map_err(at_attach)?;
            }
            At::Exit => {
                let program: &mut FExit = program.try_into().map_err(at_load)?;
                program.load(self.function, btf).map_err(at_load)?;
                program.attach().map_err(at_attach)?;
            }
        }
        Ok(())
    }

    /// Also detaches it. Does nothing if the program is not loaded.
    fn unload(&self, ebpf: &mut Ebpf) {
        let Some(program) = ebpf.program_mut(self.symbol) else { return };
        // The only error is that the program is not loaded.
        let _ = match self.at {
            At::Entry => <&mut FEntry>::try_from(program).and_then(FEntry::unload),
            At::Exit => <&mut FExit>::try_from(program).and_then(FExit::unload),
        };
    }
}
