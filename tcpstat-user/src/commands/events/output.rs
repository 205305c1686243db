//! Standard output, written by a thread of its own: the reader may be slow, and then the stream does not wait for it.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::commands::{resources::not_started, signals::leave_to_other_threads, stderr};

/// Batches that wait for the thread. While they do, nothing is read from the ring buffer.
const BATCHES: usize = 4;

/// What is written at once: a pipe takes so many bytes as a whole or not at all (`PIPE_BUF` of pipe(7)), so that the output
/// ends with a whole line wherever the process ends.
const PIECE_BYTES: usize = 4_096;

/// Lines that are passed on together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

/// Whole lines of a batch.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    /// Where in the bytes of the batch it ends.
    end: usize,
    transitions: u64,
}

impl Batch {
    /// Ends a line that was added to the bytes, and has so many transitions.
    pub(super) fn end_line(&mut self, transitions: u64) {
        let end = self.bytes.len();
        let start = self.pieces.iter().rev().nth(1).map_or(0, |piece| piece.end);
        match self.pieces.last_mut() {
            Some(piece) if end - start <= PIECE_BYTES => {
                piece.end = end;
                piece.transitions += transitions;
            }
            _ => self.pieces.push(Piece { end, transitions }),
        }
    }

    /// Writes its pieces, and adds the transitions of each to `written`.
    fn write(&self, written: &AtomicU64) -> io::Result<()> {
        let mut start = 0;
        for piece in &self.pieces {
            stderr::write_all(io::stdout(), &self.bytes[start..piece.end])?;
            written.fetch_add(piece.transitions, Ordering::Relaxed);
            start = piece.end;
        }
        Ok(())
    }
}

/// The thread that writes batches.
pub(super) struct Output {
    batches: SyncSender<Batch>,
    shared: Arc<Shared>,
    ended: Receiver<()>,
}

#[derive(Default)]
struct Shared {
    written: AtomicU64,
    error: OnceLock<io::Error>,
}

impl Output {
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start() -> anyhow::Result<Self> {
        let (batches, received) = sync_channel::<Batch>(BATCHES);
        let (end, ended) = channel();
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let write = move || {
            leave_to_other_threads();
            for batch in received {
                if let Err(error) = batch.write(&of_thread.written) {
                    let _ = of_thread.error.set(error);
                    break;
                }
            }
            // The main thread may not wait for it any more.
            let _ = end.send(());
        };
        let thread = thread::Builder::new().name("output".to_owned()).spawn(write);
        thread.map_err(|error| not_started("the thread that writes standard output", &error))?;
        Ok(Self { batches, shared, ended })
    }

    /// Passes the batch on, and leaves an empty one, unless the thread has enough to write.
    pub(super) fn offer(&self, batch: &mut Batch) {
        match self.batches.try_send(std::mem::take(batch)) {
            Ok(()) => {}
            Err(TrySendError::Full(refused) | TrySendError::Disconnected(refused)) => {
                *batch = refused;
            }
        }
    }

    /// Why writing failed, if it did.
    pub(super) fn error(&self) -> Option<&io::Error> {
        self.shared.error.get()
    }

    /// Waits until all is written, at most until `deadline`. Returns the number of transitions that were written, and why
    /// writing failed.
    pub(super) fn finish(self, mut batch: Batch, deadline: Instant) -> (u64, Option<io::Error>) {
        loop {
            self.offer(&mut batch);
            if batch.bytes.is_empty() || self.error().is_some() || Instant::now() >= deadline {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let Self { batches, shared, ended } = self;
        drop(batches);
        let rest = deadline.saturating_duration_since(Instant::now());
        match ended.recv_timeout(rest) {
            Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        let number = shared.error.get().and_then(io::Error::raw_os_error);
        let error = number.map(io::Error::from_raw_os_error);
        (shared.written.load(Ordering::Relaxed), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines_that_a_pipe_takes_as_a_whole() {
        let mut batch = Batch::default();
        // One is longer than a piece.
        let lines = [1_000, 3_096, 1, 4_000, 90, 6_000, 5];
        for length in lines {
            batch.bytes.resize(batch.bytes.len() + length, b'x');
            batch.end_line(u64::from(length > 4));
        }
        let pieces: Vec<_> = batch.pieces.iter().map(|it| (it.end, it.transitions)).collect();
        assert_eq!(pieces, [(4_096, 2), (8_187, 2), (14_187, 1), (14_192, 1)]);
    }
}
