//! Reads the listening sockets of the own namespace: every second where that takes at most a thousandth of one CPU,
//! else as often as that allows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tcpstat_ebpf::ListenerRecord;
use tracing::{info, trace, warn};

use super::attempts::{LastFailure, retry_at};
use crate::{
    clock,
    kernel::{IterError, ListenerIterator},
    listeners::{Listeners, MAX_SOCKETS, ShownListeners},
    procfs::Privileges,
};

/// Time between two readings, at least.
const INTERVAL: Duration = Duration::from_secs(1);
/// Readings take at most this fraction of one CPU: 1 / `SHARE`.
const SHARE: u32 = 1000;

/// The iterator over listening sockets, and what its readings have shown.
pub(super) struct ListenerReader {
    /// `None` if it has to be loaded at the next reading.
    iterator: Option<ListenerIterator>,
    listeners: Listeners,
    /// The last reading.
    sockets: Vec<ListenerRecord>,
    /// When the next reading is due; `None` after a failure that lasts.
    due: Option<Instant>,
    last_failure: LastFailure,
    /// Whether it was logged that there are too many.
    too_many_logged: bool,
    published: Option<Arc<ShownListeners>>,
}

impl ListenerReader {
    /// A reader for the listeners of at most `max` addresses and ports each; `None` for 0.
    pub(super) fn new(max: usize, iterator: Option<ListenerIterator>) -> Option<Self> {
        (max > 0).then(|| Self {
            iterator,
            listeners: Listeners::new(max),
            sockets: Vec::new(),
            due: Some(Instant::now()),
            last_failure: LastFailure::default(),
            too_many_logged: false,
            published: None,
        })
    }

    /// What the last reading has shown; `None` if it failed.
    pub(super) fn published(&self) -> Option<Arc<ShownListeners>> {
        self.published.clone()
    }

    /// Reads, if a reading is due. `snapshot_interval` is the most time between two of them.
    pub(super) fn update(&mut self, snapshot_interval: Duration) {
        let now = Instant::now();
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        match self.read() {
            Ok(took) => {
                self.due = Some(now + interval(took, snapshot_interval));
                trace!(sockets = self.sockets.len(), cpu = ?took, "listening sockets were read");
                if self.last_failure.is_over() {
                    info!("listening sockets are shown again");
                }
            }
            Err(error) => self.note_failure(&error),
        }
    }

    /// Returns the CPU time that it took, without that of loading the iterator.
    fn read(&mut self) -> Result<Duration, IterError> {
        let iterator = match &mut self.iterator {
            Some(iterator) => iterator,
            iterator => iterator.insert(ListenerIterator::load()?),
        };
        let cpu = clock::thread_cpu();
        self.sockets.clear();
        iterator.each_listener(MAX_SOCKETS, |socket| self.sockets.push(*socket))?;
        if self.sockets.len() == MAX_SOCKETS && !std::mem::replace(&mut self.too_many_logged, true)
        {
            warn!("more than {MAX_SOCKETS} listening sockets: those beyond are not shown");
        }
        let shown = self.listeners.update(&self.sockets);
        if self.published.as_deref() != Some(&shown) {
            self.published = Some(Arc::new(shown));
        }
        Ok(clock::thread_cpu().saturating_sub(cpu))
    }

    fn note_failure(&mut self, error: &IterError) {
        self.iterator = None;
        self.published = None;
        self.due = retry_at(error.is_temporary());
        if self.last_failure.is_new(&error.to_string()) {
            let until = if self.due.is_some() { "for now" } else { "from now on" };
            error.write_kernel_log();
            let cause = error.with_remedy(&Privileges::read());
            warn!("listening sockets are not shown {until}: iter/tcp: {cause}");
        }
    }
}

/// The time from a reading that took so much CPU time to the next one.
fn interval(took: Duration, snapshot_interval: Duration) -> Duration {
    (took * SHARE).clamp(INTERVAL, snapshot_interval.max(INTERVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_take_a_thousandth_of_one_cpu_and_come_at_each_snapshot_at_least() {
        let micros = Duration::from_micros;
        let seconds = Duration::from_secs;
        assert_eq!(interval(micros(30), seconds(15)), seconds(1));
        assert_eq!(interval(micros(1_000), seconds(15)), seconds(1));
        assert_eq!(interval(micros(1_700), seconds(15)), Duration::from_millis(1_700));
        assert_eq!(interval(micros(40_000), seconds(15)), seconds(15));
        assert_eq!(interval(micros(40_000), Duration::from_millis(100)), seconds(1));
    }
}
