//! The tracer: counts every TCP state transition of one network namespace.
//!
//! Two programs on the tracepoint `sock:inet_sock_set_state` do the same work in two ways, and user
//! space attaches one of them: [`tp_btf`] with typed loads, or [`tracepoint`] on the classic record.
//! Per event: the protocol and namespace filters, then one atomic add. A third, [`iter`], lists the
//! sockets that are there.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "the BPF target has no AtomicU64::fetch_add")
)]
#![cfg_attr(
    target_arch = "bpf",
    expect(unsafe_code, reason = "it reads kernel memory; the verifier checks every access")
)]

#[cfg(target_arch = "bpf")]
mod count;
#[cfg(target_arch = "bpf")]
mod hooks;
#[cfg(target_arch = "bpf")]
mod iter;
#[cfg(all(target_arch = "bpf", feature = "lose-events"))]
mod lose;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod tp_btf;
#[cfg(target_arch = "bpf")]
mod tracepoint;
#[cfg(target_arch = "bpf")]
mod typed;

/// The licence that the kernel reads; GPL-compatible, as the helpers ask for.
#[cfg(target_arch = "bpf")]
// SAFETY: nothing else in the object is placed in or named after this section.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No panic is reachable: a program that could come here would not pass the verifier.
    loop {}
}

/// On the host there is nothing to run; the crate is built for `bpfel-unknown-none`.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
