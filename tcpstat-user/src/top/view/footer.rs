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
        _ if model.shows_scopes() => model.scope_sort().word(),
        Sort::States => "states",
        Sort::Count => "count",
        Sort::Rate => "rate",
    };
    let view = if model.shows_scopes() { "next view" } else { "scopes" };
    let details = if model.shows_details() { "states" } else { "details" };
    let every = humantime::format_duration(model.interval()).to_string();
    let mut keys = vec![
        Key { name: "q", long: "quit".to_owned(), short: "quit".to_owned() },
        Key { name: "space", long: "pause".to_owned(), short: "pause".to_owned() },
        Key { name: "v", long: view.to_owned(), short: view.to_owned() },
        Key { name: "d", long: details.to_owned(), short: details.to_owned() },
        Key { name: "s", long: format!("sort: {sort}"), short: sort.to_owned() },
        Key { name: "f", long: format!("family: {family}"), short: family.to_owned() },
        Key { name: "+-", long: format!("every {every}"), short: every },
        Key { name: "?", long: "help".to_owned(), short: "help".to_owned() },
    ];
    if model.shows_scopes() {
        // Their sockets are of both families.
        keys.retain(|key| key.name != "f");
    }
    if model.shows_details() {
        keys.retain(|key| key.name != "s");
    }
    let line = |left_out: &[&str], text: fn(&Key) -> &String| {
        let kept = keys.iter().filter(|key| !left_out.contains(&key.name));
        spans(kept.map(|key| (key.name, text(key))))
    };
    // Each is shorter than the one before.
    let lines = [
        line(&[], |key| &key.long),
        line(&["space"], |key| &key.long),
        line(&["space", "d"], |key| &key.long),
        line(&["space"], |key| &key.short),
        line(&["space", "d"], |key| &key.short),
    ];
    let fitting = lines.iter().position(|line| line.width() <= area.width.into());
    frame.render_widget(&lines[fitting.unwrap_or(lines.len() - 1)], area);
}

/// A key, and what it does. In a narrow view it has the short text, or is left out.
struct Key {
    name: &'static str,
    long: String,
    short: String,
}

fn spans<'a>(keys: impl Iterator<Item = (&'static str, &'a String)>) -> Line<'static> {
    let mut line = Vec::new();
    for (key, what) in keys {
        if !line.is_empty() {
            line.push(Span::raw("  "));
        }
        line.push(Span::styled(key, KEY));
        line.push(Span::raw(format!(" {what}")));
    }
    Line::from(line)
}
