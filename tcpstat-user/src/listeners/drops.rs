//! What each listening socket dropped from one reading to the next.

use std::collections::{HashMap, hash_map::Entry};

use tcpstat_ebpf::ListenerRecord;

use super::MAX_SOCKETS;

/// The drops of sockets at their last readings.
#[derive(Debug, Default)]
pub(super) struct Drops {
    sockets: HashMap<Socket, Known>,
}

/// The most sockets that are known: those of a reading, and those that were in an earlier one.
const MAX_KNOWN: usize = 2 * MAX_SOCKETS + MAX_SILENT;

/// A socket that so many readings do not have is closed, or does not listen now. A reading can miss one that does.
const SILENT_AFTER: u64 = 3;

/// The most sockets with a cookie that do not listen, and are remembered: they can listen again, and their drops go on.
pub(super) const MAX_SILENT: usize = 4096;

/// Tells sockets apart. Without a cookie, an address can belong to another socket later; it has another port, or
/// fewer drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Socket {
    skaddr: u64,
    cookie: u64,
    address: [u8; 16],
    port: u16,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    drops: u32,
    /// The last reading that had it.
    reading: u64,
}

impl Drops {
    /// The drops of a socket since the last reading that had it, or since it was made. `None` if this reading had it
    /// already.
    pub(super) fn since_last(&mut self, reading: u64, socket: &ListenerRecord) -> Option<u64> {
        let ListenerRecord { skaddr, cookie, address, port, drops, .. } = *socket;
        let room = self.sockets.len() < MAX_KNOWN;
        match self.sockets.entry(Socket { skaddr, cookie, address, port }) {
            Entry::Occupied(mut known) => {
                let before = known.insert(Known { drops, reading });
                (before.reading != reading).then(|| since(before.drops, drops, cookie != 0).into())
            }
            Entry::Vacant(unknown) if room => {
                unknown.insert(Known { drops, reading });
                Some(drops.into())
            }
            // Their drops would be counted at each reading.
            Entry::Vacant(_) => Some(0),
        }
    }

    /// Forgets sockets that do not listen now: all that cannot be told apart for certain, and the oldest of too many.
    pub(super) fn forget(&mut self, reading: u64) {
        let is_silent = |known: &Known| known.reading + SILENT_AFTER <= reading;
        self.sockets.retain(|socket, known| socket.cookie != 0 || !is_silent(known));
        let silent = self.sockets.iter().filter(|(_, known)| is_silent(known));
        let mut silent: Vec<_> = silent.map(|(socket, known)| (known.reading, *socket)).collect();
        if let Some(excess) = silent.len().checked_sub(MAX_SILENT + 1) {
            silent.select_nth_unstable_by_key(excess, |(reading, _)| *reading);
            for (_, socket) in &silent[..=excess] {
                self.sockets.remove(socket);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn known(&self) -> usize {
        self.sockets.len()
    }
}

/// `same`: whether it is certain that both are counts of one socket. The kernel's count wraps.
fn since(before: u32, now: u32, same: bool) -> u32 {
    if now < before && !same { now } else { now.wrapping_sub(before) }
}
