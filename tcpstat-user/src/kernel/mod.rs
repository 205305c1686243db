//! The user-space side of BPF: loads programs, reads counters and the event log, lists sockets. Only this
//! module uses aya and unsafe code.

#![expect(
    unsafe_code,
    reason = "shared memory with the tracer, and system calls without a wrapper"
)]

mod btf;
mod capabilities;
mod close_wait;
mod counters;
mod cpus;
mod default_action;
mod dwell;
mod enter;
mod error;
mod events;
mod held;
mod held_states;
mod holders;
mod hooks;
mod iter;
mod iter_link;
mod iterator;
mod iterators;
mod layout;
mod listeners;
mod load;
#[cfg(feature = "lose-events")]
mod lose;
mod memory;
mod netns_slots;
mod object;
mod plan;
mod program;
mod remedy;
mod replica;
mod reserved;
mod scheduling;
mod scope_cut;
mod scope_maps;
mod seccomp;
mod slot;
mod step;
mod stream;
mod tags;
mod tasks;
mod terminal;
#[cfg(test)]
mod tests;

pub(crate) use capabilities::{Kept, pass_on_none};
pub(crate) use close_wait::CloseWaitIterator;
pub(crate) use counters::Counters;
pub(crate) use dwell::{DwellIterator, DwellMap, DwellMapError};
pub(crate) use enter::enter;
pub(crate) use error::LoadError;
pub(crate) use events::{EventLog, LogError};
pub(crate) use held::{HeldIterator, HeldNetns, HeldSocket};
pub(crate) use held_states::{HeldState, HeldStateIterator};
pub(crate) use holders::HolderIterator;
pub(crate) use hooks::HookRefusal;
pub(crate) use iter::SocketIterator;
pub(crate) use iterator::IterError;
pub(crate) use iterators::WantedIterators;
pub(crate) use layout::netns_has_cookie;
pub(crate) use listeners::ListenerIterator;
pub(crate) use load::{Attempt, FirstTracer, Tracer, load_first};
pub use memory::one_arena;
pub(crate) use memory::release_memory;
pub(crate) use netns_slots::{KeyedSlots, Namespaces, NetnsKey, SlotError};
pub use program::Program;
pub(crate) use program::read_tracefs;
pub use replica::CountersReplica;
pub(crate) use reserved::Reserved;
pub(crate) use scheduling::request_short_slices;
pub(crate) use scope_cut::ScopeCut;
pub(crate) use scope_maps::{ScopeKinds, ScopeMaps};
pub(crate) use seccomp::{Needs, Refusals, install as install_filter, name as name_of_call};
pub(crate) use slot::Slot;
pub(crate) use stream::TransitionStream;
pub(crate) use tasks::{ProcessIds, TaskIterator};
pub(crate) use terminal::TerminalGuard;

/// Decodes the bytes as each record that a BPF program writes.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_records(bytes: &[u8]) {
    use std::hint::black_box;

    black_box((close_wait::decode(bytes), dwell::decode(bytes), events::decode(bytes)));
    black_box((held::decode(bytes), holders::decode(bytes), iter::decode(bytes)));
    black_box((held_states::decode(bytes), listeners::decode(bytes)));
    black_box((stream::decode(bytes), tasks::decode(bytes)));
}
