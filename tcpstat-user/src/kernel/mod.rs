//! The user-space side of BPF: loads programs, reads counters and the event log, lists sockets. Only this module
//! uses aya and unsafe code.

#![expect(
    unsafe_code,
    reason = "shared memory with the tracer, and system calls without a wrapper"
)]

mod btf;
mod counters;
mod cpus;
mod error;
mod events;
mod hooks;
mod iter;
mod layout;
mod load;
#[cfg(feature = "lose-events")]
mod lose;
mod memory;
mod program;
mod remedy;
mod scheduling;
mod step;
mod terminal;

pub use btf::BtfError;
pub use counters::Counters;
pub use error::LoadError;
pub use events::{EventLog, LogClosed, LogError, OpenLog};
pub use hooks::HookRefusal;
pub use iter::{IterError, SocketIterator};
pub use load::{Attempt, Tracer, load_first};
pub use memory::{one_arena, release_memory};
pub use program::Program;
pub use remedy::{Refusal, Tracefs};
pub use scheduling::request_short_slices;
pub use step::{Attachment, Step};
pub use terminal::TerminalGuard;
