//! How long sockets have been in CLOSE_WAIT: the histogram of those that left it, and the ages of those that are in it.
//!
//! Pure computation: all times are ticks of the kernel's clock (jiffies), which come in as values.

use std::{collections::HashMap, num::NonZeroU32};

use tcpstat_ebpf::{CloseWaitRecord, SILENCE_BOUNDS, SILENCE_BUCKETS};

/// Ticks per second: the kernel's `CONFIG_HZ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickRate(pub NonZeroU32);

/// How long the peer had been silent when sockets left CLOSE_WAIT. Arithmetic wraps, as in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silences {
    /// Sockets in each bucket, in the order of [`SILENCE_BOUNDS`]; the last one has no bound.
    pub buckets: [u64; SILENCE_BUCKETS],
    /// The sum, in ticks.
    pub ticks: u64,
}

/// The ages in seconds for which there is a count of older sockets, each with its value of the label `older_than`.
pub const OLDER_THAN: [(u32, &str); 3] = [(60, "1m"), (300, "5m"), (3600, "1h")];

/// The ages of the sockets in CLOSE_WAIT, by one reading of all of them. Each socket has been there at least that long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloseWaitAges {
    /// The highest age in ticks; 0 without a socket.
    pub oldest: u64,
    /// Sockets that are older than each of [`OLDER_THAN`].
    pub older_than: [u64; OLDER_THAN.len()],
}

/// When each socket was first seen in CLOSE_WAIT.
///
/// A peer that still acknowledges hides how long the socket has been there: its silence is short. The time since the
/// first reading does not. A new socket at the same address is another one: data or the handshake came at another time.
#[derive(Debug)]
pub struct AgeTable {
    sockets: HashMap<u64, Seen>,
    max: usize,
    rate: TickRate,
    /// The number of the last reading that has begun. It wraps.
    reading: u32,
}

/// What is kept of a socket, by its address.
#[derive(Debug)]
struct Seen {
    /// When it was first seen in CLOSE_WAIT.
    first: u64,
    /// [`CloseWaitRecord::received`].
    received: u32,
    /// The last reading that has seen it.
    reading: u32,
}

/// One reading of all sockets in CLOSE_WAIT.
#[derive(Debug)]
pub struct Reading<'a> {
    table: &'a mut AgeTable,
    ages: CloseWaitAges,
}

impl TickRate {
    /// The seconds that so many ticks take.
    #[must_use]
    pub fn seconds(self, ticks: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
        let ticks = ticks as f64;
        ticks / f64::from(self.0.get())
    }

    /// As many ticks as fit into half of the clock.
    pub(crate) fn ticks_u32(self, seconds: u32) -> u32 {
        seconds.saturating_mul(self.0.get())
    }

    fn ticks(self, seconds: u32) -> u64 {
        u64::from(seconds) * u64::from(self.0.get())
    }
}

impl Silences {
    /// The buckets with their upper bounds in seconds, not cumulated.
    #[must_use]
    pub fn bounded(&self) -> [(f64, u64); SILENCE_BUCKETS] {
        std::array::from_fn(|index| {
            let bound = SILENCE_BOUNDS.get(index).map_or(f64::INFINITY, |&bound| f64::from(bound));
            (bound, self.buckets[index])
        })
    }
}

impl CloseWaitAges {
    fn add(&mut self, age: u64, rate: TickRate) {
        self.oldest = self.oldest.max(age);
        for ((bound, _), older) in OLDER_THAN.iter().zip(&mut self.older_than) {
            *older += u64::from(age > rate.ticks(*bound));
        }
    }
}

impl AgeTable {
    /// An empty table for at most `max` sockets. While it is full, those that it has stay, and the age of another one
    /// is its silence.
    #[must_use]
    pub fn new(rate: TickRate, max: usize) -> Self {
        Self { sockets: HashMap::new(), max, rate, reading: 0 }
    }

    /// Begins a reading. A reading that does not end changes no age.
    pub fn begin(&mut self) -> Reading<'_> {
        self.reading = self.reading.wrapping_add(1);
        Reading { table: self, ages: CloseWaitAges::default() }
    }

    /// Whether it has no socket.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Ticks between the first reading that has seen the socket and this one; `None` if this one has seen it before.
    fn since_first_reading(&mut self, socket: &CloseWaitRecord) -> Option<u64> {
        let &CloseWaitRecord { skaddr, now, received, .. } = socket;
        let reading = self.reading;
        match self.sockets.get_mut(&skaddr) {
            Some(seen) if seen.received == received => {
                // The kernel can list a socket twice.
                let is_repeated = std::mem::replace(&mut seen.reading, reading) == reading;
                (!is_repeated).then(|| now.saturating_sub(seen.first))
            }
            Some(other) => {
                *other = Seen { first: now, received, reading };
                Some(0)
            }
            None => {
                if self.sockets.len() < self.max {
                    self.sockets.insert(skaddr, Seen { first: now, received, reading });
                }
                Some(0)
            }
        }
    }
}

impl Reading<'_> {
    /// Takes one socket into account.
    pub fn see(&mut self, socket: &CloseWaitRecord) {
        let mut ages = self.ages;
        self.see_in(socket, &mut ages);
        self.ages = ages;
    }

    /// As [`Reading::see`], but adds its age to `ages`, and not to those that [`Reading::end`] gives.
    pub(crate) fn see_in(&mut self, socket: &CloseWaitRecord, ages: &mut CloseWaitAges) {
        if let Some(seen) = self.table.since_first_reading(socket) {
            let rate = self.table.rate;
            ages.add(seen.max(silence(socket, rate)), rate);
        }
    }

    /// Forgets the sockets that two readings in a row have not seen: the kernel can skip one that is there.
    #[must_use]
    pub fn end(self) -> CloseWaitAges {
        let AgeTable { sockets, reading, .. } = self.table;
        sockets.retain(|_, seen| reading.wrapping_sub(seen.reading) <= 1);
        if sockets.len() < sockets.capacity() / 4 {
            sockets.shrink_to_fit();
        }
        self.ages
    }
}

/// Ticks since the peer was last heard; 0 if that is not known.
fn silence(socket: &CloseWaitRecord, rate: TickRate) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    let now = socket.now as u32;
    since_heard(now, socket.heard, rate).unwrap_or(0).into()
}

/// Ticks from `heard`, when a peer was last heard, until `now`, both the lower half of the clock; `None` if the peer has
/// not been heard. `now` is read at almost the same time on another CPU, so it can be slightly behind.
pub(crate) fn since_heard(now: u32, heard: u32, rate: TickRate) -> Option<u32> {
    let ticks = now.wrapping_sub(heard);
    (heard != 0).then(|| if ticks > u32::MAX - rate.0.get() { 0 } else { ticks })
}

#[cfg(test)]
mod tests;
