//! Which network namespaces `--netns` means.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

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
    /// The namespace of this process.
    Own,
    Inode(u64),
    /// A name, or a path.
    Named(PathBuf),
}

/// A choice that means no namespace.
#[derive(Debug, Error)]
pub(crate) enum SelectorError {
    #[error(
        "{}: no network namespace has this name or path: `tcpstat who` shows the names; `other`, `cookie-KEY`, and `procfs-NUMBER` \
         are names in metrics only",
        .0.display()
    )]
    Unknown(PathBuf),
    #[error(
        "{0}: no network namespace with this inode number is found: `lsns -t net` shows the numbers"
    )]
    NoSuchInode(u64),
    #[error(
        "{}: this is not a network namespace: use a file that `ip netns add` made, or PATH/PID/ns/net of a process",
        .0.display()
    )]
    OtherFile(PathBuf),
    #[error(
        "{}: {cause}: run as root, grant CAP_SYS_PTRACE for PATH/PID/ns/net of another user's process, or give the number of \
         its inode",
        path.display()
    )]
    Denied { path: PathBuf, cause: io::Error },
    #[error("{}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error(
        "{0}: no network namespace of a visible process is this one: run tcpstat as root, or with CAP_BPF and CAP_PERFMON"
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
                    keys.push(key(inode_at(name)?, namespaces, &name.display().to_string())?);
                }
                keys
            }
        };
        Ok(Some(keys))
    }
}

/// The inode number of the network namespace at this path, or with this name of `ip netns`. It need not be entered.
///
/// # Errors
/// [`SelectorError`], apart from [`SelectorError::NotVisible`].
pub(crate) fn inode_at(name: &Path) -> Result<u64, SelectorError> {
    let is_path = name.as_os_str().as_encoded_bytes().contains(&b'/');
    let path = if is_path { name.to_owned() } else { Path::new(NAMED).join(name) };
    let name = name.to_owned();
    match namespace_inode(&path) {
        Ok(Some(inode)) => Ok(inode),
        Ok(None) => Err(SelectorError::OtherFile(name)),
        Err(cause) => Err(match cause.kind() {
            ErrorKind::NotFound => SelectorError::Unknown(name),
            ErrorKind::PermissionDenied => SelectorError::Denied { path: name, cause },
            _ => SelectorError::Unreadable { path: name, cause },
        }),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::Procfs;

    #[test]
    fn the_file_of_a_network_namespace_gives_its_number_and_another_file_does_not() {
        let namespaces = Path::new(Procfs::DEFAULT_ROOT).join("thread-self/ns");
        assert!(inode_at(&namespaces.join("net")).is_ok());
        let folder = tempfile::tempdir().unwrap();
        for other in [folder.path(), &namespaces.join("pid")] {
            let refused = inode_at(other).unwrap_err();
            assert!(matches!(refused, SelectorError::OtherFile(_)), "{refused}");
        }
        let missing = inode_at(&folder.path().join("missing")).unwrap_err();
        assert!(matches!(missing, SelectorError::Unknown(_)), "{missing}");
    }
}
