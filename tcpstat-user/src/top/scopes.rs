//! The scopes that the view shows, and their order.

use std::cmp::Reverse;

use super::details::Details;
use crate::{
    api::{ScopeJson, ScopeKindJson, ScopesJson},
    states::{State, state_word},
    text::{self, plain},
    tracker::ScopeKind,
};

/// A number of a scope, which its table has a column for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ScopeColumn {
    Established,
    #[default]
    CloseWait,
    TimeWait,
    SynSent,
    Listen,
    /// Sockets in any state.
    Total,
}

impl ScopeColumn {
    pub(super) const ALL: [Self; 6] = [
        Self::Established,
        Self::CloseWait,
        Self::TimeWait,
        Self::SynSent,
        Self::Listen,
        Self::Total,
    ];

    pub(super) fn word(self) -> &'static str {
        self.state().map_or("total", state_word)
    }

    /// `None` if a table has no column for the state.
    pub(super) fn of(state: State) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.state() == Some(state))
    }

    fn state(self) -> Option<State> {
        match self {
            Self::Established => Some(State::Established),
            Self::CloseWait => Some(State::CloseWait),
            Self::TimeWait => Some(State::TimeWait),
            Self::SynSent => Some(State::SynSent),
            Self::Listen => Some(State::Listen),
            Self::Total => None,
        }
    }
}

/// The order of a table of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScopeSort {
    /// The highest number first.
    By(ScopeColumn),
    Name,
}

impl Default for ScopeSort {
    fn default() -> Self {
        Self::By(ScopeColumn::default())
    }
}

impl ScopeSort {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::By(column) => column.word(),
            Self::Name => "name",
        }
    }

    /// The order that the key `s` changes to.
    pub(super) fn next(self) -> Self {
        use ScopeColumn::{CloseWait, Established, Listen, SynSent, TimeWait, Total};
        match self {
            Self::By(CloseWait) => Self::By(Established),
            Self::By(Established) => Self::By(TimeWait),
            Self::By(TimeWait) => Self::By(SynSent),
            Self::By(SynSent) => Self::By(Listen),
            Self::By(Listen) => Self::By(Total),
            Self::By(Total) => Self::Name,
            Self::Name => Self::By(CloseWait),
        }
    }
}

/// What is known of the scopes: each kind that is counted, or why they cannot be shown.
pub(super) type ScopesAnswer = Result<Vec<ScopeTable>, String>;

/// The scopes of one kind. All texts are safe to show on a terminal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ScopeTable {
    pub(super) kind: String,
    /// Scopes since the start that found no room.
    pub(super) overflow: u64,
    /// Scopes that cannot be counted.
    pub(super) hidden: u64,
    pub(super) rows: Vec<ScopeRow>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ScopeRow {
    pub(super) name: String,
    /// The inode number of the network namespace; `None` if it is not known, or if this is no namespace.
    pub(super) inode: Option<u64>,
    /// By [`ScopeColumn::ALL`]; `None` before the sockets are known.
    sockets: Option<[u64; ScopeColumn::ALL.len()]>,
    /// Ages and listeners. Nothing is known of those of a scope that is no network namespace.
    pub(super) details: Details,
}

impl ScopeTable {
    /// One for each kind.
    pub(super) fn all(json: &ScopesJson) -> Vec<Self> {
        json.kinds.iter().map(Self::new).collect()
    }

    fn new(json: &ScopeKindJson) -> Self {
        Self {
            kind: plain(&json.kind, text::VALUE).into_owned(),
            overflow: json.overflow,
            hidden: json.hidden,
            rows: json.scopes.iter().map(ScopeRow::new).collect(),
        }
    }

    /// Whether the details of this row are its own: those of a network namespace, and not those of the status, which are of
    /// the first one.
    pub(super) fn has_details(&self, row: &ScopeRow) -> bool {
        self.kind == ScopeKind::Netns.word()
            && self.rows.first().is_some_and(|own| own.name != row.name)
    }

    /// The rows in this order. Equal rows are ordered by their names.
    pub(super) fn sorted(&self, sort: ScopeSort) -> Vec<&ScopeRow> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|row| {
            let sockets = match sort {
                ScopeSort::By(column) => row.sockets(column),
                ScopeSort::Name => None,
            };
            (Reverse(sockets), &row.name)
        });
        rows
    }
}

impl ScopeRow {
    fn new(json: &ScopeJson) -> Self {
        let sockets = json.connections.as_ref().map(|connections| {
            let total = json.total.unwrap_or_else(|| connections.total());
            let of = |state| connections.get(state);
            ScopeColumn::ALL.map(|column| column.state().map_or(total, of))
        });
        let (ages, listeners) = (json.close_wait_ages.as_deref(), json.listeners.as_deref());
        Self {
            name: plain(&json.name, text::VALUE).into_owned(),
            inode: json.inode(),
            sockets,
            details: Details::of_scope(ages, listeners),
        }
    }

    /// `None` before the sockets are known.
    pub(super) fn sockets(&self, column: ScopeColumn) -> Option<u64> {
        self.sockets.map(|sockets| sockets[column as usize])
    }
}

#[cfg(test)]
pub(super) mod tests;
