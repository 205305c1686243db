//! The network namespaces of a reading: their names, and what sockstat says of them.

use std::{path::PathBuf, sync::Arc};

use super::{
    super::{finder::Found, scopes::OTHER},
    HolderSource,
};
use crate::{
    holders::NetnsTotals,
    procfs::{Procfs, Sockstat},
    scopes::{NetnsName, UniqueNames},
};

/// The namespaces that have a process in them.
#[derive(Debug)]
pub(super) struct Namespaces {
    all: Vec<Namespace>,
    source: HolderSource,
    /// Whether there are processes that the procfs does not list, or whose files cannot be read (`hidepid`).
    has_hidden: bool,
}

/// A namespace with a process in it.
#[derive(Debug)]
pub(super) struct Namespace {
    /// What [`Socket::netns`](crate::holders::Socket::netns) is: the inode number, or a place in the list for a reading
    /// without BPF, where the number may not be known.
    pub(super) key: u64,
    pub(super) inode: Option<u64>,
    pub(super) name: NetnsName,
    /// Its name as it is shown: no other namespace has the same, as in the metrics.
    pub(super) label: Arc<str>,
    /// Procfs that list it; the first that does is as good as another.
    files: Vec<PathBuf>,
}

impl Namespaces {
    pub(super) fn new(found: Found, procfs: &Procfs, source: HolderSource) -> Self {
        let has_hidden = source == HolderSource::Descriptors && found.hidden > 0;
        let own = (found.own, vec![procfs.root().to_owned()]);
        let others = found.others.into_iter().map(|other| (other.name, other.processes));
        let all = (0..).zip(std::iter::once(own).chain(others));
        let mut labels = UniqueNames::new(&[OTHER]);
        let all = all.map(|(place, (name, files))| {
            let inode = name.known_inode();
            let label = labels.name(place, &name.name, name.inode);
            let key = match source {
                HolderSource::Iterator => inode.unwrap_or(0),
                HolderSource::Descriptors => place,
            };
            Namespace { key, inode, name, label, files }
        });
        Self { all: all.collect(), source, has_hidden }
    }

    /// The first is that of this process.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Namespace> {
        self.all.iter()
    }

    pub(super) fn get(&self, key: u64) -> Option<&Namespace> {
        self.all.iter().find(|namespace| namespace.key == key)
    }

    /// Whether a key is an inode number.
    pub(super) fn keys_are_inodes(&self) -> bool {
        self.source == HolderSource::Iterator
    }

    /// About how many sockets there are.
    pub(super) fn sockets(&self) -> usize {
        let inuse = self.all.iter().filter_map(Namespace::sockstat).map(|it| it.inuse.total());
        usize::try_from(inuse.sum::<u64>()).unwrap_or(0)
    }

    /// Hashed sockets of these namespaces that no process holds and that are in no accept queue, without `orphans`, which
    /// the kernel counts for the whole host: `inuse` of sockstat minus the others. All namespaces for `None`. `None` if
    /// sockstat cannot be read, or processes are hidden.
    pub(super) fn other(
        &self,
        totals: &[NetnsTotals],
        netns: Option<&[u64]>,
        procfs: &Procfs,
    ) -> Option<u64> {
        let chosen: Vec<_> =
            self.all.iter().filter(|it| netns.is_none_or(|all| all.contains(&it.key))).collect();
        if self.has_hidden || chosen.is_empty() {
            return None;
        }
        let mut other = 0_i64;
        for namespace in chosen {
            let totals = totals.iter().find(|totals| totals.netns == namespace.key);
            let seen = totals.map_or(0, |totals| totals.held + totals.queued);
            // Its last process can have ended: then its sockets have been closed.
            let Some(inuse) = namespace.sockstat() else { continue };
            other += inuse.inuse.total().cast_signed() - seen.cast_signed();
        }
        let orphans = if netns.is_none() { procfs.orphans().ok()? } else { 0 };
        Some(u64::try_from(other - orphans.cast_signed()).unwrap_or(0))
    }
}

impl Namespace {
    fn sockstat(&self) -> Option<Sockstat> {
        self.procfs().find_map(|procfs| procfs.sockstat().ok())
    }

    /// Procfs that list the namespace.
    pub(super) fn procfs(&self) -> impl Iterator<Item = Procfs> {
        self.files.iter().map(Procfs::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::finder::FoundNetns;

    #[test]
    fn namespaces_with_the_same_name_are_shown_with_different_ones() {
        let named =
            |name: &str, inode| NetnsName { name: name.to_owned(), ..NetnsName::host(inode) };
        let names = [("shop/web", 5), ("shop/web", 7), ("other", 9)];
        let others = names.map(|(name, inode)| FoundNetns {
            key: inode,
            name: named(name, inode),
            processes: Vec::new(),
        });
        let found =
            Found { own: named("host", 3), others: others.into(), hidden: 0, by_tasks: true };
        let procfs = Procfs::new(Procfs::DEFAULT_ROOT);
        let all = Namespaces::new(found, &procfs, HolderSource::Iterator);
        let labels: Vec<_> = all.iter().map(|it| it.label.as_ref()).collect();
        assert_eq!(labels, ["host", "shop/web", "shop/web@7", "other@9"]);
        assert!(all.iter().filter(|it| it.name.is_called("shop/web")).count() == 2);
    }
}
