//! The library of the end-to-end tests: network namespaces, TCP sockets held in any state, an
//! independent reader of `/proc`, and the tcpstat binary with an HTTP client for it.
//!
//! Everything that touches sockets works in the network namespace of the calling thread, so tests with a
//! [`netns::Namespace`] each run in parallel.

pub mod addrform;
pub mod ages;
pub mod agreement;
pub mod binary;
mod bpf_call;
pub mod browser;
pub mod calls;
pub mod causes;
pub mod cgroups;
pub mod container;
pub mod corrections;
pub mod deadline;
pub mod dwell;
pub mod empty_program;
pub mod end_marks;
pub mod event_record;
pub mod events;
pub mod exporter;
pub mod exposition;
pub mod flow;
pub mod frozen;
pub mod guest;
pub mod harness;
pub mod held;
pub mod histogram;
pub mod holder;
pub mod hostile_clients;
pub mod hostile_exporter;
mod kernel_gate;
pub mod listeners;
pub mod loopback;
pub mod map_reader;
pub mod memory;
pub mod mounts;
pub mod netns;
pub mod network;
pub mod node_exporter;
pub mod own_scopes;
pub mod population;
pub mod priority;
pub mod proc_view;
pub mod prometheus;
pub mod receive_processor;
pub mod resident;
pub mod rules;
pub mod scopes;
pub mod scraper;
pub mod seccomp;
pub mod segment;
pub mod server;
pub mod silent_peer;
pub mod skip;
pub mod states;
pub mod tcp;
pub mod terminal;
pub mod transition_stream;
pub mod tun;
pub mod unprivileged;
pub mod webhook;
pub mod who;
pub mod wire;
