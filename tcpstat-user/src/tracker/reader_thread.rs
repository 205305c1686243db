//! A thread that lists what processes hold.
//!
//! The kernel holds the file that the iterator shows. If its owner closes it meanwhile, the reader has the last reference,
//! and closes it when read(2) returns: a socket with `SO_LINGER` waits for its peer then, and a file of a network
//! file system for its server. So it is not the tracker that reads, and the tracker does not wait.

use std::{
    io,
    sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    thread,
    time::Duration,
};

use thiserror::Error;

use crate::{kernel::IterError, procfs::Privileges};

/// Why a reading has failed.
#[derive(Debug, Error)]
pub(super) enum ListError {
    #[error(transparent)]
    Iterator(#[from] IterError),
    /// The thread cannot be started.
    #[error("starting a thread: {0}: raise the limit on tasks (RLIMIT_NPROC, TasksMax=, pids.max)")]
    Thread(#[from] io::Error),
    /// A reading has not ended.
    #[error(
        "a reading has not ended after {0:?}: it closes a file that its owner has closed meanwhile, and waits for the peer \
         of a socket with SO_LINGER, or for a file server"
    )]
    Waits(Duration),
    /// A defect in this program.
    #[error("the thread that reads panicked")]
    Panicked,
}

impl ListError {
    /// Whether the next reading can succeed.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::Iterator(error) => error.is_temporary(),
            Self::Thread(_) | Self::Waits(_) => true,
            Self::Panicked => false,
        }
    }

    /// Cause and remedy in one line. Writes the kernel's log to that of this process.
    pub(super) fn explain(&self) -> String {
        match self {
            Self::Iterator(error) => {
                error.write_kernel_log();
                error.with_remedy(&Privileges::read())
            }
            _ => self.to_string(),
        }
    }
}

/// The running thread, which reads an `R` for each request `Q`. It ends when this is dropped, after the reading that it is at.
pub(super) struct ReaderThread<Q, R> {
    requests: SyncSender<Q>,
    readings: Receiver<Result<R, ListError>>,
}

impl<Q: Send + 'static, R: Send + 'static> ReaderThread<Q, R> {
    /// Starts the thread, which calls `read` for each request.
    ///
    /// # Errors
    /// [`ListError::Thread`].
    pub(super) fn start(
        name: &str,
        mut read: impl FnMut(Q) -> Result<R, ListError> + Send + 'static,
    ) -> Result<Self, ListError> {
        let (requests, requested) = sync_channel(1);
        let (report, readings) = sync_channel(1);
        thread::Builder::new().name(name.into()).spawn(move || {
            while let Ok(request) = requested.recv() {
                if report.send(read(request)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { requests, readings })
    }

    /// Asks for a reading.
    pub(super) fn request(&self, request: Q) {
        // An error means that one is asked for already, or that the thread has ended: then there is no result.
        let _ = self.requests.try_send(request);
    }

    /// The reading that was asked for; `None` while it goes on.
    pub(super) fn take(&self) -> Option<Result<R, ListError>> {
        match self.readings.try_recv() {
            Ok(reading) => Some(reading),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(ListError::Panicked)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn nobody_waits_for_a_reading_that_hangs() {
        let (release, released) = channel::<()>();
        let (began, begun) = channel();
        let thread = ReaderThread::start("test", move |()| {
            began.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        })
        .unwrap();
        thread.request(());
        begun.recv().unwrap();
        assert!(thread.take().is_none());
        thread.request(());
        thread.request(());
        assert!(thread.take().is_none());
        release.send(()).unwrap();
        begun.recv().unwrap();
        assert!(thread.take().is_some_and(|reading| reading.is_ok()), "the first one has ended");
        assert!(thread.take().is_none(), "the second one goes on");
        drop(thread);
        release.send(()).unwrap();
        // The thread has ended, without a third one.
        assert!(begun.recv().is_err());
    }

    #[test]
    fn a_thread_that_has_panicked_is_a_failure_that_lasts() {
        let thread = ReaderThread::<(), ()>::start("test", |()| panic!("a defect")).unwrap();
        thread.request(());
        let error = loop {
            match thread.take() {
                Some(Err(error)) => break error,
                Some(Ok(())) => panic!("a reading"),
                None => thread::yield_now(),
            }
        };
        assert!(!error.is_temporary(), "{error}");
    }
}
