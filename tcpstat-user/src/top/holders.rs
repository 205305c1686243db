//! The processes that hold sockets: what the view asks for, and the answer. All texts are safe to show on a terminal.

mod reading;

use std::{borrow::Cow, time::Duration};

use super::scopes::ScopeRow;
use crate::{
    states::State,
    text::{self, plain},
};

/// Most rows of processes, and most accept queues, that an answer has.
pub(super) const MAX_ROWS: usize = 200;

/// Which sockets the view asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) state: State,
    pub(super) place: Place,
}

/// Where these sockets are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the network namespace whose states the view shows.
    Own,
    /// In another one.
    Netns { name: String, inode: u64 },
    /// In the own namespace, held by processes of this cgroup.
    Cgroup(String),
    /// In the own namespace, with this local port.
    Port(u16),
    /// In a scope that cannot be asked for.
    Unknown(String),
}

/// The answer to a question, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) question: Question,
    pub(super) holders: Result<Holders, String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Holders {
    /// Sockets that processes hold.
    pub(super) sockets: u64,
    /// The rows with the most sockets first, at most [`MAX_ROWS`].
    pub(super) rows: Vec<HolderRow>,
    /// Rows beyond those.
    pub(super) more_rows: usize,
    /// Connections that no process has accepted, in any state; the longest queue first, at most [`MAX_ROWS`].
    pub(super) queues: Vec<QueueRow>,
    /// Processes whose sockets are not visible.
    pub(super) hidden: u64,
}

/// Processes that hold the same sockets.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HolderRow {
    pub(super) sockets: u64,
    /// The longest silence of a peer.
    pub(super) oldest: Option<Duration>,
    pub(super) processes: Processes,
    /// The most frequent local port, and the number of others.
    pub(super) port: String,
    /// The most frequent peer.
    pub(super) peer: String,
    /// Container or unit; empty if there is none.
    pub(super) unit: String,
}

/// An accept queue with connections in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueRow {
    pub(super) waiting: u64,
    pub(super) limit: Option<u64>,
    /// Address and port.
    pub(super) listener: String,
    /// The processes that hold the listener.
    pub(super) processes: Processes,
}

/// One of some processes, and the number of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Processes {
    /// Id and command.
    pub(super) first: String,
    pub(super) others: usize,
}

/// The view of holders while it is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HoldersView {
    pub(super) place: Place,
    /// Lines above the first one that is shown.
    pub(super) scrolled: usize,
}

impl Place {
    /// The place of a scope of this kind.
    pub(super) fn of_scope(kind: &str, scope: &ScopeRow) -> Self {
        let name = scope.name.clone();
        match (kind, scope.inode, name.parse()) {
            ("netns", Some(inode), _) => Self::Netns { name, inode },
            ("port", _, Ok(port)) => Self::Port(port),
            // Those of no cgroup and of those without room have other names.
            ("cgroup", ..) if name.starts_with('/') => Self::Cgroup(name),
            _ => Self::Unknown(name),
        }
    }

    /// The name of the scope; `None` for the own network namespace.
    pub(super) fn scope(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Own => None,
            Self::Netns { name, .. } | Self::Cgroup(name) | Self::Unknown(name) => {
                Some(name.into())
            }
            Self::Port(port) => Some(port.to_string().into()),
        }
    }
}

impl Answer {
    /// Makes the reason why there is no answer safe to show.
    pub(super) fn plain(mut self) -> Self {
        if let Err(problem) = &mut self.holders {
            *problem = plain(problem, text::MESSAGE).into_owned();
        }
        self
    }
}

impl Holders {
    /// Lines of the list: rows, and the accept queues below their title.
    pub(super) fn lines(&self) -> usize {
        self.rows.len() + self.queues.len() + usize::from(!self.queues.is_empty())
    }
}

impl Processes {
    /// So many, of which one has this id and command; `None` if they are not known.
    pub(super) fn new(first: Option<(u32, &str)>, all: usize) -> Self {
        let first = first.map(|(pid, command)| format!("{pid} {}", plain(command, text::VALUE)));
        Self {
            first: first.unwrap_or_else(|| "not visible".to_owned()),
            others: all.saturating_sub(1),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
