//! The hooks: programs on kernel functions that tell of mini-sockets and half-open requests.
//!
//! Never required: a kernel may be built without them, refuse them, or lack a function. Each group
//! attaches as a whole or not at all, for what comes in by one hook goes out by another.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use aya::{
    Btf, Ebpf,
    programs::{FEntry, FExit, ProgramError},
};
use thiserror::Error;

use super::{
    btf::{BtfError, KernelTypes, Signature},
    error::{LoadError, refusal},
    globals::SOCK_MEMBERS,
    step::{Attachment, Step},
};
use crate::states::Hooks;

/// A group of hooks that did not attach.
#[derive(Debug, Error)]
#[error("{function}: {error}")]
pub struct HookRefusal {
    /// What it would have told of: the group's word.
    pub group: &'static str,
    /// The function that failed it.
    pub function: &'static str,
    /// Why.
    pub error: LoadError,
}

/// What came of attaching.
pub(super) struct Attached {
    /// The groups that attached.
    pub(super) hooks: Hooks,
    /// Those that did not.
    pub(super) refused: Vec<HookRefusal>,
    /// The programs' descriptors, which live as long as the object.
    pub(super) fds: Vec<RawFd>,
}

/// The groups, each with its members' offsets and the functions as the kernel has them, or why not.
pub(super) struct Hookable {
    timewait: Result<Globals, HookRefusal>,
    requests: Result<Globals, HookRefusal>,
}

/// Values of read-only globals, by name.
type Globals = Vec<(&'static str, u32)>;

impl Hookable {
    /// Looks the functions up.
    pub(super) fn find(types: &KernelTypes) -> Self {
        Self { timewait: TIMEWAIT.find(types), requests: REQUESTS.find(types) }
    }

    /// The values that the programs need.
    pub(super) fn globals(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.timewait.iter().chain(&self.requests).flatten().copied()
    }

    /// Attaches what can be.
    pub(super) fn attach(self, ebpf: &mut Ebpf, btf: &Btf) -> Attached {
        let mut attached =
            Attached { hooks: Hooks::default(), refused: Vec::new(), fds: Vec::new() };
        let mut attach = |group: &Group, found: Result<Globals, HookRefusal>| match found
            .and_then(|_| group.attach(ebpf, btf))
        {
            Ok(fds) => {
                attached.fds.extend(fds);
                true
            }
            Err(refusal) => {
                attached.refused.push(refusal);
                false
            }
        };
        let timewait = attach(&TIMEWAIT, self.timewait);
        let requests = attach(&REQUESTS, self.requests);
        attached.hooks = Hooks { timewait, requests };
        attached
    }
}

struct Group {
    word: &'static str,
    /// Global, structure, member.
    offsets: &'static [(&'static str, &'static str, &'static str)],
    programs: &'static [HookProgram],
}

struct HookProgram {
    symbol: &'static str,
    function: &'static str,
    at: At,
    /// What the program takes the function's answer to stand behind.
    fits: fn(Signature) -> bool,
    /// A global that tells where that is.
    answer: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum At {
    Entry,
    Exit,
}

const TIMEWAIT: Group = Group {
    word: "timewait",
    offsets: &[
        ("SOCK_NUM", "sock", "__sk_common.skc_num"),
        ("TIMEWAIT_SUBSTATE", "tcp_timewait_sock", "tw_sk.tw_substate"),
    ],
    programs: &[
        HookProgram {
            symbol: "tcpstat_twsk_alloc",
            function: "inet_twsk_alloc",
            at: At::Exit,
            fits: |signature| signature == Signature { parameters: 3, answers: true },
            answer: None,
        },
        HookProgram {
            symbol: "tcpstat_twsk_destructor",
            function: "tcp_twsk_destructor",
            at: At::Entry,
            fits: |signature| signature.parameters == 1,
            answer: None,
        },
        HookProgram {
            symbol: "tcpstat_timewait_begin",
            function: "tcp_timewait_state_process",
            at: At::Entry,
            fits: |signature| signature.parameters >= 1,
            answer: None,
        },
        HookProgram {
            symbol: "tcpstat_timewait_end",
            function: "tcp_timewait_state_process",
            at: At::Exit,
            fits: |signature| signature.parameters >= 1,
            answer: None,
        },
    ],
};

const REQUESTS: Group = Group {
    word: "requests",
    offsets: &[
        ("SOCK_NUM", "sock", "__sk_common.skc_num"),
        ("SOCK_STATE", "sock", "__sk_common.skc_state"),
    ],
    programs: &[
        HookProgram {
            symbol: "tcpstat_reqsk_queue_hash_add",
            function: "inet_csk_reqsk_queue_hash_add",
            at: At::Exit,
            fits: |signature| matches!(signature.parameters, 2 | 3),
            answer: Some("HASH_ADD_ANSWER"),
        },
        HookProgram {
            symbol: "tcpstat_ehash_nolisten",
            function: "inet_ehash_nolisten",
            at: At::Exit,
            fits: |signature| signature == Signature { parameters: 3, answers: true },
            answer: None,
        },
        HookProgram {
            symbol: "tcpstat_reqsk_queue_drop",
            function: "__inet_csk_reqsk_queue_drop",
            at: At::Exit,
            fits: |signature| signature == Signature { parameters: 3, answers: true },
            answer: None,
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
            if !(program.fits)(signature) {
                let Signature { parameters, answers } = signature;
                return Err(refused(BtfError::Signature { parameters, answers }));
            }
            if let Some(name) = program.answer {
                let behind = if signature.answers { signature.parameters } else { 0 };
                globals.push((name, u32::try_from(behind).unwrap_or_default()));
            }
        }
        let common = SOCK_MEMBERS.iter().map(|(name, member)| (name, &"sock", member));
        let own = self.offsets.iter().map(|(name, structure, member)| (name, structure, member));
        for (name, structure, member) in common.chain(own) {
            let offset = types.offset(structure, member);
            globals.push((name, offset.map_err(|error| self.refusal(structure, error))?));
        }
        Ok(globals)
    }

    fn attach(&self, ebpf: &mut Ebpf, btf: &Btf) -> Result<Vec<RawFd>, HookRefusal> {
        let attached: Result<Vec<_>, _> = self
            .programs
            .iter()
            .map(|program| {
                program.attach(ebpf, btf).map_err(|error| self.refusal(program.function, error))
            })
            .collect();
        if attached.is_err() {
            for program in self.programs {
                program.unload(ebpf);
            }
        }
        attached
    }
}

impl HookProgram {
    fn attach(&self, ebpf: &mut Ebpf, btf: &Btf) -> Result<RawFd, LoadError> {
        let attachment = match self.at {
            At::Entry => Attachment::Entry(self.function),
            At::Exit => Attachment::Exit(self.function),
        };
        let loaded = |error: ProgramError| refusal(Step::Load(attachment), error.into());
        let attached = |error: ProgramError| refusal(Step::Attach(attachment), error.into());
        let program = ebpf.program_mut(self.symbol).ok_or(LoadError::WrongObject(self.symbol))?;
        let fd = match self.at {
            At::Entry => {
                let program: &mut FEntry = program.try_into().map_err(loaded)?;
                program.load(self.function, btf).map_err(loaded)?;
                program.attach().map_err(attached)?;
                program.fd().map_err(attached)?
            }
            At::Exit => {
                let program: &mut FExit = program.try_into().map_err(loaded)?;
                program.load(self.function, btf).map_err(loaded)?;
                program.attach().map_err(attached)?;
                program.fd().map_err(attached)?
            }
        };
        Ok(fd.as_fd().as_raw_fd())
    }

    /// Detaches it too. Without effect where it was not loaded.
    fn unload(&self, ebpf: &mut Ebpf) {
        let Some(program) = ebpf.program_mut(self.symbol) else { return };
        // What was not loaded says so.
        let _ = match self.at {
            At::Entry => <&mut FEntry>::try_from(program).and_then(FEntry::unload),
            At::Exit => <&mut FExit>::try_from(program).and_then(FExit::unload),
        };
    }
}
