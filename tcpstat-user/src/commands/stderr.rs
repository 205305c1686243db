//! Standard error that never holds up whoever writes to it.
//!
//! A pipe that nobody reads takes 64 KiB and then blocks the writer. Lines therefore go to a queue, and one
//! thread writes them. The queue is bounded: lines that find it full are lost and counted, and the count is
//! written as a line where they are missing.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::SigSet,
    unistd,
};

/// Most bytes that wait to be written. One line more is taken where none waits, however long it is.
const MOST_BYTES: usize = 1 << 20;

/// The queue of standard error.
pub(super) static STDERR: Lines = Lines::new();

/// Lines on their way out.
#[derive(Debug)]
pub(super) struct Lines {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    /// Not yet taken by the thread.
    bytes: Vec<u8>,
    /// Lines in `bytes`.
    lines: u64,
    /// Bytes that the thread is writing.
    in_flight: usize,
    /// Lines lost since the last one that was taken in.
    lost: u64,
    /// Whether the last write failed. It is not tried again before there is another line.
    failed: bool,
    started: bool,
}

impl Lines {
    const fn new() -> Self {
        let queue = Queue {
            bytes: Vec::new(),
            lines: 0,
            in_flight: 0,
            lost: 0,
            failed: false,
            started: false,
        };
        Self { queue: Mutex::new(queue), changed: Condvar::new() }
    }

    /// Takes in one line, its newline included. Never waits for a reader.
    fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        let held = queue.bytes.len() + queue.in_flight;
        // After a loss none is taken before the queue moves: a short line could still fit in, and would leave
        // a gap before it and one behind it.
        let gap = queue.lost > 0 && !queue.bytes.is_empty();
        if gap || (held > 0 && held + line.len() > MOST_BYTES) {
            queue.lost += 1;
            return;
        }
        queue.tell_lost();
        queue.bytes.extend_from_slice(line);
        queue.lines += 1;
        drop(queue);
        self.changed.notify_all();
    }

    /// Waits at most `patience` until all is written that was taken in. Returns whether it is.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let held = |queue: &mut Queue| {
            !queue.bytes.is_empty() || queue.in_flight > 0 || (queue.lost > 0 && !queue.failed)
        };
        let (_queue, waited) = self
            .changed
            .wait_timeout_while(self.lock(), patience, held)
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    /// Writes what is taken in, without end.
    fn drain(&self, mut write: impl FnMut(&[u8]) -> io::Result<()>) -> ! {
        let mut queue = self.lock();
        loop {
            let idle =
                |queue: &mut Queue| queue.bytes.is_empty() && (queue.lost == 0 || queue.failed);
            queue = self.changed.wait_while(queue, idle).unwrap_or_else(PoisonError::into_inner);
            queue.tell_lost();
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

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Says in the place of the lost lines how many there were.
    fn tell_lost(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        if lost > 0 {
            // Writing to a Vec cannot fail.
            let _ = writeln!(
                self.bytes,
                "tcpstat: {lost} log lines lost here: standard error did not accept them"
            );
            self.lines += lost;
        }
    }
}

/// Writes one line to standard error by way of [`STDERR`], and never fails.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stderr;

impl Write for Stderr {
    /// `line` is one line as a whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let start = !std::mem::replace(&mut STDERR.lock().started, true);
        // Without a thread what is written here may wait for the reader, but is not lost.
        if start && spawn().is_err() {
            STDERR.lock().started = false;
            // A failure is one of standard error, which is where it would be told.
            let _ = write_all(line);
            return Ok(line.len());
        }
        STDERR.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn spawn() -> io::Result<()> {
    let thread = thread::Builder::new().name("log".to_owned());
    thread
        .spawn(|| {
            // The signals are for others. This fails only for a wrong argument.
            let _ = SigSet::all().thread_block();
            STDERR.drain(write_all)
        })
        .map(drop)
}

/// Without the lock of [`io::stderr`]: whoever else writes there is not to wait for this.
fn write_all(mut bytes: &[u8]) -> io::Result<()> {
    let stderr = io::stderr();
    while !bytes.is_empty() {
        match unistd::write(&stderr, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            // Another process has made the open file non-blocking, which all that hold it share.
            Err(Errno::EAGAIN) => {
                let stderr = PollFd::new(stderr.as_fd(), PollFlags::POLLOUT);
                // An error is one that the next write tells.
                let _ = poll(&mut [stderr], PollTimeout::from(1000_u16));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A queue whose thread passes on what it would write, and writes it when it gets a result.
    fn piped() -> (&'static Lines, Receiver<String>, Sender<io::Result<()>>) {
        let lines: &Lines = Box::leak(Box::new(Lines::new()));
        let (tell, told) = channel();
        let (answer, answered) = channel();
        thread::spawn(move || {
            lines.drain(|bytes| {
                // The test may have ended.
                let _ = tell.send(String::from_utf8_lossy(bytes).into_owned());
                answered.recv().unwrap_or(Ok(()))
            })
        });
        (lines, told, answer)
    }

    #[test]
    fn lines_beyond_the_bound_are_lost_and_counted_in_their_place() {
        let (lines, told, answer) = piped();
        lines.push(b"first\n");
        assert_eq!(told.recv_timeout(SOON).unwrap(), "first\n");
        let long = vec![b'x'; 1 << 16];
        for _ in 0..1000 {
            lines.push(&long);
        }
        assert!(lines.lock().bytes.len() <= MOST_BYTES);
        assert!(!lines.flush(Duration::from_millis(1)), "the first is still being written");
        answer.send(Ok(())).unwrap();
        let rest = told.recv_timeout(SOON).unwrap();
        let notice = rest.trim_start_matches('x');
        let lost = 1000 - (rest.len() - notice.len()) / long.len();
        assert!(notice.starts_with(&format!("tcpstat: {lost} log lines lost")), "{notice}");
        answer.send(Ok(())).unwrap();
        assert!(lines.flush(SOON));
        lines.push(b"later\n");
        assert_eq!(told.recv_timeout(SOON).unwrap(), "later\n");
    }

    #[test]
    fn a_line_that_is_longer_than_the_queue_is_taken_in_alone() {
        let (lines, told, answer) = piped();
        lines.push(&vec![b'x'; MOST_BYTES + 1]);
        assert_eq!(told.recv_timeout(SOON).unwrap().len(), MOST_BYTES + 1);
        lines.push(b"later\n");
        answer.send(Ok(())).unwrap();
        assert!(told.recv_timeout(SOON).unwrap().contains("1 log lines lost"));
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_with_the_next_one() {
        let (lines, told, answer) = piped();
        for expected in ["first\n", "tcpstat: 1 log lines lost", "tcpstat: 2 log lines lost"] {
            lines.push(b"first\n");
            let written = told.recv_timeout(SOON).unwrap();
            assert!(written.starts_with(expected) && written.ends_with("first\n"), "{written}");
            answer.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
            assert!(lines.flush(SOON), "what failed is not waited for");
        }
        assert!(told.try_recv().is_err(), "it is not tried again by itself");
    }
}
