//! All connections: their limits, and which are closed to make room for others.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Instant,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::{
    client::Client,
    connection::Connection,
    eviction::{self, Candidate},
    log_limit::LogLimit,
    slots::Slots,
    stream::Stream,
    table::Table,
};

/// Maximum number of large answers (some hundred kilobytes) at a time.
const LARGE_ANSWERS: usize = 4;

/// If room is needed, this fraction of the connections is closed at once.
const EVICTED_FRACTION: usize = 4;

/// Maximum numbers at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) connections: usize,
    pub(super) answers: usize,
    pub(super) streams: usize,
    pub(super) streams_of_client: usize,
}

/// The connections of all listeners.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) bounds: Bounds,
    table: Mutex<Table>,
    /// A permit for each connection.
    permits: Arc<Semaphore>,
    pub(super) answer_slots: Arc<Slots>,
    /// One slot: a check of a password takes a whole processor for some 70 ms.
    pub(super) password_slots: Arc<Slots>,
    /// A permit for each large answer.
    pub(super) large_permits: Arc<Semaphore>,
    evictions: LogLimit,
}

impl Connections {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            table: Mutex::default(),
            permits: Arc::new(Semaphore::new(bounds.connections)),
            answer_slots: Slots::new(bounds.answers),
            password_slots: Slots::new(1),
            large_permits: Arc::new(Semaphore::new(LARGE_ANSWERS)),
            evictions: LogLimit::default(),
        })
    }

    /// Spawns a task in which `serve` serves `stream`. If the maximum number of connections is open, closes
    /// others and waits until they have ended; if none may be closed, closes `stream`.
    pub(super) async fn add<F>(
        self: &Arc<Self>,
        stream: Stream,
        serve: impl FnOnce(Stream, Arc<Connection>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(client) = stream.client() else { return };
        stream.limit_unsent();
        let permit = match self.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) if !self.make_room() => return,
            Err(_) => match self.permits.clone().acquire_owned().await {
                Ok(permit) => permit,
                Err(_) => return,
            },
        };
        let connection = self.insert(client);
        let served = serve(stream, connection.clone());
        let guard = RemoveOnDrop { connection: connection.clone(), _permit: permit };
        // Not under the lock: a runtime that ends drops the task at once, which takes the lock.
        let task = tokio::spawn(async move {
            let _guard = guard;
            served.await;
        });
        self.locked().set_task(connection.id, task.abort_handle());
    }

    fn insert(self: &Arc<Self>, client: Client) -> Arc<Connection> {
        self.locked()
            .insert(client, |id, of_client| Connection::new(id, client, of_client, self.clone()))
    }

    /// Closes connections that may be closed for others: a few at once, because choosing them costs as much as
    /// closing them; none while some are being closed. Returns whether there will be room.
    pub(super) fn make_room(&self) -> bool {
        let mut table = self.locked();
        if table.is_closing() {
            return true;
        }
        let wanted = (self.bounds.connections / EVICTED_FRACTION).max(1);
        let chosen = eviction::for_connections(table.candidates(), wanted);
        let closed = chosen.into_iter().filter(|id| table.close(*id)).count() > 0;
        drop(table);
        if closed && let Some(times) = self.evictions.count() {
            warn!(
                connections = self.bounds.connections,
                times, "the maximum number of connections is open: closing idle ones for new ones"
            );
        }
        closed
    }

    /// Closes the connections whose timeout has passed at `now`.
    pub(super) fn close_overdue(&self, now: Instant) {
        let mut table = self.locked();
        let overdue: Vec<_> = table
            .candidates()
            .filter(|candidate| candidate.status.is_overdue(now))
            .map(|candidate| candidate.id)
            .collect();
        for id in overdue {
            table.close(id);
        }
    }

    /// Returns when no connection is open.
    pub(super) async fn all_closed(&self) {
        let all = u32::try_from(self.bounds.connections).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _ = self.permits.acquire_many(all).await;
    }

    /// Whether at most one connection is open.
    pub(super) fn at_most_one(&self) -> bool {
        self.permits.available_permits() + 1 >= self.bounds.connections
    }

    /// Closes a connection whose answer the peer does not read, of those for which `may` is true.
    pub(super) fn close_stalled_answer(&self, may: impl Fn(&Candidate) -> bool) {
        let mut table = self.locked();
        if let Some(id) = eviction::for_an_answer(table.candidates().filter(may)) {
            table.close(id);
        }
    }

    /// After a panic the table is still consistent.
    pub(super) fn locked(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the connection from the table, and gives its permit back.
struct RemoveOnDrop {
    connection: Arc<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let Connection { id, client, of_client, all, .. } = &*self.connection;
        let mut table = all.locked();
        table.remove(*id);
        // Under the lock, so that no new connection of the client is counted meanwhile.
        if of_client.fetch_sub(1, Ordering::Relaxed) == 1 {
            table.remove_client(*client);
        }
    }
}
