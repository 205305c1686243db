//! The filters of `tcpstat events`. Each is one or two comparisons if it is on, and nothing if it is off; only ports, addresses
//! and cgroups are searched for in a map.

use aya_ebpf::maps::lpm_trie::Key;
use tcpstat_ebpf::{
    Cause, Family, PREFIX_BYTES, PortFilter, SHOWN, SHOWN_CAUSES, State, V4_MAPPED, port_word,
    shown_cause,
};

use crate::{
    bounded::bounded,
    closing,
    maps::{
        STREAM_ADDRESSES, STREAM_BY_ADDRESS, STREAM_BY_CGROUP, STREAM_CAUSES, STREAM_CGROUPS,
        STREAM_NETNS, STREAM_PORT_FILTERS, STREAM_PORTS, STREAM_TRANSITIONS,
    },
};

#[inline(always)]
pub(super) fn transition(oldstate: u64, newstate: u64) -> bool {
    if oldstate > 0xf || newstate > 0xf {
        return false;
    }
    let old = bounded::<16>(oldstate as usize);
    // SAFETY: the index is below the number of states.
    let after = unsafe { STREAM_TRANSITIONS.as_ptr().add(old).read_volatile() };
    (u64::from(after) >> newstate) & 1 != 0
}

#[inline(always)]
pub(super) fn netns(inum: u32) -> bool {
    let wanted = STREAM_NETNS.load();
    wanted == 0 || wanted == inum
}

/// The number of the [`Cause`] of a transition to CLOSE. `oldstate` is below 16.
#[inline(always)]
pub(super) fn cause(oldstate: u64, sport: u16, error: impl FnOnce() -> u32) -> u8 {
    /// In the object's read-only data.
    static TABLE: [u8; SHOWN] = SHOWN_CAUSES;
    let cause = if oldstate == State::SynSent as u64 && sport == 0 {
        Cause::NoPort as u8
    } else {
        closing::cause(error())
    };
    let index = bounded::<SHOWN>(shown_cause(oldstate as u8, cause));
    // SAFETY: the index is below SHOWN.
    unsafe { TABLE.as_ptr().add(index).read_volatile() }
}

/// Whether transitions with this number of a cause are written.
#[inline(always)]
pub(super) fn closes(cause: u8) -> bool {
    let wanted = STREAM_CAUSES.load();
    wanted == 0 || (wanted >> (cause & 31)) & 1 != 0
}

#[inline(always)]
pub(super) fn ports(sport: u16, dport: u16) -> bool {
    let filters = STREAM_PORT_FILTERS.load();
    let is_on = |filter| filters & (1 << filter as u32) != 0;
    if is_on(PortFilter::Either)
        && !has_port(PortFilter::Either, sport)
        && !has_port(PortFilter::Either, dport)
    {
        return false;
    }
    if is_on(PortFilter::Local) && !has_port(PortFilter::Local, sport) {
        return false;
    }
    !is_on(PortFilter::Remote) || has_port(PortFilter::Remote, dport)
}

#[inline(always)]
fn has_port(filter: PortFilter, port: u16) -> bool {
    STREAM_PORTS.get(port_word(filter, port)).is_some_and(|word| (*word >> (port & 63)) & 1 != 0)
}

/// Whether transitions of this cgroup are written; those of one without a verdict are.
#[inline(always)]
pub(super) fn cgroup(id: u64) -> bool {
    if STREAM_BY_CGROUP.load() == 0 {
        return true;
    }
    // SAFETY: the value is a word, which user space writes at once.
    unsafe { STREAM_CGROUPS.get(id) }.is_none_or(|verdict| *verdict != 0)
}

#[inline(always)]
pub(super) fn addresses(
    family: Family,
    dport: u16,
    addresses: impl FnOnce() -> ([u32; 4], [u32; 4]),
) -> bool {
    if STREAM_BY_ADDRESS.load() == 0 {
        return true;
    }
    let (saddr, daddr) = addresses();
    // A socket without a peer has zeros, which are no address.
    let has_peer = u32::from(dport) | daddr[0] | daddr[1] | daddr[2] | daddr[3] != 0;
    has_peer && has_address(family, daddr) || has_address(family, saddr)
}

#[inline(always)]
fn has_address(family: Family, address: [u32; 4]) -> bool {
    let words = match family {
        Family::Ipv4 => [0, 0, V4_MAPPED, address[0]],
        Family::Ipv6 => address,
    };
    let mut bytes = [0; PREFIX_BYTES];
    let parts = words.map(u32::to_ne_bytes);
    bytes.copy_from_slice(parts.as_flattened());
    let written = STREAM_ADDRESSES.get(Key::new(8 * PREFIX_BYTES as u32, bytes));
    written.is_some_and(|&written| written != 0)
}
