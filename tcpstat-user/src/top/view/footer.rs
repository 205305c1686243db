//! Below the numbers: the last line of the log, and the keys. Before the first numbers: what is waited for.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span, Text},
    widgets::{Paragraph, Wrap},
};

use super::{
    MULTI_LINE_HEIGHT,
    theme::{KEY, Theme},
};
use crate::{
    states::family_word,
    top::{Model, Sort},
};

/// Height of the log's last line in a view of that size. Its end has the remedy, so it gets several lines if
/// there is room.
pub(super) fn message_height(text: &str, view: Rect) -> u16 {
    let most = if view.height >= MULTI_LINE_HEIGHT { 4 } else { 1 };
    // Lines break between words, so they are not always full.
    let used = usize::from(view.width - view.width / 8).max(1);
    u16::try_from(Line::raw(text).width().div_ceil(used)).unwrap_or(most).min(most)
}

pub(super) fn message(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let text = Text::styled(model.message().unwrap_or_default(), theme.alert());
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
}

pub(super) fn waiting(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let status = &model.shown().status;
    let text = status.problem.as_deref().unwrap_or("taking the first snapshot ...");
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
}

/// The keys, with the current choices.
pub(super) fn keys(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let family = model.family().map_or("all", family_word);
    let sort = match model.sort() {
        Sort::States => "states",
        Sort::Count => "count",
        Sort::Rate => "rate",
    };
    let every = humantime::format_duration(model.interval()).to_string();
    let long = [
        ("q", "quit".to_owned()),
        ("space", "pause".to_owned()),
        ("s", format!("sort: {sort}")),
        ("f", format!("family: {family}")),
        ("+-", format!("every {every}")),
        ("?", "help".to_owned()),
    ];
    let short = [
        ("q", "quit".to_owned()),
        ("s", sort.to_owned()),
        ("f", family.to_owned()),
        ("+-", every),
        ("?", "help".to_owned()),
    ];
    let long = spans(&long);
    let fits = long.width() <= area.width.into();
    frame.render_widget(if fits { long } else { spans(&short) }, area);
}

fn spans(keys: &[(&'static str, String)]) -> Line<'static> {
    let mut line = Vec::new();
    for (key, what) in keys {
        line.push(Span::styled(*key, KEY));
        line.push(Span::raw(format!(" {what}  ")));
    }
    Line::from(line)
}
