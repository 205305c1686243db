//! What a search says about the namespaces that were known before it.

use std::collections::HashSet;

use super::{Found, NetnsKey};

/// The namespaces that a search has found, without the own one.
pub(super) struct Present {
    pub(super) keys: HashSet<NetnsKey>,
    /// Their inode numbers, those that are known. Namespaces that exist have different ones, so another namespace with one of these has ended.
    pub(super) inodes: HashSet<u64>,
}

impl Present {
    pub(super) fn new(found: &Found) -> Self {
        Self {
            keys: found.others.iter().map(|netns| netns.key).collect(),
            inodes: found
                .others
                .iter()
                .map(|netns| netns.name.inode)
                .filter(|&inode| inode != 0)
                .collect(),
        }
    }
}
