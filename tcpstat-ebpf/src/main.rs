//! The tracer: counts every TCP state transition of one network namespace, or of all.
//!
//! Two programs on the tracepoint `sock:inet_sock_set_state` do the same in two ways, and user space attaches
//! one of them: [`tp_btf`] reads the socket, [`tracepoint`] reads the record of the tracepoint. For each
//! event they compare protocol and namespace, then do one atomic add. [`hooks`] count mini-sockets and
//! requests. [`iter`] lists all sockets, [`close_wait`] those in CLOSE_WAIT, [`listeners`] those that listen,
//! [`tasks`] all processes, [`held`] the sockets in CLOSE_WAIT and those that listen in other network namespaces,
//! [`holders`] the descriptors of all TCP sockets, [`dwell_sockets`] those in the states that [`entered`] measures.
//! [`stream`] has the programs of `tcpstat events`, on the same tracepoint.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the BPF target has no AtomicU64::fetch_add")
)]
#![cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "programs read kernel memory; the verifier checks every access")
)]

#[cfg(target_arch = "bpf")]
mod assigned;
#[cfg(target_arch = "bpf")]
mod bounded;
#[cfg(target_arch = "bpf")]
mod close_wait;
#[cfg(target_arch = "bpf")]
mod closing;
#[cfg(target_arch = "bpf")]
mod count;
#[cfg(target_arch = "bpf")]
mod dwell_sockets;
#[cfg(target_arch = "bpf")]
mod entered;
#[cfg(target_arch = "bpf")]
mod held;
#[cfg(target_arch = "bpf")]
mod held_states;
#[cfg(target_arch = "bpf")]
mod holders;
#[cfg(target_arch = "bpf")]
mod hooks;
#[cfg(target_arch = "bpf")]
mod iter;
#[cfg(target_arch = "bpf")]
mod listeners;
#[cfg(all(target_arch = "bpf", feature = "lose-events"))]
mod lose;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod netns;
#[cfg(target_arch = "bpf")]
mod probe;
#[cfg(target_arch = "bpf")]
mod scoped;
#[cfg(target_arch = "bpf")]
mod stream;
#[cfg(target_arch = "bpf")]
mod tasks;
#[cfg(target_arch = "bpf")]
mod this_cpu;
#[cfg(target_arch = "bpf")]
mod tp_btf;
#[cfg(target_arch = "bpf")]
mod tracepoint;
#[cfg(target_arch = "bpf")]
mod typed;

/// The kernel reads the licence; the helpers require one that is compatible with the GPL.
#[cfg(target_arch = "bpf")]
// SAFETY: nothing else in the object uses this section or this name.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No panic is reachable: the verifier refuses a program with a loop that does not end.
    loop {}
}

/// The programs are built for `bpfel-unknown-none` only.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
