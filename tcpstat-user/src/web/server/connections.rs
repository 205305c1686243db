//! All connections: how many there may be, of what kind, and which are dropped for others.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::timeout,
};
use tracing::warn;

use super::{
    activity::{Activity, Phase},
    choice::{self, Candidate},
    client::Client,
    places::{Place, Places},
    rarely::Rarely,
};

/// How long a request waits for a place among the answers.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers of some hundred kilobytes that may be under way at a time.
const LARGE_ANSWERS: usize = 4;

/// One part in so many of the connections makes room at once.
const BATCH: usize = 4;

/// How many there may be at a time.
#[derive(Clone, Copy, Debug)]
pub(in crate::web) struct Bounds {
    /// Connections.
    pub(in crate::web) connections: usize,
    /// Answers.
    pub(in crate::web) answers: usize,
    /// Streams.
    pub(in crate::web) streams: usize,
    /// Streams of one client.
    pub(in crate::web) streams_of_client: usize,
}

/// All connections of all listeners.
#[derive(Debug)]
pub(in crate::web) struct Connections {
    bounds: Bounds,
    table: Mutex<Table>,
    /// One for each connection.
    places: Arc<Semaphore>,
    answers: Arc<Places>,
    /// One for each large answer.
    large: Arc<Semaphore>,
    dropped: Rarely,
}

#[derive(Debug, Default)]
struct Table {
    next_id: u64,
    entries: HashMap<u64, Entry, RandomState>,
    /// Connections by client; none is 0.
    clients: HashMap<Client, Arc<AtomicUsize>, RandomState>,
    /// Entries that are being dropped.
    leaving: usize,
}

#[derive(Debug)]
struct Entry {
    connection: Arc<Connection>,
    /// `None` until it has begun.
    task: Option<AbortHandle>,
    /// Whether it is being dropped.
    leaving: bool,
}

/// One connection, as those see it who serve it.
#[derive(Debug)]
pub(in crate::web) struct Connection {
    id: u64,
    client: Client,
    /// How many connections the client has.
    of_client: Arc<AtomicUsize>,
    pub(super) activity: Activity,
    all: Arc<Connections>,
}

/// Why there is no place for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum NoStream {
    /// So many are open, none of which may be ended for another.
    All(usize),
    /// The client has as many as it may.
    OfClient(usize),
}

impl Connections {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            table: Mutex::default(),
            places: Arc::new(Semaphore::new(bounds.connections)),
            answers: Places::new(bounds.answers),
            large: Arc::new(Semaphore::new(LARGE_ANSWERS)),
            dropped: Rarely::default(),
        })
    }

    /// Has `serve` serve `stream` in a task of its own, as soon as there is a place: where there is none,
    /// another connection makes room. Where none can, `stream` is closed.
    pub(super) async fn add<F>(
        self: &Arc<Self>,
        stream: TcpStream,
        serve: impl FnOnce(TcpStream, Arc<Connection>) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        // An address that cannot be asked for is of a peer that has gone.
        let Ok(peer) = stream.peer_addr() else { return };
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) if !self.make_room() => return,
            Err(_) => match self.places.clone().acquire_owned().await {
                Ok(place) => place,
                Err(_) => return,
            },
        };
        let connection = self.enter(Client::from(peer.ip()));
        let served = serve(stream, connection.clone());
        let leaving = Leaving { connection: connection.clone(), _place: place };
        // Not under the lock: a runtime that ends drops the task at once, which takes the lock.
        let task = tokio::spawn(async move {
            let _leaving = leaving;
            served.await;
        });
        self.locked().began(connection.id, task.abort_handle());
    }

    fn enter(self: &Arc<Self>, client: Client) -> Arc<Connection> {
        let mut table = self.locked();
        let id = table.next_id;
        table.next_id += 1;
        let of_client = table.clients.entry(client).or_default().clone();
        of_client.fetch_add(1, Ordering::Relaxed);
        let (activity, all) = (Activity::new(), self.clone());
        let connection = Arc::new(Connection { id, client, of_client, activity, all });
        let entry = Entry { connection: connection.clone(), task: None, leaving: false };
        table.entries.insert(id, entry);
        connection
    }

    /// Drops connections that may be dropped for others: a few at once, as looking for them costs as much
    /// as dropping them. None while some are being dropped. Whether there will be room.
    pub(super) fn make_room(&self) -> bool {
        let mut table = self.locked();
        if table.leaving > 0 {
            return true;
        }
        let wanted = (self.bounds.connections / BATCH).max(1);
        let victims = choice::for_connections(table.candidates(), wanted);
        let dropped = victims.into_iter().filter(|id| table.cut(*id)).count() > 0;
        drop(table);
        if dropped && let Some(times) = self.dropped.tell() {
            warn!(
                connections = self.bounds.connections,
                times, "the maximum number of connections is open: closing idle ones for new ones"
            );
        }
        dropped
    }

    /// Drops what is overdue at `now`.
    pub(super) fn sweep(&self, now: Instant) {
        let mut table = self.locked();
        let overdue: Vec<_> = table
            .candidates()
            .filter(|candidate| candidate.status.is_overdue(now))
            .map(|candidate| candidate.id)
            .collect();
        for id in overdue {
            table.cut(id);
        }
    }

    /// Returns when there is no connection.
    pub(super) async fn none_left(&self) {
        let all = u32::try_from(self.bounds.connections).unwrap_or(u32::MAX);
        // An error means that the places are closed, which nobody does.
        let _ = self.places.acquire_many(all).await;
    }

    /// Drops an answer whose peer does not read, of those that `may` be.
    fn drop_stalled(&self, may: impl Fn(&Candidate) -> bool) {
        let mut table = self.locked();
        if let Some(id) = choice::for_an_answer(table.candidates().filter(may)) {
            table.cut(id);
        }
    }

    /// A panic leaves a table that is still right.
    fn locked(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Those that are not being dropped already.
    fn candidates(&self) -> impl Iterator<Item = Candidate> + Clone + '_ {
        let staying = self.entries.values().filter(|entry| !entry.leaving);
        staying.map(|Entry { connection, .. }| Candidate {
            id: connection.id,
            of_client: connection.of_client.load(Ordering::Relaxed),
            status: connection.activity.status(),
        })
    }

    /// The streams among them, each with how many its client has.
    fn streams(&self) -> Vec<(Client, Candidate)> {
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

    /// Has the connection `id` dropped soon. Whether there is one that is not being dropped already.
    fn cut(&mut self, id: u64) -> bool {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| !entry.leaving) else {
            return false;
        };
        entry.leaving = true;
        self.leaving += 1;
        entry.connection.activity.reset_on_drop();
        if let Some(task) = &entry.task {
            task.abort();
        }
        true
    }

    /// The connection `id` is served by `task`. It may have ended, or be being dropped, by now.
    fn began(&mut self, id: u64, task: AbortHandle) {
        if let Some(entry) = self.entries.get_mut(&id) {
            if entry.leaving {
                task.abort();
            }
            entry.task = Some(task);
        }
    }
}

impl Connection {
    /// A place among the answers, now or soon; `None` where so many are made that there is none within
    /// [`PATIENCE`]. Answers whose peer does not read make room.
    pub(super) async fn place_for_an_answer(&self) -> Option<Place> {
        match self.all.answers.ask(&self.of_client) {
            Ok(place) => Some(place),
            Err(place) => {
                self.all.drop_stalled(|_| true);
                timeout(PATIENCE, place).await.ok()?.ok()
            }
        }
    }

    /// Makes the answer under way a large one; `None` where so many are under way that there is no place for
    /// another within [`PATIENCE`]. One whose peer does not read makes room.
    pub(in crate::web) async fn become_large(&self) -> Option<()> {
        let large = self.all.large.clone();
        let place = if let Ok(place) = large.clone().try_acquire_owned() {
            place
        } else {
            self.all.drop_stalled(|candidate| candidate.status.large);
            timeout(PATIENCE, large.acquire_owned()).await.ok()?.ok()?
        };
        self.activity.is_large(place);
        Some(())
    }

    /// Makes the answer under way a stream. It stays one until the connection ends.
    ///
    /// # Errors
    /// [`NoStream`].
    pub(in crate::web) fn become_stream(&self) -> Result<(), NoStream> {
        let mut table = self.all.locked();
        let streams = table.streams();
        let own = streams.iter().filter(|(client, _)| *client == self.client).count();
        let Bounds { streams: most, streams_of_client, .. } = self.all.bounds;
        if own >= streams_of_client {
            return Err(NoStream::OfClient(streams_of_client));
        }
        if streams.len() >= most {
            let candidates = streams.iter().map(|(_, stream)| *stream);
            let victim = choice::for_a_stream(candidates, own).ok_or(NoStream::All(most))?;
            table.cut(victim);
        }
        self.activity.streams();
        Ok(())
    }

    /// Writing waits for the peer.
    pub(super) fn blocked(&self) {
        if self.activity.blocked() && self.all.answers.is_wanted() {
            self.all.drop_stalled(|_| true);
        }
    }

    /// Whether there is no other connection.
    pub(in crate::web) fn is_alone(&self) -> bool {
        self.all.places.available_permits() + 1 >= self.all.bounds.connections
    }

    /// How many answers there may be at a time.
    pub(super) fn most_answers(&self) -> usize {
        self.all.bounds.answers
    }
}

/// Takes a connection off the table, and its place with it.
struct Leaving {
    connection: Arc<Connection>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let Connection { id, client, of_client, all, .. } = &*self.connection;
        let mut table = all.locked();
        if table.entries.remove(id).is_some_and(|entry| entry.leaving) {
            table.leaving -= 1;
        }
        // Under the lock: nobody counts one more meanwhile.
        if of_client.fetch_sub(1, Ordering::Relaxed) == 1 {
            table.clients.remove(client);
        }
    }
}
