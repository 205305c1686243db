//! One connection, as the code that serves it uses it.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    activity::Activity,
    client::Client,
    connections::{Bounds, Connections},
    eviction,
    slots::Slot,
};

/// How long a request waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(in crate::web) struct Connection {
    pub(super) id: u64,
    pub(in crate::web) client: Client,
    /// Number of connections of the client.
    pub(super) of_client: Arc<AtomicUsize>,
    pub(super) activity: Activity,
    pub(super) all: Arc<Connections>,
}

/// Why no stream can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum StreamLimit {
    /// This number of streams is open, and none may be ended for another.
    Total(usize),
    /// The client has this number of streams.
    OfClient(usize),
}

impl Connection {
    pub(super) fn new(
        id: u64,
        client: Client,
        of_client: Arc<AtomicUsize>,
        all: Arc<Connections>,
    ) -> Self {
        Self { id, client, of_client, activity: Activity::new(), all }
    }

    /// Waits for a slot for an answer; `None` if none is free within [`MAX_WAIT`]. Ends an answer whose peer
    /// does not read.
    pub(super) async fn answer_slot(&self) -> Option<Slot> {
        match self.all.answer_slots.acquire(&self.of_client) {
            Ok(slot) => Some(slot),
            Err(receiver) => {
                self.all.close_stalled_answer(|_| true);
                timeout(MAX_WAIT, receiver).await.ok()?.ok()
            }
        }
    }

    /// Waits for the turn to have a password checked.
    pub(in crate::web) async fn password_slot(&self) -> Option<Slot> {
        match self.all.password_slots.acquire(&self.of_client) {
            Ok(slot) => Some(slot),
            Err(receiver) => receiver.await.ok(),
        }
    }

    /// Makes the current answer a large one; `None` if the maximum number of them is still active after
    /// [`MAX_WAIT`]. Ends a large answer whose peer does not read.
    pub(in crate::web) async fn become_large(&self) -> Option<()> {
        let permits = self.all.large_permits.clone();
        let permit = if let Ok(permit) = permits.clone().try_acquire_owned() {
            permit
        } else {
            self.all.close_stalled_answer(|candidate| candidate.status.large);
            timeout(MAX_WAIT, permits.acquire_owned()).await.ok()?.ok()?
        };
        self.activity.became_large(permit);
        Some(())
    }

    /// Makes the current answer a stream, until the connection ends.
    ///
    /// # Errors
    /// If the maximum number of streams is open.
    pub(in crate::web) fn become_stream(&self) -> Result<(), StreamLimit> {
        let mut table = self.all.locked();
        let streams = table.streams();
        let own = streams.iter().filter(|(client, _)| *client == self.client).count();
        let Bounds { streams: most, streams_of_client, .. } = self.all.bounds;
        if own >= streams_of_client {
            return Err(StreamLimit::OfClient(streams_of_client));
        }
        if streams.len() >= most {
            let candidates = streams.iter().map(|(_, stream)| *stream);
            let chosen = eviction::for_a_stream(candidates, own).ok_or(StreamLimit::Total(most))?;
            table.close(chosen);
        }
        self.activity.became_stream();
        Ok(())
    }

    /// A write waits for the peer.
    pub(super) fn write_blocked(&self) {
        if self.activity.write_blocked() && self.all.answer_slots.has_waiters() {
            self.all.close_stalled_answer(|_| true);
        }
    }

    /// Whether no other connection is open.
    pub(in crate::web) fn is_alone(&self) -> bool {
        self.all.at_most_one()
    }

    /// Maximum number of answers at a time.
    pub(super) fn max_answers(&self) -> usize {
        self.all.bounds.answers
    }
}
