//! The iterators that are loaded with the tracer, from the same object: reading the object and the kernel's types
//! takes longer than loading all of them.

use aya::{Btf, Ebpf};
use tracing::debug;

use super::{
    btf::{BtfError, KernelTypes},
    close_wait::CloseWaitIterator,
    dwell::DwellIterator,
    error::LoadError,
    held::HeldIterator,
    held_states::HeldStateIterator,
    iter::SocketIterator,
    layout::Globals,
    listeners::ListenerIterator,
    tasks::{ProcessIds, TaskIterator},
};

/// Which iterators to load with a tracer, by what they list.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one iterator of many")]
pub(crate) struct WantedIterators {
    /// All sockets, with their cgroups.
    pub(crate) sockets: bool,
    /// The sockets in CLOSE_WAIT.
    pub(crate) close_wait: bool,
    /// The sockets in the states whose dwell is measured.
    pub(crate) dwell: bool,
    /// The listening sockets.
    pub(crate) listeners: bool,
    /// The sockets in CLOSE_WAIT and the listening ones of other namespaces.
    pub(crate) held: bool,
    /// The sockets of every state of other namespaces.
    pub(crate) held_states: bool,
    /// The processes, with these ids.
    pub(crate) tasks: Option<ProcessIds>,
}

/// The iterators that were loaded. One that was refused is `None`: loading it by itself gives the reason.
#[derive(Default)]
pub(crate) struct Iterators {
    pub(crate) sockets: Option<SocketIterator>,
    pub(crate) close_wait: Option<CloseWaitIterator>,
    pub(crate) dwell: Option<DwellIterator>,
    pub(crate) listeners: Option<ListenerIterator>,
    pub(crate) held: Option<HeldIterator>,
    pub(crate) held_states: Option<HeldStateIterator>,
    pub(crate) tasks: Option<TaskIterator>,
}

/// The wanted iterators that can be loaded: the kernel has all members that they read.
pub(super) struct FoundIterators {
    wanted: WantedIterators,
    globals: Globals,
}

impl FoundIterators {
    /// The iterators of `wanted` that can be loaded on a kernel with these types.
    pub(super) fn find(wanted: WantedIterators, types: &KernelTypes) -> Self {
        let mut globals = Globals::new();
        let mut take = |found: Result<Globals, BtfError>| match found {
            Ok(found) => {
                globals.extend(found);
                true
            }
            Err(error) => {
                debug!("an iterator is not loaded with the tracer: {error}");
                false
            }
        };
        let wanted = WantedIterators {
            sockets: wanted.sockets && take(SocketIterator::globals(types, true)),
            close_wait: wanted.close_wait && take(CloseWaitIterator::globals(types)),
            dwell: wanted.dwell && take(DwellIterator::globals(types)),
            listeners: wanted.listeners && take(ListenerIterator::globals(types, true)),
            // The tracer has the inode number of the own namespace.
            held: wanted.held && take(HeldIterator::globals(types)),
            held_states: wanted.held_states && take(HeldStateIterator::globals(types)),
            tasks: wanted.tasks.filter(|&ids| take(TaskIterator::globals(types, ids))),
        };
        Self { wanted, globals }
    }

    /// The globals that they need.
    pub(super) fn globals(&self) -> &[(&'static str, u32)] {
        &self.globals
    }

    /// Loads them from an object with these globals.
    pub(super) fn load(&self, ebpf: &mut Ebpf, btf: &Btf) -> Iterators {
        let WantedIterators { sockets, close_wait, dwell, listeners, held, held_states, tasks } =
            self.wanted;
        Iterators {
            sockets: sockets.then(|| SocketIterator::load_from(ebpf, btf, true)).and_then(ok),
            close_wait: close_wait.then(|| CloseWaitIterator::load_from(ebpf, btf)).and_then(ok),
            dwell: dwell.then(|| DwellIterator::load_from(ebpf, btf)).and_then(ok),
            listeners: listeners.then(|| ListenerIterator::load_from(ebpf, btf)).and_then(ok),
            held: held.then(|| HeldIterator::load_from(ebpf, btf)).and_then(ok),
            held_states: held_states.then(|| HeldStateIterator::load_from(ebpf, btf)).and_then(ok),
            tasks: tasks.map(|ids| TaskIterator::load_from(ebpf, btf, ids)).and_then(ok),
        }
    }
}

fn ok<T>(loaded: Result<T, LoadError>) -> Option<T> {
    loaded.inspect_err(|error| debug!("with the tracer: {error}")).ok()
}
