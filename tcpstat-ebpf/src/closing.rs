//! Why a full socket closes, and whether a connect was retried: which cell counts the transition. And how long the peer
//! had been silent when it left CLOSE_WAIT.

use aya_ebpf::helpers::generated::bpf_jiffies64;
use tcpstat_ebpf::{
    CAUSES, CLOSING_PLACES, CLOSINGS, CONNECTED_RETRIED, Cause, ERRORS, FAMILY_CELLS, State,
    closing,
};

use crate::bounded::bounded;

/// What a program reads from a full socket, only where it is needed.
pub(crate) trait FullSocket: Copy {
    /// The address in the kernel.
    fn address(self) -> u64;

    /// `sk_err`, a positive number.
    fn error(self) -> u32;

    /// What tells a connect from others. SYN_SENT is the only state in which it is asked for.
    fn connect(self) -> Connect;

    /// How many ticks ago the peer was last heard; `None` if that is not known.
    fn silence(self) -> Option<u32>;
}

/// A connect that ends.
pub(crate) struct Connect {
    /// The local port; 0 if the kernel has found none. A socket that had a port before keeps that number.
    pub(crate) port: u16,
    /// How many SYNs were sent again.
    pub(crate) retransmits: u32,
}

/// The index in [`tcpstat_ebpf::DETAILS`] of a transition that may have one.
#[inline(always)]
pub(crate) fn detail_of(oldstate: u64, newstate: u64, socket: impl FullSocket) -> Option<usize> {
    let place = if newstate != State::Close as u64 {
        // Others are SYN_SENT→ESTABLISHED and CLOSE_WAIT→LAST_ACK.
        if oldstate != State::SynSent as u64 || socket.connect().retransmits == 0 {
            return None;
        }
        CONNECTED_RETRIED
    } else if oldstate == State::SynSent as u64 {
        let Connect { port, retransmits } = socket.connect();
        let cause = if port == 0 { Cause::NoPort as u8 } else { cause(socket.error()) };
        closing_place(oldstate, cause, retransmits != 0)
    } else {
        let error = socket.error();
        if error == 0 {
            return None;
        }
        closing_place(oldstate, cause(error), false)
    };
    place.checked_sub(FAMILY_CELLS)
}

/// How many ticks have passed since `heard`, which is `rcv_tstamp`: 0 if the peer has acknowledged nothing. That can be in
/// CLOSE_WAIT, if a SYN had both Fast Open data and a FIN.
#[inline(always)]
pub(crate) fn ticks_since(heard: u32) -> Option<u32> {
    if heard == 0 {
        return None;
    }
    // SAFETY: the helper has no preconditions.
    Some((unsafe { bpf_jiffies64() } as u32).wrapping_sub(heard))
}

/// The number of the [`Cause`] for a value of `sk_err`.
#[inline(always)]
pub(crate) fn cause(error: u32) -> u8 {
    /// In the object's read-only data.
    static TABLE: [u8; ERRORS] = CAUSES;
    if error as usize >= ERRORS {
        return Cause::Other as u8;
    }
    let error = bounded::<ERRORS>(error as usize);
    // SAFETY: `error` is below ERRORS.
    unsafe { TABLE.as_ptr().add(error).read_volatile() }
}

#[inline(always)]
fn closing_place(oldstate: u64, cause: u8, retried: bool) -> usize {
    static TABLE: [u8; CLOSINGS] = CLOSING_PLACES;
    let index = bounded::<CLOSINGS>(closing(oldstate as u8, cause, retried));
    // SAFETY: `index` is below CLOSINGS.
    usize::from(unsafe { TABLE.as_ptr().add(index).read_volatile() })
}
