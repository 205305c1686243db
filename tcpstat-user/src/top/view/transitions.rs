//! The most frequent transitions.

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
    top::{Model, TransitionRate},
};

/// Minimum height of an area that has a title.
const TITLED_HEIGHT: u16 = 3;

/// As many transitions as there is room for.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let titled = area.height >= TITLED_HEIGHT;
    let [title, list] =
        Layout::vertical([Constraint::Length(u16::from(titled)), Constraint::Min(0)]).areas(area);
    let heading = Line::from(vec![
        Span::styled("TRANSITIONS", TITLE),
        Span::styled("  of full sockets, most frequent first", FAINT),
    ]);
    frame.render_widget(heading, title);
    if model.shown().status.tracer.is_none() {
        let reason = "not counted: without a tracer there are only snapshots";
        frame.render_widget(Text::styled(reason, FAINT), list);
        return;
    }
    let transitions = model.shown().most_frequent(model.family());
    if transitions.is_empty() {
        let known = model.shown().history.rates().is_some();
        let reason = if known { "none at the moment" } else { "known from the second update on" };
        frame.render_widget(Text::styled(reason, FAINT), list);
    }
    let max = transitions.first().map_or(0.0, |first| first.per_second);
    for (transition, y) in transitions.iter().zip(list.y..list.bottom()) {
        draw_line(frame, Rect { y, height: 1, ..list }, transition, max, theme);
    }
}

fn draw_line(
    frame: &mut Frame<'_>,
    line: Rect,
    transition: &TransitionRate,
    max: f64,
    theme: Theme,
) {
    let TransitionRate { old, new, per_second } = *transition;
    let widths = [
        Constraint::Length(26),
        Constraint::Length(11),
        Constraint::Length(1),
        Constraint::Percentage(40),
    ];
    let [name, rate, _, bar] = Layout::horizontal(widths).areas(line);
    let arrow = theme.arrow();
    let names = format!("{:>11} {arrow} {}", state_word(old), state_word(new));
    frame.render_widget(Text::raw(names), name);
    let text = format!("{}/s", number::rate(per_second, 9));
    frame.render_widget(Text::raw(text).alignment(Alignment::Right), rate);
    bar::draw(frame, bar, per_second, max, theme);
}
