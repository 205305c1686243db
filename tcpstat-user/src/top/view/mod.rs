//! The frame: a header, the states, the busiest transitions, and the keys. From 40 columns by 10 rows on
//! every state is in it.

mod bar;
mod edges;
mod help;
mod moves;
mod number;
mod states;
mod theme;
mod trust;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
};

pub use theme::Theme;

use super::Model;
use crate::states::State;

/// Rows from which the header has a line for whose numbers these are, and the log one of its own.
const TALL: u16 = 16;

/// Rows from which header and log may take more lines than that.
const ROOMY: u16 = 20;

const STATES: u16 = 11;
const _: () = assert!(STATES as usize == State::ALL.len());

/// The states with their title.
const TABLE_ROWS: u16 = STATES + 1;

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, model: &Model, theme: Theme) {
    let tall = frame.area().height >= TALL;
    let message = match model.message() {
        Some(text) if tall => edges::message_lines(text, frame.area()),
        Some(_) if model.is_empty() => 1,
        _ => 0,
    };
    let [header, body, log, keys] = Layout::vertical([
        Constraint::Length(edges::header_lines(model, theme, frame.area())),
        Constraint::Min(0),
        Constraint::Length(message),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    edges::header(frame, header, model, theme);
    body_of(frame, body, model, theme);
    edges::message(frame, log, model, theme);
    edges::keys(frame, keys, model);
    if model.help() {
        help::draw(frame, theme);
    }
}

fn body_of(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    if model.shown().history.newest().is_none() {
        edges::waiting(frame, area, model);
        return;
    }
    let roomy = area.height >= TABLE_ROWS;
    // In little room the states stand side by side.
    let rows = if roomy { TABLE_ROWS } else { STATES.div_ceil(2) };
    let gap = u16::from(area.height > rows + 3);
    let [table, _, moves] =
        Layout::vertical([Constraint::Length(rows), Constraint::Length(gap), Constraint::Min(0)])
            .areas(area);
    if roomy {
        states::table(frame, table, model, theme);
    } else {
        states::side_by_side(frame, table, model);
    }
    moves::draw(frame, moves, model, theme);
}

#[cfg(test)]
mod tests;
