//! The table of open connections.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use foldhash::fast::RandomState;
use tokio::task::AbortHandle;

use super::{activity::Phase, client::Client, connection::Connection, eviction::Candidate};

#[derive(Debug, Default)]
pub(super) struct Table {
    next_id: u64,
    entries: HashMap<u64, Entry, RandomState>,
    /// Number of connections by client, without zeros.
    clients: HashMap<Client, Arc<AtomicUsize>, RandomState>,
    /// Number of entries that are being closed.
    closing: usize,
}

#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    /// `None` until the task is spawned.
    task: Option<AbortHandle>,
    closing: bool,
}

impl Table {
    /// Inserts the connection that `new` makes of its id and the number of its client's connections.
    pub(super) fn insert(
        &mut self,
        client: Client,
        new: impl FnOnce(u64, Arc<AtomicUsize>) -> Connection,
    ) -> Arc<Connection> {
        let id = self.next_id;
        self.next_id += 1;
        let of_client = self.clients.entry(client).or_default().clone();
        of_client.fetch_add(1, Ordering::Relaxed);
        let connection = Arc::new(new(id, of_client));
        let entry = Entry { connection: connection.clone(), task: None, closing: false };
        self.entries.insert(id, entry);
        connection
    }

    /// Sets the task that serves the connection `id`. The connection may have ended, or be closing, by now.
    pub(super) fn set_task(&mut self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.entries.get_mut(&id) {
            if entry.closing {
                task.abort();
            }
            entry.task = Some(task);
        }
    }

    /// Aborts the task of the connection `id`. Returns false if there is none, or if it is already closing.
    pub(super) fn close(&mut self, id: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.closing) else {
            return false;
        };
        entry.closing = true;
        self.closing += 1;
        entry.connection.activity.set_reset_on_drop();
        if let Some(task) = &entry.task {
            task.abort();
        }
        true
    }

    pub(super) fn remove(&mut self, id: u64) {
        if self.entries.remove(&id).is_some_and(|entry| entry.closing) {
            self.closing -= 1;
        }
    }

    pub(super) fn remove_client(&mut self, client: Client) {
        self.clients.remove(&client);
    }

    /// Whether a connection is being closed.
    pub(super) fn is_closing(&self) -> bool {
        self.closing > 0
    }

    /// The connections that are not being closed.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate> + Clone + '_ {
        let open = self.entries.values().filter(|entry| !entry.closing);
        open.map(|Entry { connection, .. }| Candidate {
            id: connection.id,
            of_client: connection.of_client.load(Ordering::Relaxed),
            status: connection.activity.status(),
        })
    }

    /// The streams that are not being closed, each with the number of its client's streams.
    pub(super) fn streams(&self) -> Vec<(Client, Candidate)> {
        let mut of_client: HashMap<Client, usize> = HashMap::new();
        let mut streams: Vec<_> = self
            .candidates()
            .filter(|candidate| candidate.status.phase == Phase::Stream)
            .filter_map(|stream| Some((self.entries.get(&stream.id)?.connection.client, stream)))
            .inspect(|(client, _)| *of_client.entry(*client).or_default() += 1)
            .collect();
        for (client, stream) in &mut streams {
            stream.of_client = of_client[client];
        }
        streams
    }
}
