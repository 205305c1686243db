//! The steps of loading a program, with their names in error messages.

use std::fmt;

use super::cpus::POSSIBLE_CPUS;

/// A step of loading a program that the kernel can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reading the list of possible CPUs.
    CountCpus,
    ReadTypes,
    CreateMaps,
    /// Mapping one map into memory: what the map is, in words.
    MapMemory(&'static str),
    /// Loading the program (BPF_PROG_LOAD).
    Load(Attachment),
    /// Attaching the program; for the iterator, opening it.
    Attach(Attachment),
}

/// Where in the kernel a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// The tracepoint, with typed arguments.
    TpBtf,
    /// The tracepoint, with its record.
    Tracepoint,
    /// The entry of the kernel function with this name.
    Entry(&'static str),
    /// The exit of the kernel function with this name.
    Exit(&'static str),
    /// The iterator with this name: `tcp`, `task` or `task_file`.
    Iterator(&'static str),
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CountCpus => write!(formatter, "reading {POSSIBLE_CPUS}"),
            Self::ReadTypes => formatter.write_str("reading the kernel's types"),
            Self::CreateMaps => formatter.write_str("creating the maps"),
            Self::MapMemory(what) => write!(formatter, "mapping {what}"),
            Self::Load(Attachment::Iterator("tcp")) => formatter.write_str("loading the iterator"),
            Self::Load(Attachment::Iterator(name)) => write!(formatter, "loading iter/{name}"),
            Self::Load(_) => formatter.write_str("loading the program"),
            Self::Attach(Attachment::Iterator(name)) => write!(formatter, "opening iter/{name}"),
            Self::Attach(_) => formatter.write_str("attaching the program"),
        }
    }
}

/// Type, attach type and place, by the kernel's names.
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
            Self::Iterator(name) => {
                write!(formatter, "BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, {name}")
            }
        }
    }
}
