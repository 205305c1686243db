//! Whose numbers these are, and how far they are to be trusted, in as many words as there is room for.

use std::time::Duration;

use ratatui::text::{Line, Span};

use super::{
    number,
    theme::{FAINT, Theme},
};
use crate::top::{Status, Tracing};

/// Who counts, and whether it is to be believed: in as many lines as are given where one is too short, else
/// in fewer words.
pub(super) fn trust(
    status: &Status,
    theme: Theme,
    width: usize,
    lines: usize,
) -> Vec<Line<'static>> {
    if let Some(trouble) = &status.trouble {
        return wrapped(trouble, width, lines, theme);
    }
    if status.listed.is_none() {
        return vec![Line::raw("starting")];
    }
    let Some(tracing) = &status.tracing else { return vec![untraced(status, theme, width)] };
    let fits = |line: &Line<'_>| line.width() <= width;
    let pair = |who_words, worth_words| {
        let space = vec![Span::raw(if who_words == 0 { "  " } else { ";  " })];
        [who(tracing, who_words), space, worth(tracing, worth_words, theme)].concat()
    };
    // Nothing but words is left out.
    if let Some(whole) = [pair(2, 2), pair(1, 1)].map(Line::from).into_iter().find(fits) {
        return vec![whole];
    }
    let fitting = |mut shorter: Vec<Vec<Span<'static>>>| {
        let place = shorter.iter().position(|spans| fits(&Line::from(spans.clone())));
        let place = place.unwrap_or(shorter.len() - 1);
        Line::from(shorter.swap_remove(place))
    };
    if lines >= 2 {
        let who = fitting((0..=2).rev().map(|words| who(tracing, words)).collect());
        let worth = fitting((0..=2).rev().map(|words| worth(tracing, words, theme)).collect());
        return vec![who, worth];
    }
    vec![fitting(vec![pair(0, 1), pair(0, 0), worth(tracing, 0, theme)])]
}

/// In so many columns: the host before the exporter.
pub(super) fn whose(status: &Status, width: usize, theme: Theme) -> String {
    let host = &status.host;
    let full = match &status.exporter {
        None => host.clone(),
        Some(exporter) => format!("{host} at {exporter}"),
    };
    if Line::raw(&full).width() <= width {
        return full;
    }
    let short = full.replacen(" at http://", " at ", 1);
    cut(&short, width, theme)
}

/// What the shortest word of its worth takes, with a space.
pub(super) fn least_width(status: &Status) -> usize {
    let tracing = status.tracing.as_ref().filter(|_| status.trouble.is_none());
    tracing.map_or(0, |tracing| {
        Line::from(worth(tracing, 0, Theme { colours: false, unicode: false })).width() + 1
    })
}

/// With a sign at its end where it does not fit.
fn cut(text: &str, width: usize, theme: Theme) -> String {
    if Line::raw(text).width() <= width {
        return text.to_owned();
    }
    let sign = theme.ellipsis();
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if Line::raw(&kept).width() + sign.chars().count() > width {
            kept.pop();
            break;
        }
    }
    if Line::raw(&kept).width() + sign.chars().count() <= width { kept + sign } else { kept }
}

/// The tracer: its program, and with more words its hooks.
fn who(tracing: &Tracing, words: usize) -> Vec<Span<'static>> {
    let program = &tracing.program;
    let hooks = match tracing.hooks.as_str() {
        "none" => "no hooks".to_owned(),
        hooks => format!("hooks {}", hooks.replace(',', " and ")),
    };
    vec![Span::raw(match words {
        0 => program.clone(),
        1 => format!("{program}, {hooks}"),
        _ => format!("counting with {program}, {hooks}"),
    })]
}

/// Whether it agrees with the kernel, how long ago it did, and the events that it has missed.
fn worth(tracing: &Tracing, words: usize, theme: Theme) -> Vec<Span<'static>> {
    let mut line = vec![if tracing.consistent {
        Span::raw("consistent")
    } else {
        Span::styled("INCONSISTENT", theme.alert())
    }];
    let agreed = tracing.agreed.map(age);
    match (words, agreed) {
        (0, _) | (_, None) => {}
        (1, Some(agreed)) => line.push(Span::styled(format!(", agreed {agreed} ago"), FAINT)),
        (_, Some(agreed)) => {
            let seen = format!(": agreed with the kernel {agreed} ago");
            line.push(Span::styled(seen, FAINT));
        }
    }
    if tracing.missed > 0 {
        let missed = number::count(tracing.missed, if words == 0 { 6 } else { 12 });
        let events = if words == 0 { "" } else { " events" };
        line.push(Span::styled(format!("  {missed}{events} missed"), theme.alert()));
    }
    line
}

fn untraced(status: &Status, theme: Theme, width: usize) -> Line<'static> {
    let listed = status.listed.map(|listed| format!(", taken {} ago", age(listed)));
    let line = |rest: &str| {
        Line::from(vec![
            Span::styled("snapshots only", theme.alert()),
            Span::raw(format!("{}{rest}", listed.as_deref().unwrap_or_default())),
        ])
    };
    let full = line(": no rates (--tracer off, or see tcpstat check)");
    if full.width() <= width { full } else { line("") }
}

/// Between words where it can be.
fn wrapped(text: &str, width: usize, lines: usize, theme: Theme) -> Vec<Line<'static>> {
    let mut all = Vec::new();
    let mut rest = text;
    while all.len() + 1 < lines && Line::raw(rest).width() > width {
        let fitting = rest.char_indices().map(|(at, _)| at);
        let end = fitting.take_while(|&at| Line::raw(&rest[..at]).width() <= width).last();
        let end = end.unwrap_or_default();
        let end = rest[..end].rfind(' ').filter(|&at| at > 0).unwrap_or(end);
        if end == 0 {
            break;
        }
        all.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    all.push(cut(rest, width, theme));
    all.into_iter().map(|line| Line::styled(line, theme.alert())).collect()
}

/// In its two largest units.
fn age(age: Duration) -> String {
    let whole = humantime::format_duration(Duration::from_secs(age.as_secs())).to_string();
    let units: Vec<_> = whole.split(' ').take(2).collect();
    units.join(" ")
}
