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
    states::{family_word, state_word},
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
    let details = match model.shows_details() {
        true if model.wants_scopes() => "back",
        true => "states",
        false => "details",
    };
    let every = humantime::format_duration(model.interval()).to_string();
    let holders = model.holders_view().is_some();
    let state = state_word(model.marked_state());
    let mut keys = vec![
        Key::new("q", "quit"),
        Key::new("space", "pause"),
        Key::new("v", view),
        Key::new("w", if holders { "back" } else { "who" }),
        Key { name: "[]", long: format!("state: {state}"), short: "state".to_owned() },
        Key::new("jk", if holders { "scroll" } else { "mark" }),
        Key::new("d", details),
        Key { name: "s", long: format!("sort: {sort}"), short: sort.to_owned() },
        Key { name: "f", long: format!("family: {family}"), short: family.to_owned() },
        Key { name: "+-", long: format!("every {every}"), short: every },
        Key::new("?", "help"),
    ];
    let without: &[_] = match () {
        () if holders => &["s", "f"],
        () if model.shows_details() && model.wants_scopes() => &["s", "f", "[]"],
        () if model.shows_details() => &["s", "jk", "[]"],
        // Their sockets are of both families.
        () if model.shows_scopes() => &["f", "[]"],
        () => &["[]"],
    };
    keys.retain(|key| !without.contains(&key.name));
    let line = |left_out: &[&str], gap: &'static str, text: fn(&Key) -> &String| {
        let kept = keys.iter().filter(|key| !left_out.contains(&key.name));
        spans(gap, kept.map(|key| (key.name, text(key))))
    };
    // Each is shorter than the one before.
    let lines = [
        line(&[], "  ", |key| &key.long),
        line(&["jk"], "  ", |key| &key.long),
        line(&["jk", "space"], "  ", |key| &key.long),
        line(&["jk", "space"], " ", |key| &key.long),
        line(&["jk", "space", "d"], " ", |key| &key.long),
        line(&["jk", "space"], "  ", |key| &key.short),
        line(&["jk", "space", "d"], "  ", |key| &key.short),
        line(&["jk", "space", "d"], " ", |key| &key.short),
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

impl Key {
    fn new(name: &'static str, what: &str) -> Self {
        Self { name, long: what.to_owned(), short: what.to_owned() }
    }
}

fn spans<'a>(
    gap: &'static str,
    keys: impl Iterator<Item = (&'static str, &'a String)>,
) -> Line<'static> {
    let mut line = Vec::new();
    for (key, what) in keys {
        if !line.is_empty() {
            line.push(Span::raw(gap));
        }
        line.push(Span::styled(key, KEY));
        line.push(Span::raw(format!(" {what}")));
    }
    Line::from(line)
}
