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

use nix::sys::signal::SigSet;

use crate::commands::{resources::not_started, stderr};

/// Batches that wait for the thread. While they do, nothing is read from the ring buffer.
const BATCHES: usize = 4;

/// Lines that are written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// Number of transitions in `bytes`.
    pub(super) transitions: u64,
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
            // The main thread handles signals. This fails only for an invalid argument.
            let _ = SigSet::all().thread_block();
            for batch in received {
                if let Err(error) = stderr::write_all(io::stdout(), &batch.bytes) {
                    let _ = of_thread.error.set(error);
                    break;
                }
                of_thread.written.fetch_add(batch.transitions, Ordering::Relaxed);
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
