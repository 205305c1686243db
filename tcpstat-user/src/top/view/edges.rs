//! What stands above and below: whose numbers these are, how far they are to be trusted, the log's last
//! line, and the keys.

use std::time::{Duration, SystemTime};

use ratatui::{
    Frame,
    layout::{Alignment, Rect},
    text::{Line, Span, Text},
    widgets::{Paragraph, Wrap},
};

use super::{
    ROOMY, TALL, number,
    theme::{FAINT, KEY, TITLE, Theme},
    trust::{least_width, trust, whose},
};
use crate::{
    states::family_word,
    top::{Model, Sort},
};

/// Rows that the header takes in a view of that size: one where there is little room, else as many as it
/// takes to cut nothing off.
pub(super) fn header_lines(model: &Model, theme: Theme, view: Rect) -> u16 {
    if view.height < TALL {
        return 1;
    }
    let most = if view.height >= ROOMY { 3 } else { 2 };
    let told = told(model, theme, view.width.into(), most - 1).len();
    1 + u16::try_from(told).unwrap_or(1)
}

/// One line, or more: whose numbers these are, and what they are worth.
pub(super) fn header(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let status = &model.shown().status;
    let mut right = clock(model, area.width >= 70);
    if area.height == 1 && right.width() + least_width(status) > area.width.into() {
        right = paused(model);
    }
    let first = Rect { height: area.height.min(1), ..area };
    let taken = u16::try_from(right.width() + 1).unwrap_or(u16::MAX);
    let left = Rect { width: area.width.saturating_sub(taken), ..first };
    frame.render_widget(right, first);
    if area.height == 1 {
        // What it is worth before whose it is: a long name is cut off.
        let mut line = told(model, theme, left.width.into(), 1).swap_remove(0);
        let rest = usize::from(left.width).saturating_sub(line.width() + 2);
        line.push_span(Span::raw(format!("  {}", whose(status, rest, theme))));
        frame.render_widget(line, left);
        return;
    }
    frame.render_widget(title(model, left.width.into(), theme), left);
    let lines = told(model, theme, area.width.into(), area.height.saturating_sub(1).into());
    for (line, y) in lines.into_iter().zip(area.y + 1..area.bottom()) {
        frame.render_widget(line, Rect { y, height: 1, ..area });
    }
}

/// What the numbers are worth, where there are any; before that [`waiting`] tells of trouble.
fn told(model: &Model, theme: Theme, width: usize, lines: usize) -> Vec<Line<'static>> {
    let status = &model.shown().status;
    if model.is_empty() && status.trouble.is_some() {
        return vec![Line::styled("no numbers yet", theme.alert())];
    }
    trust(status, theme, width, lines)
}

/// The number of sockets stays whole; names of hosts and exporters are cut.
fn title(model: &Model, width: usize, theme: Theme) -> Line<'static> {
    let sockets: u64 = model.rows().iter().map(|row| row.sockets).sum();
    let sockets = format!("{} sockets", number::count(sockets, 12));
    let status = &model.shown().status;
    let version = concat!(" ", env!("CARGO_PKG_VERSION"));
    let rest = width.saturating_sub("tcpstat".len() + 4 + sockets.len());
    let whole = whose(status, usize::MAX, theme).chars().count();
    let version = if rest >= whole + version.len() { version } else { "" };
    Line::from(vec![
        Span::styled("tcpstat", TITLE),
        Span::styled(version, FAINT),
        Span::raw(format!("  {}  {sockets}", whose(status, rest - version.len().min(rest), theme))),
    ])
}

/// Lines that the log's last one takes, in a view of that size: few, but it tells the remedy at its end.
pub(super) fn message_lines(text: &str, view: Rect) -> u16 {
    let most = if view.height >= ROOMY { 4 } else { 1 };
    // Between words, so that a line is not always filled.
    let filled = usize::from(view.width - view.width / 8).max(1);
    u16::try_from(Line::raw(text).width().div_ceil(filled)).unwrap_or(most).min(most)
}

/// The log's last line, which says what is amiss.
pub(super) fn message(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let text = Text::styled(model.message().unwrap_or_default(), theme.alert());
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
}

/// Before the first numbers.
pub(super) fn waiting(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let status = &model.shown().status;
    let text = status.trouble.as_deref().unwrap_or("taking the first snapshot ...");
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
}

/// The keys, and what they have chosen.
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

/// When the numbers that are shown were read, and whether they stand still.
fn clock(model: &Model, wide: bool) -> Line<'static> {
    let mut line = paused(model);
    if let Some(newest) = model.shown().history.newest() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(newest.at.unix_ms);
        let text = humantime::format_rfc3339_seconds(time).to_string();
        let clock = text.split_once('T').map_or("", |(_, clock)| clock.trim_end_matches('Z'));
        line.push_span(Span::raw(format!("{clock}{}", if wide { " UTC" } else { "" })));
    }
    line
}

fn paused(model: &Model) -> Line<'static> {
    let mut line = Line::default().alignment(Alignment::Right);
    if model.paused() {
        line.push_span(Span::styled(" PAUSED ", KEY));
        line.push_span(Span::raw(" "));
    }
    line
}
