//! Takes a sample every second, keeps it in the history, and tells the streams of it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::Scrapes;
use crate::{
    history::{History, INTERVAL_MS, Sample},
    tracker::Published,
};

/// Who takes the samples.
#[derive(Debug)]
pub struct Recorder {
    published: watch::Receiver<Arc<Published>>,
    scrapes: Scrapes,
    history: Arc<Mutex<History>>,
    tell: watch::Sender<Option<Arc<Sample>>>,
}

/// What has been recorded.
#[derive(Clone, Debug)]
pub struct Recording {
    history: Arc<Mutex<History>>,
    newest: watch::Receiver<Option<Arc<Sample>>>,
}

impl Recorder {
    /// A recorder of what `published` counts, and what it will have recorded.
    #[must_use]
    pub fn new(published: watch::Receiver<Arc<Published>>, scrapes: Scrapes) -> (Self, Recording) {
        let (tell, newest) = watch::channel(None);
        let history = Arc::new(Mutex::new(History::default()));
        let recording = Recording { history: history.clone(), newest };
        (Self { published, scrapes, history, tell }, recording)
    }

    /// Records from the first snapshot on, until it is dropped: then every [`Recording::newest`] closes.
    pub async fn run(mut self) {
        if self.published.wait_for(|published| published.ready()).await.is_err() {
            return;
        }
        let mut ticks = interval(Duration::from_millis(INTERVAL_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            self.take().await;
        }
    }

    async fn take(&self) {
        let Some(sample) = self.scrapes.sample().await else { return };
        locked(&self.history).push(sample.clone());
        self.tell.send_replace(Some(Arc::new(sample)));
    }
}

impl Recording {
    /// The last ten minutes. The recorder waits while the guard lives.
    pub fn history(&self) -> MutexGuard<'_, History> {
        locked(&self.history)
    }

    /// The newest sample, which alone is kept for a reader who is late; `None` before the first.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<Option<Arc<Sample>>> {
        self.newest.clone()
    }
}

/// A panic in the midst of a push leaves samples that are still right.
fn locked(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}
