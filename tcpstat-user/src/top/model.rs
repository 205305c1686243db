//! What the view shows, and what keys change. No I/O and no clock.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

mod marker;

use super::{
    holders::HoldersView,
    numbers::{Numbers, StateRow, Update},
    scopes::{ScopeRow, ScopeSort, ScopeTable, ScopesAnswer},
};
use crate::{
    states::{Family, State},
    text::{self, plain},
};
use marker::{ScopeId, Step};

/// The order of the states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// The kernel's order.
    #[default]
    States,
    /// The state with the most sockets first.
    Count,
    /// The state with the most arrivals and departures first.
    Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Quit,
}

/// What the view shows of the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum View {
    #[default]
    States,
    Details,
    /// With the position of their kind.
    Scopes(usize),
    /// The details of the marked one, with the position of its kind.
    ScopeDetails(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    live: Numbers,
    /// The numbers that are shown while the view is paused.
    frozen: Option<Numbers>,
    family: Option<Family>,
    sort: Sort,
    view: View,
    scope_sort: ScopeSort,
    marked_state: State,
    /// `None` for the first one.
    marked_scope: Option<ScopeId>,
    /// Shown in place of `view`; `None` if it is closed.
    holders_view: Option<HoldersView>,
    interval: Duration,
    help: bool,
    message: Option<String>,
}

/// The intervals that the keys + and - choose from.
const INTERVALS: [Duration; 8] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
];

impl Model {
    /// A model without numbers.
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            live: Numbers::default(),
            frozen: None,
            family: None,
            sort: Sort::default(),
            view: View::default(),
            scope_sort: ScopeSort::default(),
            // What a leak looks like.
            marked_state: State::CloseWait,
            marked_scope: None,
            holders_view: None,
            interval,
            help: false,
            message: None,
        }
    }

    /// Adds new samples. While the view is paused they are not shown.
    pub(super) fn add(&mut self, update: Update) {
        for sample in update.samples {
            self.live.history.push(sample);
        }
        let mut status = update.status;
        match status.details.closed.take() {
            Some(counts) => self.live.closed.add(status.details.uptime_ms, counts),
            None => self.live.closed.clear(),
        }
        self.live.status = status.plain();
    }

    /// Sets the scopes; `None` if they are not known, or not wanted. A paused view keeps those that it shows.
    pub(super) fn set_scopes(&mut self, scopes: Option<ScopesAnswer>) {
        let scopes = scopes
            .map(|answer| answer.map_err(|problem| plain(&problem, text::MESSAGE).into_owned()));
        if let Some(frozen) = &mut self.frozen
            && (frozen.scopes.is_none() || scopes.is_none())
        {
            frozen.scopes.clone_from(&scopes);
        }
        self.live.scopes = scopes;
    }

    /// Sets the last line of the log.
    pub(super) fn set_message(&mut self, message: Option<String>) {
        self.message = message.map(|message| plain(&message, text::MESSAGE).into_owned());
    }

    pub(super) fn press(&mut self, key: KeyEvent) -> Flow {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Flow::Quit,
            _ if control => {}
            KeyCode::Char('q') => return Flow::Quit,
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Esc => self.holders_view = None,
            KeyCode::Char('?' | 'h') => self.help = !self.help,
            KeyCode::Char(' ' | 'p') => {
                self.frozen = if self.paused() { None } else { Some(self.live.clone()) };
            }
            KeyCode::Char('w') => self.toggle_holders(),
            KeyCode::Up | KeyCode::Char('k') => self.step(Step::Back),
            KeyCode::Down | KeyCode::Char('j') => self.step(Step::Forward),
            KeyCode::Left | KeyCode::Char('[') => self.change_state(Step::Back),
            KeyCode::Right | KeyCode::Char(']') => self.change_state(Step::Forward),
            KeyCode::Char('v') => self.show(self.next_kind()),
            KeyCode::Char('d') => {
                self.keep_mark();
                self.show(self.details_or_back());
            }
            KeyCode::Char('s') if self.shows_scopes() => self.scope_sort = self.scope_sort.next(),
            KeyCode::Char('s') if self.shows_details() || self.holders_view.is_some() => {}
            KeyCode::Char('s') => {
                self.sort = match self.sort {
                    Sort::States => Sort::Count,
                    Sort::Count => Sort::Rate,
                    Sort::Rate => Sort::States,
                }
            }
            KeyCode::Char('f') => {
                self.family = match self.family {
                    None => Some(Family::Ipv4),
                    Some(Family::Ipv4) => Some(Family::Ipv6),
                    Some(Family::Ipv6) => None,
                }
            }
            // + and =, like - and _, are the same key with and without Shift.
            KeyCode::Char('+' | '=') => {
                let longer = INTERVALS.into_iter().find(|step| *step > self.interval);
                self.interval = longer.unwrap_or(self.interval);
            }
            KeyCode::Char('-' | '_') => {
                let shorter = INTERVALS.into_iter().rev().find(|step| *step < self.interval);
                self.interval = shorter.unwrap_or(self.interval);
            }
            _ => {}
        }
        Flow::Continue
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.holders_view = None;
    }

    /// The details of the marked scope, if it has its own, else those of the own namespace; the view before them, if they are
    /// shown.
    fn details_or_back(&self) -> View {
        match self.view {
            View::Details if self.shows_details() => View::States,
            View::ScopeDetails(kind) if self.shows_details() => View::Scopes(kind),
            View::Scopes(kind) | View::ScopeDetails(kind) if self.marked_has_details() => {
                View::ScopeDetails(kind)
            }
            _ => View::Details,
        }
    }

    /// After the last kind, the states; after the holders, the kind before them.
    fn next_kind(&self) -> View {
        let shown = match self.view {
            View::Scopes(shown) => shown,
            View::ScopeDetails(shown) => return View::Scopes(shown),
            View::States | View::Details => return View::Scopes(0),
        };
        if self.holders_view.is_some() {
            return self.view;
        }
        let kinds = match &self.shown().scopes {
            Some(Ok(tables)) => tables.len(),
            _ => 0,
        };
        if shown + 1 < kinds { View::Scopes(shown + 1) } else { View::States }
    }

    pub(super) fn shown(&self) -> &Numbers {
        self.frozen.as_ref().unwrap_or(&self.live)
    }

    /// The states in the chosen order.
    pub(super) fn rows(&self) -> Vec<StateRow> {
        let mut rows = self.shown().rows(self.family);
        // The sort is stable: equal rows stay in the kernel's order.
        match self.sort {
            Sort::States => {}
            Sort::Count => rows.sort_by_key(|row| std::cmp::Reverse(row.sockets)),
            Sort::Rate => rows.sort_by(|one, other| activity(other).total_cmp(&activity(one))),
        }
        rows
    }

    /// Whether the view shows scopes instead of the states.
    pub(super) fn shows_scopes(&self) -> bool {
        matches!(self.view, View::Scopes(_)) && self.holders_view.is_none()
    }

    /// Whether scopes have to be read: the view shows them, or returns to them.
    pub(super) fn wants_scopes(&self) -> bool {
        matches!(self.view, View::Scopes(_) | View::ScopeDetails(_))
    }

    /// Whether the view shows ages and listeners, and causes of the own namespace, instead of the states.
    pub(super) fn shows_details(&self) -> bool {
        matches!(self.view, View::Details | View::ScopeDetails(_)) && self.holders_view.is_none()
    }

    /// The network namespace whose details are shown; `None` for the own one.
    pub(super) fn detailed_scope(&self) -> Option<&ScopeRow> {
        let is_shown = matches!(self.view, View::ScopeDetails(_)) && self.marked_has_details();
        self.marked_scope().filter(|_| is_shown).map(|(_, row)| row)
    }

    fn marked_has_details(&self) -> bool {
        let table = self.scope_table().ok().flatten();
        table.zip(self.marked_scope()).is_some_and(|(table, (_, row))| table.has_details(row))
    }

    /// The scopes of the kind that is shown; `None` if none are counted.
    ///
    /// # Errors
    /// Why they cannot be shown; `None` if they have not been read yet.
    pub(super) fn scope_table(&self) -> Result<Option<&ScopeTable>, Option<&str>> {
        let tables = match &self.shown().scopes {
            None => return Err(None),
            Some(Err(problem)) => return Err(Some(problem)),
            Some(Ok(tables)) => tables,
        };
        let (View::Scopes(shown) | View::ScopeDetails(shown)) = self.view else { return Ok(None) };
        Ok(tables.get(shown).or(tables.last()))
    }

    pub(super) fn scope_sort(&self) -> ScopeSort {
        self.scope_sort
    }

    /// Whether something that the view shows has not been read yet.
    pub(super) fn waits(&self) -> bool {
        self.is_empty()
            || (self.shows_scopes() && self.live.scopes.is_none())
            || (self.wanted_holders().is_some() && self.answer().is_none())
    }

    /// Whether no sample has been added yet.
    pub(super) fn is_empty(&self) -> bool {
        self.live.history.newest().is_none()
    }

    pub(super) fn paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// `None` means both.
    pub(super) fn family(&self) -> Option<Family> {
        self.family
    }

    pub(super) fn sort(&self) -> Sort {
        self.sort
    }

    /// Time between two updates.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether the help is shown.
    pub(super) fn help(&self) -> bool {
        self.help
    }

    /// The last line of the log.
    pub(super) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

fn activity(row: &StateRow) -> f64 {
    row.arrivals.unwrap_or_default() + row.departures.unwrap_or_default()
}
