//! A queue of lines between the threads that log and one that writes.
//!
//! The queue is bounded. Lines that arrive while it is full are lost and counted; a line with the count is written
//! in their place.

use std::{
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Maximum number of bytes that wait to be written. If none waits, one line of any length is accepted.
const MAX_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct LineQueue {
    /// The line, with its newline, that stands where so many lines are lost.
    notice: fn(u64) -> String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// The lines that the writing thread has not taken yet.
    bytes: Vec<u8>,
    /// Number of lines in `bytes`.
    lines: u64,
    /// Number of bytes that the thread is writing.
    in_flight: usize,
    /// Lines lost since the last accepted line.
    lost: u64,
    /// Whether the last write failed. The next attempt waits for another line.
    failed: bool,
}

impl LineQueue {
    pub(super) const fn new(notice: fn(u64) -> String) -> Self {
        let state = State { bytes: Vec::new(), lines: 0, in_flight: 0, lost: 0, failed: false };
        Self { notice, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds one line, including its newline. Never waits for the writing thread.
    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        let held = queue.bytes.len() + queue.in_flight;
        // After a loss, all lines are lost until the thread takes some: otherwise short lines that still fit
        // would be separated by many gaps.
        let gap = queue.lost > 0 && !queue.bytes.is_empty();
        if gap || (held > 0 && held + line.len() > MAX_BYTES) {
            queue.lost += 1;
            return;
        }
        queue.add_loss(self.notice);
        queue.bytes.extend_from_slice(line);
        queue.lines += 1;
        drop(queue);
        self.changed.notify_all();
    }

    /// Waits at most `timeout` until all accepted lines are written. Returns whether they are.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let pending = |queue: &mut State| {
            !queue.bytes.is_empty() || queue.in_flight > 0 || (queue.lost > 0 && !queue.failed)
        };
        let (_queue, waited) = self
            .changed
            .wait_timeout_while(self.lock(), timeout, pending)
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// Passes the lines to `write`, forever.
    pub(super) fn drain(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> ! {
        let mut queue = self.lock();
        loop {
            let idle =
                |queue: &mut State| queue.bytes.is_empty() && (queue.lost == 0 || queue.failed);
            queue = self.changed.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
            queue.add_loss(self.notice);
            let bytes = std::mem::take(&mut queue.bytes);
            let lines = std::mem::take(&mut queue.lines);
            queue.in_flight = bytes.len();
            drop(queue);
            let written = write(&bytes);
            queue = self.lock();
            queue.in_flight = 0;
            queue.failed = written.is_err();
            if queue.failed {
                queue.lost += lines;
            }
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds a line with the number of lost lines in their place.
    fn add_loss(&mut self, notice: fn(u64) -> String) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            self.bytes.extend_from_slice(notice(lost).as_bytes());
            self.lines += lost;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc::{Receiver, Sender, channel},
        thread,
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn notice(lost: u64) -> String {
        format!("{lost} log lines lost\n")
    }

    /// A queue, the texts that its thread writes, and the results that the test gives to these writes.
    fn queue() -> (&'static LineQueue, Receiver<String>, Sender<io::Result<()>>) {
        let queue: &LineQueue = Box::leak(Box::new(LineQueue::new(notice)));
        let (text, texts) = channel();
        let (result, results) = channel();
        thread::spawn(move || {
            queue.drain(|bytes| {
                // The test may have ended.
                let _ = text.send(String::from_utf8_lossy(bytes).into_owned());
                results.recv().unwrap_or(Ok(()))
            })
        });
        (queue, texts, result)
    }

    #[test]
    fn lines_beyond_the_bound_are_lost_and_counted_in_their_place() {
        let (queue, texts, result) = queue();
        queue.push(b"first\n");
        assert_eq!(texts.recv_timeout(DEADLINE).unwrap(), "first\n");
        let long = vec![b'x'; 1 << 16];
        for _ in 0..1000 {
            queue.push(&long);
        }
        assert!(queue.lock().bytes.len() <= MAX_BYTES);
        assert!(!queue.flush(Duration::from_millis(1)), "the first is still being written");
        result.send(Ok(())).unwrap();
        let rest = texts.recv_timeout(DEADLINE).unwrap();
        let found = rest.trim_start_matches('x');
        let lost = 1000 - (rest.len() - found.len()) / long.len();
        assert!(found.starts_with(&format!("{lost} log lines lost")), "{found}");
        result.send(Ok(())).unwrap();
        assert!(queue.flush(DEADLINE));
        queue.push(b"later\n");
        assert_eq!(texts.recv_timeout(DEADLINE).unwrap(), "later\n");
    }

    #[test]
    fn a_line_longer_than_the_queue_is_accepted_alone() {
        let (queue, texts, result) = queue();
        queue.push(&vec![b'x'; MAX_BYTES + 1]);
        assert_eq!(texts.recv_timeout(DEADLINE).unwrap().len(), MAX_BYTES + 1);
        queue.push(b"later\n");
        result.send(Ok(())).unwrap();
        assert!(texts.recv_timeout(DEADLINE).unwrap().contains("1 log lines lost"));
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_with_the_next_one() {
        let (queue, texts, result) = queue();
        for expected in ["first\n", "1 log lines lost", "2 log lines lost"] {
            queue.push(b"first\n");
            let written = texts.recv_timeout(DEADLINE).unwrap();
            assert!(written.starts_with(expected) && written.ends_with("first\n"), "{written}");
            result.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
            assert!(queue.flush(DEADLINE), "a flush does not wait for lines that failed");
        }
        assert!(texts.try_recv().is_err(), "without another line there is no new attempt");
    }
}
