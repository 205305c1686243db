//! What is asked of the kernel, in words.

use std::fmt;

use super::cpus::POSSIBLE_CPUS;

/// What was being done when the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Counting the CPUs that there can be.
    CountCpus,
    /// Reading the kernel's types.
    ReadTypes,
    /// Creating the maps.
    CreateMaps,
    /// Mapping one of them into memory: its name in words.
    MapMemory(&'static str),
    /// BPF_PROG_LOAD
    Load(Attachment),
    /// Attaching it to its place in the kernel; for an iterator, beginning a listing.
    Attach(Attachment),
}

/// A type of program, and where in the kernel it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// The tracepoint with the kernel's types.
    TpBtf,
    /// The classic tracepoint.
    Tracepoint,
    /// The entry of this function.
    Entry(&'static str),
    /// The exit of this function.
    Exit(&'static str),
    /// The iterator over TCP sockets.
    Iterator,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CountCpus => write!(formatter, "reading {POSSIBLE_CPUS}"),
            Self::ReadTypes => formatter.write_str("reading the kernel's types"),
            Self::CreateMaps => formatter.write_str("creating the maps"),
            Self::MapMemory(what) => write!(formatter, "mapping {what}"),
            Self::Load(Attachment::Iterator) => formatter.write_str("loading the iterator"),
            Self::Load(_) => formatter.write_str("loading the program"),
            Self::Attach(Attachment::Iterator) => formatter.write_str("opening iter/tcp"),
            Self::Attach(_) => formatter.write_str("attaching the program"),
        }
    }
}

/// As the kernel's own names have it.
impl fmt::Display for Attachment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TpBtf => {
                formatter.write_str("BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP, inet_sock_set_state")
            }
            Self::Tracepoint => {
                formatter.write_str("BPF_PROG_TYPE_TRACEPOINT, sock:inet_sock_set_state")
            }
            Self::Entry(function) => {
                write!(formatter, "BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, {function}")
            }
            Self::Exit(function) => {
                write!(formatter, "BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, {function}")
            }
            Self::Iterator => formatter.write_str("BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, tcp"),
        }
    }
}
