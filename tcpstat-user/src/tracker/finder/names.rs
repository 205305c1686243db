//! Names of network namespaces, with what /run/netns and /var/log/pods say.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

use nix::sys::statfs::{NSFS_MAGIC, statfs};

use super::Group;
use crate::scopes::{CgroupName, Identity, NamedNetns, NetnsKind, NetnsName, PodNames};

/// The directory of `ip netns`.
pub(crate) const NAMED: &str = "/run/netns";

/// A directory is read again after so many finds, even if nothing seems to have changed.
const MOST_FINDS: u32 = 16;

/// Most entries of a directory that are read.
const MOST_ENTRIES: usize = 65_536;

/// The names of namespaces and pods in two directories.
pub(super) struct Names {
    netns_directory: Directory,
    named: NamedNetns,
    pods_directory: Directory,
    pods: PodNames,
}

impl Names {
    /// `pods` has a directory for each pod. It need not exist.
    pub(super) fn new(pods: PathBuf) -> Self {
        Self {
            netns_directory: Directory::new(NAMED.into()),
            named: NamedNetns::default(),
            pods_directory: Directory::new(pods),
            pods: PodNames::default(),
        }
    }

    /// Reads the directories that have changed; both if there is a new namespace: a file in /run/netns becomes
    /// one without a change of the directory.
    pub(super) fn refresh(&mut self, new_namespace: bool) {
        if self.netns_directory.is_due(new_namespace) {
            self.named = NamedNetns::new(named(&self.netns_directory.path));
        }
        if self.pods_directory.is_due(new_namespace) {
            let names = entries(&self.pods_directory.path);
            self.pods = PodNames::new(names.iter().map(|name| name.as_bytes()));
        }
    }

    pub(super) fn name(&self, group: &Group) -> NetnsName {
        let cgroups = group.cgroups.iter().map(AsRef::as_ref);
        match group.inode {
            inode if group.of_pid_1 => NetnsName::host(inode.unwrap_or(0)),
            Some(inode) => NetnsName::new(inode, cgroups, &self.named, &self.pods),
            None => NetnsName::without_inode(group.key, cgroups, &self.pods),
        }
    }
}

impl Names {
    /// The name of a namespace of which no process is known.
    pub(super) fn of_inode(&self, inode: u64) -> NetnsName {
        NetnsName::new(inode, [], &self.named, &self.pods)
    }

    /// The name of what a process belongs to, by what its cgroup says: container, with its pod before it, machine, or
    /// unit; `None` for nothing that is known.
    pub(super) fn of_cgroup(&self, cgroup: &CgroupName) -> Option<String> {
        let owner = NetnsName::new(0, [cgroup], &NamedNetns::default(), &self.pods);
        match (owner.kind, cgroup.identity()) {
            (NetnsKind::Unnamed, _) => Some(cgroup.unit.as_ref()?.as_str().to_owned()),
            (NetnsKind::Pod, Some(Identity::Pod { container: Some(id), .. })) => {
                Some(format!("{}/{}", owner.name, id.short()))
            }
            _ => Some(owner.name),
        }
    }
}

/// A directory, and when it was last read.
struct Directory {
    path: PathBuf,
    /// Its device, inode, and time of the last change when it was last read; `None` if it did not exist.
    read: Option<[i64; 4]>,
    finds: u32,
}

impl Directory {
    fn new(path: PathBuf) -> Self {
        Self { path, read: None, finds: 0 }
    }

    /// Whether it is time to read it. It is assumed to be read then.
    fn is_due(&mut self, at_once: bool) -> bool {
        let now = fs::metadata(&self.path).ok().map(|directory| {
            let numbers = [directory.dev().cast_signed(), directory.ino().cast_signed()];
            [numbers[0], numbers[1], directory.mtime(), directory.mtime_nsec()]
        });
        self.finds = (self.finds + 1) % MOST_FINDS;
        let due = now != self.read || now.is_some() && (at_once || self.finds == 0);
        self.read = now;
        due
    }
}

/// The inode number of the network namespace at a path; `None` for another file. A namespace of another kind is known by the
/// link in PATH/PID/ns alone.
///
/// # Errors
/// If there is no file, or it cannot be read.
pub(crate) fn namespace_inode(path: &Path) -> io::Result<Option<u64>> {
    let file = fs::metadata(path)?;
    let is_namespace = statfs(path)?.filesystem_type() == NSFS_MAGIC;
    let link = fs::read_link(path).unwrap_or_default();
    let link = link.as_os_str().as_bytes();
    let is_of_other_kind = link.ends_with(b"]") && !link.starts_with(b"net:[");
    Ok((is_namespace && !is_of_other_kind).then(|| file.ino()))
}

/// The inode numbers and the names of the namespaces in a directory. A file that is no namespace is left out:
/// what was mounted on it is gone.
fn named(directory: &Path) -> Vec<(u64, Vec<u8>)> {
    let names = entries(directory).into_iter();
    names
        .filter_map(|name| {
            let inode = namespace_inode(&directory.join(&name)).ok().flatten()?;
            Some((inode, name.as_bytes().to_vec()))
        })
        .collect()
}

/// The names of the entries of a directory; none if it does not exist or cannot be read.
fn entries(directory: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(directory).into_iter().flatten().take(MOST_ENTRIES);
    entries.flatten().map(|entry| entry.file_name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_when_it_changes_and_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pods");
        let mut directory = Directory::new(path.clone());
        assert!(!directory.is_due(true), "it does not exist");
        fs::create_dir(&path).unwrap();
        assert!(directory.is_due(false));
        assert!(!directory.is_due(false));
        assert!(directory.is_due(true));
        fs::create_dir(path.join("shop_web-0_5c8f2a0e-9a31-4f0d-8a52-0c7d7e2f7d11")).unwrap();
        assert!(directory.is_due(false));
        assert!((0..MOST_FINDS).any(|_| directory.is_due(false)), "also without a change");
        fs::remove_dir_all(&path).unwrap();
        assert!(directory.is_due(false), "its names are forgotten");
        assert!(!directory.is_due(false));
    }

    #[test]
    fn files_that_are_no_namespaces_have_no_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("stale"), "").unwrap();
        assert_eq!(named(folder.path()), []);
        assert_eq!(entries(folder.path()), ["stale"]);
        assert_eq!(entries(&folder.path().join("missing")), [""; 0]);
    }
}
