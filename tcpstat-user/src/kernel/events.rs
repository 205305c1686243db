//! The event log: while it is open for a slot it holds every transition that the slot counts.
//!
//! The tracer reads the switch once for each event; that one value chooses the bank, and decides whether the
//! event is logged (`tcpstat_ebpf::Bank`). So the counters at the moment the log opened are known to the
//! event, and a log that lacks records (the ring buffer was full) is known to be incomplete.

use std::{sync::Arc, time::Duration};

use aya::maps::{Map, MapData, MapError, RingBuf};
use tcpstat_ebpf::{Bank, EventRecord, ScopedEventRecord};
use thiserror::Error;

use super::{
    counters::{Counters, Switch},
    slot::Slot,
};
use crate::{
    snapshot::Tuple,
    states::{Family, State},
    transitions::{Event, Transitions},
};

/// The counters at the moment the log opened: all transitions before the first one that is logged, and those
/// of each bank.
#[derive(Debug)]
struct Cut {
    transitions: Transitions,
    plain: Transitions,
    logged: Transitions,
}

/// Whether a closed log is complete, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClosedLog {
    /// Events that the tracer counted while the log was open.
    pub(crate) counted: u64,
    /// Records that were read and are valid.
    pub(crate) read: u64,
    /// Whether an event after the cut did not see the log open. Then the cut is not exact.
    pub(crate) torn: bool,
    /// How many namespaces had got a slot from the tracer at the cut.
    pub(crate) netns_assigned: u64,
}

impl ClosedLog {
    /// Whether the log has every event after the cut, and the cut is exact.
    #[must_use]
    pub(crate) fn complete(&self) -> bool {
        self.counted == self.read && !self.torn
    }
}

/// The ring buffer could not be mapped.
#[derive(Debug, Error)]
#[error("mapping the event log: {0}")]
pub(crate) struct LogError(#[from] MapError);

/// The closed event log. The ring buffer is mapped, and its 2 MiB are resident, only while the log is open.
pub(crate) struct EventLog {
    ring: Map,
    switch: Switch,
    counters: Arc<Counters>,
}

impl EventLog {
    pub(super) fn new(ring: Map, switch: Switch, counters: Arc<Counters>) -> Self {
        switch.set_log_open(None);
        Self { ring, switch, counters }
    }

    /// Opens the log of `slot`. Blocks for some milliseconds, until every program that saw it closed has ended.
    ///
    /// # Errors
    /// [`LogError`]. Then the log stays closed.
    pub(crate) fn open(&mut self, slot: Slot) -> Result<OpenLog<'_>, LogError> {
        let mut ring = RingBuf::try_from(&self.ring)?;
        while ring.next().is_some() {}
        let logged = self.counters.bank(slot, Bank::Logged);
        self.switch.set_log_open(Some(slot));
        await_running_programs();
        let plain = self.counters.bank(slot, Bank::Plain);
        let cut = Cut { transitions: plain.plus(&logged), plain, logged };
        let netns_assigned = self.switch.netns_assigned();
        let (switch, counters) = (&self.switch, &self.counters);
        Ok(OpenLog { ring, switch, counters, slot, cut, netns_assigned, read: 0 })
    }

    /// Events since the start that the tracer saw and could not count: TCP made a transition that has no cell.
    pub(super) fn events_without_cell(&self) -> u64 {
        self.switch.without_cell()
    }
}

/// The open event log. Dropping it closes the log.
pub(crate) struct OpenLog<'a> {
    ring: RingBuf<&'a MapData>,
    switch: &'a Switch,
    counters: &'a Counters,
    slot: Slot,
    cut: Cut,
    netns_assigned: u64,
    read: u64,
}

impl OpenLog<'_> {
    /// All transitions until the moment the log opened.
    #[must_use]
    pub(crate) fn cut(&self) -> &Transitions {
        &self.cut.transitions
    }

    /// Removes all events from the log and passes them to `each`, oldest first.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(Event)) {
        while let Some(item) = self.ring.next() {
            if let Some(event) = decode(&item) {
                self.read += 1;
                each(event);
            }
        }
    }

    /// Closes the log, and passes the remaining events to `each`. Blocks as [`EventLog::open`] does.
    pub(crate) fn close(mut self, each: impl FnMut(Event)) -> ClosedLog {
        let torn = self.counters.bank(self.slot, Bank::Plain) != self.cut.plain;
        self.switch.set_log_open(None);
        await_running_programs();
        self.drain(each);
        let counted = self.counters.bank(self.slot, Bank::Logged).since(&self.cut.logged).total();
        ClosedLog { counted, read: self.read, torn, netns_assigned: self.netns_assigned }
    }
}

impl Drop for OpenLog<'_> {
    fn drop(&mut self) {
        self.switch.set_log_open(None);
    }
}

/// Waits until every run of a program that has started has ended.
///
/// A program runs inside an RCU read-side critical section, and membarrier(2) waits for a grace period. If
/// the call is refused (seccomp, nohz_full), this waits two milliseconds, which is longer than a run that is
/// not preempted. [`ClosedLog::torn`] shows a run that was preempted.
pub(super) fn await_running_programs() {
    // SAFETY: MEMBARRIER_CMD_GLOBAL takes no pointers, and only waits.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result != 0 {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `None` for a record that is too short, or has an unknown family or state.
pub(super) fn decode(bytes: &[u8]) -> Option<Event> {
    let (skaddr, rest) = bytes.split_first_chunk()?;
    let (sport, rest) = rest.split_first_chunk()?;
    let (dport, rest) = rest.split_first_chunk()?;
    let (&[family, old, new, _reserved], rest) = rest.split_first_chunk()?;
    let (saddr, rest) = rest.split_first_chunk()?;
    let (daddr, rest) = rest.split_first_chunk()?;
    // A record of `tcpstat_ebpf::ScopedEventRecord` has it.
    let cgroup = rest.first_chunk().map_or(0, |cgroup| u64::from_ne_bytes(*cgroup));
    Some(Event {
        skaddr: u64::from_ne_bytes(*skaddr),
        old: State::from_number(old)?,
        new: State::from_number(new)?,
        tuple: Tuple {
            family: Family::from_index(family)?,
            saddr: *saddr,
            sport: u16::from_ne_bytes(*sport),
            daddr: *daddr,
            dport: u16::from_ne_bytes(*dport),
        },
        cgroup,
    })
}

const _: () = {
    assert!(size_of::<EventRecord>() == 48, "decode reads the record field by field");
    assert!(size_of::<ScopedEventRecord>() == 56, "decode reads the cgroup after the event");
};

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let mut bytes = 0xffff_8880_1234_5678_u64.to_ne_bytes().to_vec();
        bytes.extend(8080_u16.to_ne_bytes());
        bytes.extend(443_u16.to_ne_bytes());
        bytes.extend([0, 2, 1, 0]);
        bytes.extend([127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    #[test]
    fn a_record_decodes_to_the_event_that_the_tracer_wrote() {
        assert_eq!(record().len(), size_of::<EventRecord>());
        let event = decode(&record()).unwrap();
        assert_eq!(event.skaddr, 0xffff_8880_1234_5678);
        assert_eq!((event.old, event.new), (State::SynSent, State::Established));
        assert_eq!((event.tuple.sport, event.tuple.dport), (8080, 443));
        assert_eq!(event.tuple.saddr[..4], [127, 0, 0, 1]);
        assert_eq!(event.tuple.daddr[..4], [10, 0, 0, 2]);
        assert_eq!(event.tuple.family, Family::Ipv4);
    }

    #[test]
    fn only_a_longer_record_has_a_cgroup() {
        assert_eq!(decode(&record()).unwrap().cgroup, 0);
        let mut bytes = record();
        bytes.extend(4711_u64.to_ne_bytes());
        assert_eq!(bytes.len(), size_of::<ScopedEventRecord>());
        assert_eq!(decode(&bytes).unwrap().cgroup, 4711);
    }

    #[test]
    fn a_truncated_or_impossible_record_is_none() {
        for length in 0..record().len() {
            assert_eq!(decode(&record()[..length]), None, "cut at {length}");
        }
        for (position, value) in [(12, 2), (13, 0), (14, 13)] {
            let mut bytes = record();
            bytes[position] = value;
            assert_eq!(decode(&bytes), None, "byte {position} = {value}");
        }
    }
}
