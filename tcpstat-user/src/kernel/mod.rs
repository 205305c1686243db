//! The tracer as user space sees it: load, count, log events. The one place that names aya or needs
//! unsafe.

#![expect(
    unsafe_code,
    reason = "shared memory with the tracer, and one system call without a wrapper"
)]

mod btf;
mod counters;
mod events;
mod load;

pub use btf::BtfError;
pub use counters::Counters;
pub use events::{Cut, EventLog, LogClosed};
pub use load::{Attempt, LoadError, Program, Tracer, climb};
