//! Which network namespaces `--netns` means.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{
    super::finder::{NAMED, namespace_inode},
    namespaces::Namespaces,
};
use crate::scopes::NetnsName;

/// A choice of network namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum NetnsSelector {
    #[default]
    All,
    /// That of this process.
    Own,
    Inode(u64),
    /// A name, or a path.
    Named(PathBuf),
}

/// A choice that means no namespace.
#[derive(Debug, Error)]
pub(crate) enum SelectorError {
    #[error("{}: no network namespace has this name or path: `tcpstat who` shows the names", .0.display())]
    Unknown(PathBuf),
    #[error(
        "{0}: no network namespace with this inode number is found: `lsns -t net` shows the numbers"
    )]
    NoSuchInode(u64),
    #[error(
        "{0}: no visible process is in this network namespace: run tcpstat as root, or with CAP_BPF and CAP_PERFMON"
    )]
    NotVisible(String),
}

impl NetnsSelector {
    /// The keys of the chosen namespaces; `None` for all.
    ///
    /// # Errors
    /// [`SelectorError`].
    pub(super) fn keys(&self, namespaces: &Namespaces) -> Result<Option<Vec<u64>>, SelectorError> {
        let keys = match self {
            Self::All => return Ok(None),
            Self::Own => namespaces.iter().take(1).map(|namespace| namespace.key).collect(),
            Self::Inode(inode) => vec![key(*inode, namespaces, &inode.to_string())?],
            Self::Named(name) => {
                let text = name.to_str();
                let is_meant = |name: &NetnsName| text.is_some_and(|text| name.is_called(text));
                let named = namespaces.iter().filter(|it| is_meant(&it.name));
                let mut keys: Vec<_> = named.map(|namespace| namespace.key).collect();
                if keys.is_empty() {
                    let is_path = name.as_os_str().as_encoded_bytes().contains(&b'/');
                    let path = if is_path { name.clone() } else { Path::new(NAMED).join(name) };
                    let inode = namespace_inode(&path).ok().flatten();
                    let inode = inode.ok_or_else(|| SelectorError::Unknown(name.clone()))?;
                    keys.push(key(inode, namespaces, &name.display().to_string())?);
                }
                keys
            }
        };
        Ok(Some(keys))
    }
}

/// `word` is what was asked for.
fn key(inode: u64, namespaces: &Namespaces, word: &str) -> Result<u64, SelectorError> {
    if namespaces.keys_are_inodes() {
        return Ok(inode);
    }
    let found = namespaces.iter().find(|namespace| namespace.inode == Some(inode));
    found.map(|it| it.key).ok_or_else(|| SelectorError::NotVisible(word.to_owned()))
}
