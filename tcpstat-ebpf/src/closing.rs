//! Why a full socket closes, and whether a connect was retried: which cell counts the transition.

use tcpstat_ebpf::{
    CAUSES, CLOSING_PLACES, CLOSINGS, CONNECTED_RETRIED, Cause, ERRORS, FAMILY_CELLS, State,
    closing,
};

use crate::count::bounded;

/// What a program reads from a full socket, only where it is needed.
pub(crate) trait FullSocket: Copy {
    /// `sk_err`, a positive number.
    fn error(self) -> u32;

    /// What tells a connect from others. SYN_SENT is the only state in which it is asked for.
    fn connect(self) -> Connect;
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
        // SYN_SENT→ESTABLISHED is the only other one.
        if socket.connect().retransmits == 0 {
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

/// The number of the [`Cause`].
#[inline(always)]
fn cause(error: u32) -> u8 {
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
