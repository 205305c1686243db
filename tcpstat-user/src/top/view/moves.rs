//! The busiest transitions.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    text::{Line, Span, Text},
};

use super::{
    bar, number,
    theme::{FAINT, TITLE, Theme},
};
use crate::{
    states::state_word,
    top::{Model, Move},
};

/// Rows from which they have a title.
const TITLED: u16 = 3;

/// As many as there is room for.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let titled = area.height >= TITLED;
    let [title, list] =
        Layout::vertical([Constraint::Length(u16::from(titled)), Constraint::Min(0)]).areas(area);
    let heading = Line::from(vec![
        Span::styled("TRANSITIONS", TITLE),
        Span::styled("  of full sockets, most frequent first", FAINT),
    ]);
    frame.render_widget(heading, title);
    if model.shown().status.tracing.is_none() {
        let reason = "not counted: without a tracer there are only snapshots";
        frame.render_widget(Text::styled(reason, FAINT), list);
        return;
    }
    let moves = model.shown().busiest(model.family());
    if moves.is_empty() {
        let known = model.shown().history.rates().is_some();
        let why = if known { "none at the moment" } else { "known from the second update on" };
        frame.render_widget(Text::styled(why, FAINT), list);
    }
    let most = moves.first().map_or(0.0, |busiest| busiest.per_second);
    for (made, y) in moves.iter().zip(list.y..list.bottom()) {
        one(frame, Rect { y, height: 1, ..list }, made, most, theme);
    }
}

fn one(frame: &mut Frame<'_>, line: Rect, made: &Move, most: f64, theme: Theme) {
    let widths = [
        Constraint::Length(26),
        Constraint::Length(11),
        Constraint::Length(1),
        Constraint::Percentage(40),
    ];
    let [name, rate, _, bar] = Layout::horizontal(widths).areas(line);
    let arrow = theme.arrow();
    let names = format!("{:>11} {arrow} {}", state_word(made.old), state_word(made.new));
    frame.render_widget(Text::raw(names), name);
    let per_second = format!("{}/s", number::rate(made.per_second, 9));
    frame.render_widget(Text::raw(per_second).alignment(Alignment::Right), rate);
    bar::draw(frame, bar, made.per_second, most, theme);
}
