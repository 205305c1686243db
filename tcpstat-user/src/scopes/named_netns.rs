//! Names of network namespaces in /run/netns, as `ip netns` makes and shows them.

use std::collections::HashMap;

use super::label::{LONGEST_NAME, label_value};

/// Names of network namespaces by inode.
///
/// The inodes are those of nsfs: a file whose mount is gone has an inode of another file system, which can
/// have the same number. The caller leaves such files out.
#[derive(Clone, Debug, Default)]
pub struct NamedNetns {
    by_inode: HashMap<u64, String>,
    left_out: usize,
}

impl NamedNetns {
    /// Most namespaces. Networks of containers put one here for each pod.
    pub const MOST: usize = 4_096;

    /// The table for the files of /run/netns: inode and name of each, in any order. At most [`Self::MOST`]
    /// namespaces; others are counted only.
    ///
    /// Of several names, one that a person chose comes before one that a network plugin made (`cni-UUID`),
    /// and then the first by its bytes.
    #[must_use]
    pub fn new<N: AsRef<[u8]>>(files: impl IntoIterator<Item = (u64, N)>) -> Self {
        let mut names = Self::default();
        for (inode, name) in files {
            let name = label_value(name.as_ref(), LONGEST_NAME);
            let room = names.by_inode.len() < Self::MOST && !name.is_empty();
            match names.by_inode.get_mut(&inode) {
                Some(there) if order(&name) < order(there) => *there = name,
                Some(_) => {}
                None if room => drop(names.by_inode.insert(inode, name)),
                None => names.left_out += 1,
            }
        }
        names
    }

    /// The name of the namespace with this inode, as a label value.
    #[must_use]
    pub fn get(&self, inode: u64) -> Option<&str> {
        self.by_inode.get(&inode).map(String::as_str)
    }

    /// How many files are past the bound.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }
}

fn order(name: &str) -> (bool, &str) {
    (name.starts_with("cni-"), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_the_name_that_a_person_chose() {
        let cni = "cni-c628a228-651e-e03e-d27d-bb5e87281846";
        for files in [[(7, cni), (7, "green"), (7, "blue")], [(7, "blue"), (7, cni), (7, "green")]]
        {
            assert_eq!(NamedNetns::new(files).get(7), Some("blue"));
        }
        let names = NamedNetns::new([(8, cni)]);
        assert_eq!((names.get(8), names.get(9)), (Some(cni), None));
    }

    #[test]
    fn names_are_label_values() {
        let names = NamedNetns::new([(1, &b"a\nb\xff"[..]), (2, &[b'a'; 500])]);
        assert_eq!(names.get(1), Some(r"a\nb\xff"));
        assert_eq!(names.get(2).map(str::len), Some(LONGEST_NAME + 3));
    }

    #[test]
    fn a_table_is_bounded() {
        let files = (0..NamedNetns::MOST + 10).map(|inode| (inode as u64, "name"));
        let names = NamedNetns::new(files);
        assert_eq!(names.by_inode.len(), NamedNetns::MOST);
        assert_eq!(names.left_out(), 10);
    }
}
