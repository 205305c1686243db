//! Each socket once, with its holders, in 28 bytes and at most 11 of an index. An IPv6 peer takes 16 more.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use tcpstat_ebpf::State;

use super::{
    Queue, Socket,
    sets::{SetId, Sets},
};

/// Entries of a part of the table. Growing does not copy the parts that there are.
const CHUNK: usize = 4096;

/// The sockets of a reading, each with the processes that hold it.
#[derive(Debug, Default)]
pub struct HolderTable {
    chunks: Vec<Vec<Entry>>,
    ipv6: Vec<Vec<[u8; 16]>>,
    index: Index,
    pub(super) sets: Sets,
    /// By the place of the socket.
    pub(super) queues: HashMap<u32, Queue>,
}

/// What the table keeps of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// [`Socket::key`] in two halves: it needs no alignment to 8 bytes then.
    key: [u32; 2],
    pub(super) set: SetId,
    /// [`NOT_KNOWN`] for `None`.
    silence: u32,
    /// An IPv4 address, or the place of an IPv6 address.
    remote: u32,
    pub(super) local_port: u16,
    remote_port: u16,
    pub(super) state: State,
    remote_kind: RemoteKind,
    /// Whether processes hold it that are not in its set: there are too many sets.
    pub(super) has_more_processes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RemoteKind {
    None,
    Ipv4,
    Ipv6,
}

const NOT_KNOWN: u32 = u32::MAX;

const _: () = assert!(size_of::<Entry>() == 28);

impl HolderTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty table that has room for so many sockets before it grows.
    #[must_use]
    pub fn with_capacity(sockets: usize) -> Self {
        Self { index: Index::with_capacity(sockets), ..Self::default() }
    }

    /// An empty table in which at most so many sets of several processes share sockets.
    #[cfg(test)]
    pub(super) fn with_most_shared(sets: usize) -> Self {
        Self { sets: Sets::with_most_shared(sets), ..Self::default() }
    }

    /// Adds a socket, if it is not there. Nobody holds it yet.
    ///
    /// If the table has another socket with this key, that one has been closed meanwhile: the new one replaces it.
    pub fn add(&mut self, socket: &Socket) {
        self.place(socket);
    }

    /// Adds a descriptor of a process; `None` if there is no such socket.
    pub fn hold(&mut self, key: u64, pid: u32) -> Option<()> {
        let Self { chunks, index, .. } = self;
        let place = index.find(key, |place| entry(chunks, place).key()).ok()?;
        self.hold_place(place, pid);
        Some(())
    }

    /// Adds a socket, and a descriptor of a process.
    pub fn add_held(&mut self, socket: &Socket, pid: u32) {
        let place = self.place(socket);
        self.hold_place(place, pid);
    }

    fn hold_place(&mut self, place: u32, pid: u32) {
        let set = self.entry(place).set;
        match self.sets.with(set, pid) {
            Some(with) if with != set => self.entry_mut(place).set = with,
            Some(_) => {}
            None => self.entry_mut(place).has_more_processes = true,
        }
    }

    /// The place of the socket, where it is put if it is not there.
    fn place(&mut self, socket: &Socket) -> u32 {
        let Self { chunks, index, .. } = self;
        match index.find(socket.key, |place| entry(chunks, place).key()) {
            Ok(place) => {
                let entry = *self.entry(place);
                let is_same = entry.local_port == socket.local_port
                    && self.remote(&entry) == socket.remote
                    && self.sets.netns(entry.set) == socket.netns;
                if !is_same {
                    let new = self.new_entry(socket);
                    *self.entry_mut(place) = new;
                    self.set_queue(place, socket);
                }
                place
            }
            Err(slot) => {
                let new = self.new_entry(socket);
                let place = push(&mut self.chunks, new);
                let Self { chunks, index, .. } = self;
                index.insert(slot, place, chunks.iter().flatten().map(Entry::key));
                self.set_queue(place, socket);
                place
            }
        }
    }

    fn set_queue(&mut self, place: u32, socket: &Socket) {
        match socket.queue {
            Some(queue) => drop(self.queues.insert(place, queue)),
            None if self.queues.is_empty() => {}
            None => drop(self.queues.remove(&place)),
        }
    }

    fn new_entry(&mut self, socket: &Socket) -> Entry {
        let (remote_kind, remote, remote_port) = match socket.remote {
            None => (RemoteKind::None, 0, 0),
            Some((IpAddr::V4(address), port)) => (RemoteKind::Ipv4, address.to_bits(), port),
            Some((IpAddr::V6(address), port)) => {
                (RemoteKind::Ipv6, push(&mut self.ipv6, address.octets()), port)
            }
        };
        Entry {
            key: halves(socket.key),
            set: self.sets.empty(socket.netns),
            silence: socket.silence.unwrap_or(NOT_KNOWN),
            remote,
            local_port: socket.local_port,
            remote_port,
            state: socket.state,
            remote_kind,
            has_more_processes: false,
        }
    }

    /// All sockets, each with its place.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (0..).zip(self.chunks.iter().flatten())
    }

    pub(super) fn remote(&self, entry: &Entry) -> Option<(IpAddr, u16)> {
        let address = match entry.remote_kind {
            RemoteKind::None => return None,
            RemoteKind::Ipv4 => Ipv4Addr::from_bits(entry.remote).into(),
            RemoteKind::Ipv6 => {
                let place = entry.remote as usize;
                Ipv6Addr::from(self.ipv6[place / CHUNK][place % CHUNK]).into()
            }
        };
        Some((address, entry.remote_port))
    }

    pub(super) fn entry(&self, place: u32) -> &Entry {
        entry(&self.chunks, place)
    }

    fn entry_mut(&mut self, place: u32) -> &mut Entry {
        &mut self.chunks[place as usize / CHUNK][place as usize % CHUNK]
    }
}

impl Entry {
    fn key(&self) -> u64 {
        u64::from(self.key[0]) << 32 | u64::from(self.key[1])
    }

    pub(super) fn silence(&self) -> Option<u32> {
        (self.silence != NOT_KNOWN).then_some(self.silence)
    }
}

fn halves(key: u64) -> [u32; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    [(key >> 32) as u32, key as u32]
}

fn entry(chunks: &[Vec<Entry>], place: u32) -> &Entry {
    &chunks[place as usize / CHUNK][place as usize % CHUNK]
}

/// Adds an element, and returns its place.
fn push<T>(chunks: &mut Vec<Vec<T>>, element: T) -> u32 {
    if chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
        chunks.push(Vec::with_capacity(CHUNK));
    }
    let before = (chunks.len() - 1) * CHUNK;
    let chunk = chunks.last_mut().map_or(0, |chunk| {
        chunk.push(element);
        chunk.len() - 1
    });
    // The memory of no host has room for so many.
    u32::try_from(before + chunk).unwrap_or(u32::MAX)
}

/// The places of the sockets by their keys: open addressing, and 4 bytes for each slot.
#[derive(Debug, Default)]
struct Index {
    /// 0 for an empty slot, else one more than a place. Their number is a power of two.
    slots: Vec<u32>,
    used: usize,
}

const MIN_SLOTS: usize = 1024;

/// Most slots at the start. They take 64 MiB of memory only as far as they are used.
const MAX_SLOTS_AT_START: usize = 1 << 24;

impl Index {
    fn with_capacity(sockets: usize) -> Self {
        let slots = (sockets.saturating_mul(4) / 3 + 1).next_power_of_two();
        Self { slots: vec![0; slots.clamp(MIN_SLOTS, MAX_SLOTS_AT_START)], used: 0 }
    }

    /// The place of the socket with this key, else the slot for it.
    fn find(&self, key: u64, key_of: impl Fn(u32) -> u64) -> Result<u32, usize> {
        if self.slots.is_empty() {
            return Err(0);
        }
        let mut slot = self.first_slot(key);
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                place if key_of(place - 1) == key => return Ok(place - 1),
                _ => slot = (slot + 1) % self.slots.len(),
            }
        }
    }

    /// Puts a place into the slot that [`Index::find`] gave for its key. `keys` are all keys by their places, with this
    /// one.
    fn insert(&mut self, slot: usize, place: u32, keys: impl Iterator<Item = u64>) {
        self.used += 1;
        if self.used * 4 <= self.slots.len() * 3 {
            self.slots[slot] = place + 1;
            return;
        }
        self.slots = vec![0; (self.slots.len() * 2).max(MIN_SLOTS)];
        for (place, key) in (1..).zip(keys) {
            let mut slot = self.first_slot(key);
            while self.slots[slot] != 0 {
                slot = (slot + 1) % self.slots.len();
            }
            self.slots[slot] = place;
        }
    }

    fn first_slot(&self, key: u64) -> usize {
        // The golden ratio: neighbouring addresses get slots that are far apart.
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        #[expect(clippy::cast_possible_truncation, reason = "as many bits as there are slots")]
        let slot = (hash >> (64 - self.slots.len().trailing_zeros())) as usize;
        slot
    }
}
