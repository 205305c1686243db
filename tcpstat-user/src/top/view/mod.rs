//! The frame: a header, the states and the most frequent transitions, or causes, ages, and listeners, or
//! the scopes of a kind, or the holders of sockets, and the keys. In 40 columns by 10 rows and more, it has every state.

mod bar;
mod details;
mod footer;
mod header;
mod help;
mod holders;
mod listeners;
mod number;
mod scopes;
mod states;
mod status_line;
mod theme;
mod transitions;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
};

pub(crate) use theme::Theme;

use super::Model;
use crate::states::State;

/// Minimum height of a view in which the header has two lines, and the log one.
const TWO_LINE_HEIGHT: u16 = 16;

/// Minimum height of a view in which header and log may have more lines.
const MULTI_LINE_HEIGHT: u16 = 20;

const STATES: u16 = 11;
const _: () = assert!(STATES as usize == State::ALL.len());

/// The states and a title.
const TABLE_ROWS: u16 = STATES + 1;

pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let [header, body, log, keys] = parts(frame.area(), model, theme);
    header::draw(frame, header, model, theme);
    draw_body(frame, body, model, theme);
    footer::message(frame, log, model, theme);
    footer::keys(frame, keys, model);
    if model.help() {
        help::draw(frame, theme);
    }
}

/// Scrolls the list of processes back where less than a page of it would be shown in `area`.
pub(super) fn fit(model: &mut Model, area: Rect, theme: Theme) {
    let Some(Ok(holders)) = model.answer().map(|answer| &answer.holders) else { return };
    let [_, body, ..] = parts(area, model, theme);
    let page = holders::parts(body, holders)[2].height;
    let last_page = holders.lines().saturating_sub(page.into());
    model.scroll_at_most(last_page);
}

/// Header, body, log, and keys.
fn parts(area: Rect, model: &Model, theme: Theme) -> [Rect; 4] {
    let tall = area.height >= TWO_LINE_HEIGHT;
    let message = match model.message() {
        Some(text) if tall => footer::message_height(text, area),
        Some(_) if model.is_empty() => 1,
        _ => 0,
    };
    Layout::vertical([
        Constraint::Length(header::height(model, theme, area)),
        Constraint::Min(0),
        Constraint::Length(message),
        Constraint::Length(1),
    ])
    .areas(area)
}

fn draw_body(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    if model.shown().history.newest().is_none() {
        footer::waiting(frame, area, model);
        return;
    }
    if model.holders_view().is_some() {
        holders::draw(frame, area, model, theme);
        return;
    }
    if model.shows_details() {
        details::draw(frame, area, model, theme);
        return;
    }
    if model.shows_scopes() {
        scopes::draw(frame, area, model, theme);
        return;
    }
    let has_table = area.height >= TABLE_ROWS;
    let rows = if has_table { TABLE_ROWS } else { STATES.div_ceil(2) };
    let gap = u16::from(area.height > rows + 3);
    let [table, _, transitions] =
        Layout::vertical([Constraint::Length(rows), Constraint::Length(gap), Constraint::Min(0)])
            .areas(area);
    if has_table {
        states::table(frame, table, model, theme);
    } else {
        states::side_by_side(frame, table, model);
    }
    transitions::draw(frame, transitions, model, theme);
}

#[cfg(test)]
mod tests;
