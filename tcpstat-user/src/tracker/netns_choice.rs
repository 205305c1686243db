//! Which network namespaces are counted.

use std::path::PathBuf;

/// Which network namespaces are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetnsChoice {
    /// The namespace of this process, or the one that `--path.procfs` lists.
    Own,
    /// All that have a process or a socket event, each as a scope.
    All,
    /// The one at this path. [`Tracker::procfs`](super::Tracker::procfs) lists it.
    Path(PathBuf),
}
