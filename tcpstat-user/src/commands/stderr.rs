//! Standard error, as a writer that never waits for the reader.
//!
//! A pipe that nobody reads holds 64 KiB and then blocks. Lines therefore go to a queue, and one thread writes
//! them.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd,
};

use tracing::Level;

use super::{line_queue::LineQueue, log_format, signals::leave_to_other_threads};
use crate::kernel::Kept;

pub(super) static QUEUE: LineQueue = LineQueue::new(lost);

/// Whether the thread that writes has been started.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Writes lines by way of [`QUEUE`], and never fails.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stderr;

impl Write for Stderr {
    /// `line` is one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let start = !STARTED.swap(true, Ordering::Relaxed);
        // Without the thread, this write may wait for the reader, but the line is not lost.
        if start && spawn().is_err() {
            STARTED.store(false, Ordering::Relaxed);
            // The failure is one of standard error, so there is nowhere to report it.
            let _ = write_all(io::stderr(), line);
            return Ok(line.len());
        }
        QUEUE.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lost(lines: u64) -> String {
    let message = format!("{lines} log lines lost here: standard error did not accept them");
    log_format::always(Level::WARN, message)
}

fn spawn() -> io::Result<()> {
    let thread = thread::Builder::new().name("log".to_owned());
    thread
        .spawn(|| {
            leave_to_other_threads();
            // This thread needs none. A failure is reported elsewhere.
            let _ = Kept::NONE.keep();
            QUEUE.drain(|line| write_all(io::stderr(), line))
        })
        .map(drop)
}

/// Writes to standard output or error. Does not take the lock of these, so that other writers do not wait.
pub(super) fn write_all(output: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match unistd::write(&output, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            // Another process has made the open file description, which it shares, non-blocking.
            Err(Errno::EAGAIN) => {
                let writable = PollFd::new(output.as_fd(), PollFlags::POLLOUT);
                // After an error, the next write fails too.
                let _ = poll(&mut [writable], PollTimeout::from(1000_u16));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
