//! Takes a sample every second, stores it in the history, and passes it to the streams. Every ten seconds it
//! takes one of each scope.

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
    history::{History, INTERVAL_MS, Moment, Sample, ScopeSample, ScopesHistory},
    tracker::Published,
};

#[derive(Debug)]
pub(crate) struct Recorder {
    published: watch::Receiver<Arc<Published>>,
    scrapes: Scrapes,
    history: Arc<Mutex<History>>,
    scopes: Arc<Mutex<ScopesHistory>>,
    newest: watch::Sender<Option<Arc<Sample>>>,
}

/// What the recorder has recorded; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    history: Arc<Mutex<History>>,
    scopes: Arc<Mutex<ScopesHistory>>,
    newest: watch::Receiver<Option<Arc<Sample>>>,
}

impl Recorder {
    pub(crate) fn new(
        published: watch::Receiver<Arc<Published>>,
        scrapes: Scrapes,
        history: Arc<Mutex<History>>,
    ) -> (Self, Recording) {
        let (sender, newest) = watch::channel(None);
        let scopes = Arc::default();
        let recording = Recording { history: history.clone(), scopes: Arc::clone(&scopes), newest };
        (Self { published, scrapes, history, scopes, newest: sender }, recording)
    }

    /// Records from the first snapshot on. When it is dropped, each receiver of [`Recording::newest`] closes.
    pub(crate) async fn run(mut self) {
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
        let at = sample.at;
        locked(&self.history).push(sample.clone());
        self.newest.send_replace(Some(Arc::new(sample)));
        // Without scopes a reading more would delay the scrapes that wait for it.
        if self.published.borrow().has_scopes() && locked(&self.scopes).is_due(at) {
            self.take_scopes(at).await;
        }
    }

    async fn take_scopes(&self, at: Moment) {
        let Some(kinds) = self.scrapes.scopes(true).await else { return };
        let samples = kinds.iter().flat_map(|kind| {
            kind.scopes.iter().map(|scope| {
                let sample = scope.connections.as_ref().map(ScopeSample::new);
                ((kind.kind.word(), Arc::clone(&scope.name)), sample)
            })
        });
        locked(&self.scopes).push(at, samples);
    }
}

impl Recording {
    /// The last ten minutes. The guard blocks the recorder.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        locked(&self.history)
    }

    /// The last ten minutes of each scope. The guard blocks the recorder.
    pub(crate) fn scopes(&self) -> MutexGuard<'_, ScopesHistory> {
        locked(&self.scopes)
    }

    /// The newest sample; `None` before the first. A slow reader misses samples.
    pub(crate) fn newest(&self) -> watch::Receiver<Option<Arc<Sample>>> {
        self.newest.clone()
    }
}

/// After a panic during a push the samples are still correct.
fn locked<T>(history: &Mutex<T>) -> MutexGuard<'_, T> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}
