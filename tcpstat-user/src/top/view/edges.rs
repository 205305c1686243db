//! What stands above and below: whose numbers these are, how far they are to be trusted, the log's last
//! line, and the keys.

use std::time::{Duration, SystemTime};

use ratatui::{
    Frame,
    layout::{Alignment, Rect},
    style::Style,
    text::{Line, Span, Text},
    widgets::{Paragraph, Wrap},
};

use super::{
    number,
    theme::{FAINT, KEY, TITLE, Theme},
};
use crate::{
    states::family_word,
    top::{Model, Sort, Status},
};

/// One line, or two.
pub(super) fn header(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let status = &model.shown().status;
    let wide = area.width >= 70;
    let right = clock(model, wide);
    let taken = u16::try_from(right.width() + 1).unwrap_or(u16::MAX);
    let first = Rect { height: area.height.min(1), ..area };
    let left = Rect { width: area.width.saturating_sub(taken), ..first };
    frame.render_widget(right, first);
    if area.height == 1 {
        // What it is worth before whose it is: a long name is cut off.
        let mut line = trust(status, theme, wide);
        line.push(Span::raw(format!("  {}", whose(status))));
        frame.render_widget(Line::from(line), left);
        return;
    }
    let sockets: u64 = model.rows().iter().map(|row| row.sockets).sum();
    let line = vec![
        Span::styled("tcpstat", TITLE),
        Span::styled(concat!(" ", env!("CARGO_PKG_VERSION")), FAINT),
        Span::raw(format!("  {}  {} sockets", whose(status), number::count(sockets, 12))),
    ];
    frame.render_widget(Line::from(line), left);
    let second = Rect { y: area.y + 1, ..first };
    frame.render_widget(Line::from(trust(status, theme, wide)), second);
}

/// Lines that the log's last one takes, in a view of that size: few, but it tells the remedy at its end.
pub(super) fn message_lines(text: &str, view: Rect) -> u16 {
    let most = if view.height >= 20 { 4 } else { 1 };
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
    let text = status.trouble.as_deref().unwrap_or("listing the sockets for the first time ...");
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

fn whose(status: &Status) -> String {
    match &status.exporter {
        None => status.host.clone(),
        Some(exporter) => format!("{} at {exporter}", status.host),
    }
}

/// Who counts, and whether it is to be believed.
fn trust(status: &Status, theme: Theme, wide: bool) -> Vec<Span<'static>> {
    if let Some(trouble) = &status.trouble {
        return vec![Span::styled(trouble.clone(), theme.alert())];
    }
    let age = |age: Duration| humantime::format_duration(Duration::from_secs(age.as_secs()));
    if status.listed.is_none() {
        return vec![Span::raw("starting")];
    }
    let Some(tracing) = &status.tracing else {
        let listed = status.listed.map(|listed| format!(", listed {} ago", age(listed)));
        let rest = if wide { ": no rates (tcpstat check says why)" } else { "" };
        return vec![
            Span::styled("snapshots alone", theme.alert()),
            Span::raw(format!("{}{rest}", listed.unwrap_or_default())),
        ];
    };
    let program = &tracing.program;
    let who = match (wide, tracing.hooks.as_str()) {
        (false, _) => program.clone(),
        (true, "none") => format!("counting with {program}, no hooks"),
        (true, hooks) => format!("counting with {program}, hooks {}", hooks.replace(',', " and ")),
    };
    let mut line = vec![Span::raw(who), Span::raw(if wide { ";  " } else { "  " })];
    if tracing.consistent {
        line.push(Span::styled("consistent", Style::new()));
    } else {
        line.push(Span::styled("INCONSISTENT", theme.alert()));
    }
    if let (true, Some(agreed)) = (wide, tracing.agreed) {
        let seen = format!(": agreed with the kernel {} ago", age(agreed));
        line.push(Span::styled(seen, FAINT));
    }
    if wide && tracing.missed > 0 {
        line.push(Span::styled(format!("  {} events missed", tracing.missed), theme.alert()));
    }
    line
}

/// When the numbers that are shown were read, and whether they stand still.
fn clock(model: &Model, wide: bool) -> Line<'static> {
    let mut line = Vec::new();
    if model.paused() {
        line.push(Span::styled(" PAUSED ", KEY));
        line.push(Span::raw(" "));
    }
    if let Some(newest) = model.shown().history.newest() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(newest.at.unix_ms);
        let text = humantime::format_rfc3339_seconds(time).to_string();
        let clock = text.split_once('T').map_or("", |(_, clock)| clock.trim_end_matches('Z'));
        line.push(Span::raw(format!("{clock}{}", if wide { " UTC" } else { "" })));
    }
    Line::from(line).alignment(Alignment::Right)
}
