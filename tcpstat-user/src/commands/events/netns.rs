//! Names of network namespaces, as the metrics have them.

use std::{
    collections::HashMap,
    path::PathBuf,
    time::{Duration, Instant},
};

use tracing::debug;

use super::{lines::Text, pace::Pace};
use crate::{
    procfs::Procfs,
    scopes::{NetnsKind, NetnsName, UniqueNames},
    tracker::Finder,
};

/// Most namespaces whose names are kept.
const MAX_NAMES: usize = 16_384;

/// A namespace without a name can get one: a container starts in it.
const NAMED_LATER: Duration = Duration::from_secs(2);

/// The names of network namespaces. It lists the processes when it meets an unknown one.
pub(super) struct NetnsNames {
    /// `None` if the procfs is not a mount.
    finder: Option<Finder>,
    found: Found,
    found_at: Option<Instant>,
    pace: Pace,
    known: HashMap<u64, Known>,
    unique: UniqueNames,
}

/// The namespaces with a process in them.
#[derive(Default)]
struct Found {
    /// By what the programs identify them by.
    by_key: HashMap<u64, NetnsName>,
    by_inode: HashMap<u64, NetnsName>,
}

struct Known {
    text: Text,
    inum: u32,
    named: bool,
}

impl NetnsNames {
    /// Names of pods are those of the directories in `pods`.
    pub(super) fn new(procfs: &Procfs, pods: PathBuf) -> Self {
        let finder = procfs.is_mount().then(|| Finder::new(procfs, pods, true));
        Self {
            finder,
            found: Found::default(),
            found_at: None,
            pace: Pace::default(),
            known: HashMap::new(),
            unique: UniqueNames::default(),
        }
    }

    /// Lists the namespaces, if that has not been done.
    pub(super) fn find_once(&mut self) {
        if self.found_at.is_none() {
            self.find();
        }
    }

    fn find(&mut self) {
        let Some(finder) = &mut self.finder else { return };
        let start = Instant::now();
        match finder.find() {
            Ok(found) => {
                let mut names = Found::default();
                for other in found.others {
                    if found.by_tasks {
                        names.by_key.insert(other.key, other.name);
                    } else if let Some(inode) = other.name.known_inode() {
                        names.by_inode.insert(inode, other.name);
                    }
                }
                if let Some(inode) = found.own.known_inode() {
                    names.by_inode.insert(inode, found.own);
                }
                self.found = names;
                let Self { known, unique, found, .. } = self;
                known.retain(|&key, known| {
                    let stays = known.named && found.has(key, known.inum);
                    if !stays {
                        unique.release(key);
                    }
                    stays
                });
            }
            Err(error) => debug!(%error, "names of network namespaces are not read"),
        }
        self.found_at = Some(start);
        self.pace.ended(start);
    }

    /// The name of the namespace with this key and this inode number: the number, if nothing names it.
    pub(super) fn name(&mut self, key: u64, inum: u32) -> &Text {
        let is_due = match self.known.get(&key) {
            None => true,
            Some(known) => {
                !known.named && self.found_at.is_none_or(|at| at.elapsed() >= NAMED_LATER)
            }
        };
        if is_due {
            // One that was found without a name is looked for again.
            let is_found = self.found.get(key, inum).is_some() && !self.known.contains_key(&key);
            if !is_found && self.pace.allows() {
                self.find();
            }
            if self.known.len() >= MAX_NAMES {
                self.known.clear();
                self.unique = UniqueNames::default();
            }
            let known = self.resolve(key, inum);
            self.known.insert(key, known);
        }
        let Self { known, .. } = self;
        &known
            .entry(key)
            .or_insert_with(|| Known { text: Text::new(inum.to_string()), inum, named: false })
            .text
    }

    /// The name of the namespace that this procfs lists.
    pub(super) fn own(&self, procfs: &Procfs) -> String {
        let inum = procfs.netns_inum().unwrap_or_default();
        let found = self.found.by_inode.get(&inum.into());
        found.map_or_else(|| inum.to_string(), |found| found.name.clone())
    }

    /// The inode numbers of the namespaces with this name. The metrics add `@INODE` to a name that is there twice.
    pub(super) fn inodes_of(&self, name: &str) -> Vec<u32> {
        let Found { by_key, by_inode } = &self.found;
        let named = by_key.values().chain(by_inode.values()).filter(|found| found.is_called(name));
        let inodes = named.filter_map(|found| u32::try_from(found.known_inode()?).ok());
        let mut inodes: Vec<_> = inodes.collect();
        inodes.sort_unstable();
        inodes.dedup();
        inodes
    }

    /// What the programs identify the namespace with this inode number by; `None` if no process is known to be in it.
    pub(super) fn key_of(&self, inum: u32) -> Option<u64> {
        let is_it = |name: &NetnsName| name.known_inode() == Some(inum.into());
        self.found.by_key.iter().find(|(_, name)| is_it(name)).map(|(&key, _)| key)
    }

    /// Whether a process is in the namespace with this inode number, or /run/netns has it, as far as tcpstat can see.
    pub(super) fn is_known(&self, inum: u32) -> bool {
        let named = |finder: &Finder| finder.name_of_inode(inum.into()).kind != NetnsKind::Unnamed;
        self.key_of(inum).is_some()
            || self.found.by_inode.contains_key(&inum.into())
            || self.finder.as_ref().is_some_and(named)
    }

    fn resolve(&mut self, key: u64, inum: u32) -> Known {
        let name = self.found.get(key, inum);
        let named = name.is_some_and(|name| name.kind != NetnsKind::Unnamed);
        let wanted = name.map_or_else(|| inum.to_string(), |name| name.name.clone());
        let unique = self.unique.name(key, &wanted, inum.into());
        Known { text: Text::new(unique.as_ref().to_owned()), inum, named }
    }
}

impl Found {
    fn has(&self, key: u64, inum: u32) -> bool {
        self.get(key, inum).is_some()
    }

    fn get(&self, key: u64, inum: u32) -> Option<&NetnsName> {
        self.by_key.get(&key).or_else(|| self.by_inode.get(&inum.into()))
    }
}
