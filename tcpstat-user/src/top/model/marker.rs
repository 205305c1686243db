//! The marked state and the marked scope, and the view of the processes that hold their sockets.

use super::{Model, View};
use crate::{
    states::State,
    top::{
        holders::{Answer, Holders, HoldersView, Place, Question},
        scopes::{ScopeColumn, ScopeRow, ScopeTable},
    },
};

/// The direction of an arrow key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Back,
    Forward,
}

/// A scope, whatever the order of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ScopeId {
    kind: String,
    name: String,
}

impl ScopeId {
    fn new(table: &ScopeTable, row: &ScopeRow) -> Self {
        Self { kind: table.kind.clone(), name: row.name.clone() }
    }
}

impl Model {
    /// The state whose sockets the view of holders asks for.
    pub(in crate::top) fn marked_state(&self) -> State {
        self.marked_state
    }

    /// The marked scope of the kind that is shown, and its place: the first one until another is marked, and after
    /// that one has ended.
    pub(in crate::top) fn marked_scope(&self) -> Option<(usize, &ScopeRow)> {
        let table = self.scope_table().ok()??;
        let rows = table.sorted(self.scope_sort);
        let marked = self.marked_scope.as_ref().filter(|marked| marked.kind == table.kind);
        let place = marked.and_then(|marked| rows.iter().position(|row| row.name == marked.name));
        let place = place.unwrap_or_default();
        rows.get(place).map(|row| (place, *row))
    }

    /// Marks the next or the previous one, or scrolls.
    pub(super) fn step(&mut self, step: Step) {
        if self.holders_view.is_some() {
            self.scroll(step);
            return;
        }
        match self.view {
            View::States => {
                let states: Vec<_> = self.rows().iter().map(|row| row.state).collect();
                let place = states.iter().position(|state| *state == self.marked_state);
                let next = states.get(moved(place.unwrap_or_default(), step, states.len()));
                self.marked_state = next.copied().unwrap_or(self.marked_state);
            }
            View::Scopes(_) | View::ScopeDetails(_) => self.mark_scope(step),
            View::Details => {}
        }
    }

    /// Keeps the scope marked that is marked now, whatever becomes the first one.
    pub(super) fn keep_mark(&mut self) {
        let Ok(Some(table)) = self.scope_table() else { return };
        self.marked_scope = self.marked_scope().map(|(_, row)| ScopeId::new(table, row));
    }

    fn mark_scope(&mut self, step: Step) {
        let Some((place, _)) = self.marked_scope() else { return };
        let Ok(Some(table)) = self.scope_table() else { return };
        let rows = table.sorted(self.scope_sort);
        let row = rows.get(moved(place, step, rows.len()));
        self.marked_scope = row.map(|row| ScopeId::new(table, row));
    }

    fn scroll(&mut self, step: Step) {
        let lines = self.answer().and_then(|answer| answer.holders.as_ref().ok());
        let lines = lines.map_or(0, Holders::lines);
        if let Some(view) = &mut self.holders_view {
            view.scrolled = moved(view.scrolled, step, lines);
        }
    }

    /// Scrolls the list of processes back to this line, if it is farther.
    pub(in crate::top) fn scroll_at_most(&mut self, line: usize) {
        if let Some(view) = &mut self.holders_view {
            view.scrolled = view.scrolled.min(line);
        }
    }

    /// Opens the view of holders for what is marked, or closes it.
    pub(super) fn toggle_holders(&mut self) {
        if self.holders_view.take().is_some() {
            return;
        }
        let place = match (self.scope_table(), self.marked_scope()) {
            (Ok(Some(table)), Some((_, row))) => Place::of_scope(&table.kind, row),
            _ => Place::Own,
        };
        self.holders_view = Some(HoldersView { place, scrolled: 0 });
    }

    /// Asks for another state in the view of holders.
    pub(super) fn change_state(&mut self, step: Step) {
        let Some(view) = &mut self.holders_view else { return };
        view.scrolled = 0;
        let states = State::ALL;
        let place = states.iter().position(|state| *state == self.marked_state);
        self.marked_state = states[moved(place.unwrap_or_default(), step, states.len())];
    }

    /// The view of holders; `None` if it is not open.
    pub(in crate::top) fn holders_view(&self) -> Option<&HoldersView> {
        self.holders_view.as_ref()
    }

    /// What the view of holders asks; `None` if it is not open.
    pub(in crate::top) fn question(&self) -> Option<Question> {
        let view = self.holders_view.as_ref()?;
        Some(Question { state: self.marked_state, place: view.place.clone() })
    }

    /// The sockets that the question is about, as they are counted: held or not. `None` if they are not known.
    pub(in crate::top) fn counted(&self) -> Option<u64> {
        let question = self.question()?;
        let Some(name) = question.place.scope() else {
            let rows = self.shown().rows(None);
            return rows.iter().find(|row| row.state == question.state).map(|row| row.sockets);
        };
        let table = self.scope_table().ok()??;
        table.rows.iter().find(|row| row.name == name)?.sockets(ScopeColumn::of(question.state)?)
    }

    /// What has to be read; `None` if nothing has: a paused view keeps the answer that it shows.
    pub(in crate::top) fn wanted_holders(&self) -> Option<Question> {
        let keeps = self.paused() && self.answer().is_some();
        self.question().filter(|question| !keeps && !matches!(question.place, Place::Unknown(_)))
    }

    /// Sets the newest answer; `None` if there is none. A paused view keeps the one that it shows.
    pub(in crate::top) fn set_holders(&mut self, answer: Option<Answer>) {
        let answer = answer.map(Answer::plain);
        let keeps = self.holders_view.is_some() && self.answer().is_some();
        if let Some(frozen) = &mut self.frozen
            && !keeps
        {
            frozen.holders.clone_from(&answer);
        }
        self.live.holders = answer;
        if let Some(Ok(holders)) = self.answer().map(|answer| &answer.holders) {
            self.scroll_at_most(holders.lines().saturating_sub(1));
        }
    }

    /// The answer to the question of the view; `None` before it has arrived.
    pub(in crate::top) fn answer(&self) -> Option<&Answer> {
        let question = self.question()?;
        self.shown().holders.as_ref().filter(|answer| answer.question == question)
    }
}

/// The place beside `place` of so many, if there is one.
fn moved(place: usize, step: Step, all: usize) -> usize {
    match step {
        Step::Back => place.saturating_sub(1),
        Step::Forward => (place + 1).min(all.saturating_sub(1)),
    }
}
