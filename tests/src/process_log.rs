//! What a process of tcpstat has logged.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::Result;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::deadline::{DEADLINE, Progress, wait_until};

/// The thread of tcpstat that writes the lines that all others log (`commands::stderr`).
const WRITER: &str = "(log)";

/// The log of one process. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pid: u32,
    /// A read of it does not block.
    pipe: File,
    bytes: Mutex<Vec<u8>>,
}

impl Log {
    /// The log of the process `pid`, whose standard error is the other end of `pipe`. The thread reads until the
    /// process ends, so that the pipe is never full.
    ///
    /// # Errors
    /// Fails if the pipe cannot be changed.
    pub(crate) fn read(pid: u32, pipe: impl Into<OwnedFd>) -> Result<(Self, JoinHandle<()>)> {
        let pipe = File::from(pipe.into());
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let log = Self(Arc::new(Shared { pid, pipe, bytes: Mutex::default() }));
        let reader = log.clone();
        Ok((log, thread::spawn(move || reader.0.read_until_the_end())))
    }

    /// Everything that the process logged before this call, although a thread of its own writes it.
    pub(crate) fn text(&self) -> String {
        let written = wait_until("log that is written", DEADLINE, || {
            // In this order: what is written before the writer rests is in the pipe or read.
            let rests = !self.0.is_writing();
            let read = self.0.read_available()?;
            let is_complete = rests && read == 0;
            Ok(if is_complete { Progress::Done(()) } else { Progress::NotYet(WRITER.to_owned()) })
        });
        if let Err(error) = written {
            eprintln!("the log is not complete: {error:#}");
        }
        String::from_utf8_lossy(&self.0.bytes()).into_owned()
    }
}

impl fmt::Display for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the process's log:\n{}", self.text())
    }
}

impl Shared {
    /// Whether the writer runs or waits for a processor: it has lines to write then. It sleeps as soon as it has none.
    fn is_writing(&self) -> bool {
        // There are no threads after the end.
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten();
        threads.flatten().any(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.split_once(WRITER).is_some_and(|(_, state)| state.starts_with(" R"))
        })
    }

    fn read_until_the_end(&self) {
        loop {
            let mut pipe = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
            let readable = poll(&mut pipe, PollTimeout::NONE).map_err(io::Error::from);
            let read = readable.and_then(|_| self.read_available());
            let is_ended = pipe[0].revents().is_some_and(|is| is.contains(PollFlags::POLLHUP));
            match read {
                Ok(0) if is_ended => return,
                Ok(_) => {}
                Err(error) => {
                    eprintln!("the log of {} cannot be read: {error}", self.pid);
                    return;
                }
            }
        }
    }

    /// Reads what the pipe contains. Returns the number of bytes.
    fn read_available(&self) -> io::Result<usize> {
        // Two readers would exchange pieces of the text.
        let mut bytes = self.bytes();
        let before = bytes.len();
        match (&self.pipe).read_to_end(&mut bytes) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(bytes.len() - before),
        }
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_line_is_in_the_text_as_soon_as_it_is_logged_although_a_busy_thread_writes_it_later() {
        let (pipe, mut end) = io::pipe().unwrap();
        let (lines, logged) = mpsc::channel::<String>();
        let (named, is_named) = mpsc::channel();
        let writer = thread::Builder::new().name("log".to_owned()).spawn(move || {
            named.send(()).unwrap();
            for line in logged {
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(20) {}
                end.write_all(line.as_bytes()).unwrap();
            }
        });
        let (log, reader) = Log::read(std::process::id(), pipe).unwrap();
        is_named.recv().unwrap();
        let mut expected = String::new();
        for number in 0..20 {
            let line = format!("line {number}\n");
            lines.send(line.clone()).unwrap();
            expected += &line;
            assert_eq!(log.text(), expected);
        }
        drop(lines);
        writer.unwrap().join().unwrap();
        reader.join().unwrap();
    }

    #[test]
    fn what_is_written_at_the_end_is_in_the_text_and_the_reader_ends() {
        let (pipe, mut end) = io::pipe().unwrap();
        let (log, reader) = Log::read(0, pipe).unwrap();
        let long = "x".repeat(1 << 20);
        end.write_all(long.as_bytes()).unwrap();
        drop(end);
        reader.join().unwrap();
        assert_eq!(log.text(), long);
    }
}
