//! The one network namespace whose transitions are shown. The programs compare its inode number, which comes again as soon as
//! the namespace is gone.

/// Tells the chosen network namespace from later ones with its inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChosenNetns {
    /// All namespaces are chosen.
    All,
    /// One, whose key is not known: that of the first transition.
    Next,
    /// The one with this key.
    Key(u64),
}

impl ChosenNetns {
    /// Whether a transition that the programs have written, in the namespace with this key, is shown.
    pub(super) fn has(&mut self, key: u64) -> bool {
        match *self {
            Self::All => true,
            Self::Next => {
                *self = Self::Key(key);
                true
            }
            Self::Key(chosen) => chosen == key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_namespace_with_the_same_inode_number_is_not_chosen() {
        let mut all = ChosenNetns::All;
        assert!(all.has(4097) && all.has(8193));
        let mut known = ChosenNetns::Key(4097);
        assert!(!known.has(8193) && known.has(4097));
        let mut next = ChosenNetns::Next;
        assert!(next.has(8193) && !next.has(4097) && next.has(8193));
    }
}
