//! What the tracer is told of the running kernel before it is loaded: the read-only globals of its programs.

use tcpstat_ebpf::tracepoint_record as record;

use super::{btf::KernelTypes, error::LoadError, program::Program};

/// Globals and members of `struct sock` that typed programs read beside the namespace.
pub(super) const SOCK_MEMBERS: [(&str, &str); 7] = [
    ("SOCK_PROTOCOL", "sk_protocol"),
    ("SOCK_FAMILY", "__sk_common.skc_family"),
    ("SOCK_DPORT", "__sk_common.skc_dport"),
    ("SOCK_RCV_SADDR", "__sk_common.skc_rcv_saddr"),
    ("SOCK_DADDR", "__sk_common.skc_daddr"),
    ("SOCK_V6_RCV_SADDR", "__sk_common.skc_v6_rcv_saddr"),
    ("SOCK_V6_DADDR", "__sk_common.skc_v6_daddr"),
];

/// The values of the program's read-only globals, by name.
///
/// # Errors
/// [`LoadError::Btf`], [`LoadError::RecordLayout`].
pub(super) fn globals(
    types: &KernelTypes,
    program: Program,
    netns_inum: u32,
) -> Result<Vec<(&'static str, u32)>, LoadError> {
    let mut globals = vec![
        ("NETNS_INUM", netns_inum),
        ("SOCK_NET", types.offset("sock", "__sk_common.skc_net.net")?),
        ("NET_INUM", types.offset("net", "ns.inum")?),
    ];
    #[cfg(feature = "lose-events")]
    globals.extend(super::lose::globals());
    match program {
        Program::TpBtf => {
            // `struct tcp_sock` begins with its `struct inet_sock`.
            globals.push(("INET_SPORT", types.offset("inet_sock", "inet_sport")?));
            for (name, member) in SOCK_MEMBERS {
                globals.push((name, types.offset("sock", member)?));
            }
        }
        Program::Tracepoint => {
            for (field, expected) in [
                ("skaddr", record::SKADDR),
                ("oldstate", record::OLDSTATE),
                ("newstate", record::NEWSTATE),
                ("sport", record::SPORT),
                ("dport", record::DPORT),
                ("family", record::FAMILY),
                ("protocol", record::PROTOCOL),
                ("saddr", record::SADDR),
                ("daddr", record::DADDR),
                ("saddr_v6", record::SADDR_V6),
                ("daddr_v6", record::DADDR_V6),
            ] {
                let found = types.offset("trace_event_raw_inet_sock_set_state", field)?;
                if found as usize != expected {
                    return Err(LoadError::RecordLayout { field, found, expected });
                }
            }
        }
    }
    Ok(globals)
}
