//! The status in words: the host, the tracer, and whether its counts can be trusted. The words depend on the
//! room that there is.

use std::time::Duration;

use ratatui::text::{Line, Span};

use super::{
    number,
    theme::{FAINT, Theme},
};
use crate::top::{Status, TracerStatus};

/// How many words describe something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Short,
    Medium,
    Full,
}

const LONGEST_FIRST: [Detail; 3] = [Detail::Full, Detail::Medium, Detail::Short];

/// The tracer, and whether its counts can be trusted: in one line if it fits, else in up to `lines` lines,
/// else in fewer words.
pub(super) fn status_lines(
    status: &Status,
    theme: Theme,
    width: usize,
    lines: usize,
) -> Vec<Line<'static>> {
    use Detail::{Full, Medium, Short};
    if let Some(problem) = &status.problem {
        return wrapped(problem, width, lines, theme);
    }
    if status.snapshot_age.is_none() {
        return vec![Line::raw("starting")];
    }
    let Some(tracer) = &status.tracer else { return vec![snapshots_only(status, theme, width)] };
    let fits = |line: &Line<'_>| line.width() <= width;
    let both = |program_detail, agreement_detail| {
        let space = vec![Span::raw(if program_detail == Short { "  " } else { ";  " })];
        [program(tracer, program_detail), space, agreement(tracer, agreement_detail, theme)]
            .concat()
    };
    if let Some(line) =
        [both(Full, Full), both(Medium, Medium)].map(Line::from).into_iter().find(fits)
    {
        return vec![line];
    }
    // The first that fits, else the last.
    let fitting = |mut texts: Vec<Vec<Span<'static>>>| {
        let index = texts.iter().position(|spans| fits(&Line::from(spans.clone())));
        let index = index.unwrap_or(texts.len() - 1);
        Line::from(texts.swap_remove(index))
    };
    if lines >= 2 {
        let program = fitting(LONGEST_FIRST.map(|detail| program(tracer, detail)).into());
        let agreement =
            fitting(LONGEST_FIRST.map(|detail| agreement(tracer, detail, theme)).into());
        return vec![program, agreement];
    }
    vec![fitting(vec![both(Short, Medium), both(Short, Short), agreement(tracer, Short, theme)])]
}

/// The host, then the exporter, in at most `width` columns.
pub(super) fn host_name(status: &Status, width: usize, theme: Theme) -> String {
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

/// Width of the shortest text about agreement with the kernel, and a space.
pub(super) fn min_width(status: &Status) -> usize {
    let tracer = status.tracer.as_ref().filter(|_| status.problem.is_none());
    tracer.map_or(0, |tracer| {
        let theme = Theme { colours: false, unicode: false };
        Line::from(agreement(tracer, Detail::Short, theme)).width() + 1
    })
}

/// Ends in an ellipsis if `text` does not fit.
pub(super) fn cut(text: &str, width: usize, theme: Theme) -> String {
    if Line::raw(text).width() <= width {
        return text.to_owned();
    }
    let ellipsis = theme.ellipsis();
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if Line::raw(&kept).width() + ellipsis.chars().count() > width {
            kept.pop();
            break;
        }
    }
    if Line::raw(&kept).width() + ellipsis.chars().count() <= width {
        kept + ellipsis
    } else {
        kept
    }
}

/// The program, and with more detail the hooks.
fn program(tracer: &TracerStatus, detail: Detail) -> Vec<Span<'static>> {
    let program = &tracer.program;
    let hooks = match tracer.hooks.as_str() {
        "none" => "no hooks".to_owned(),
        hooks => format!("hooks {}", hooks.replace(',', " and ")),
    };
    vec![Span::raw(match detail {
        Detail::Short => program.clone(),
        Detail::Medium => format!("{program}, {hooks}"),
        Detail::Full => format!("counting with {program}, {hooks}"),
    })]
}

/// Whether the counts agree with the kernel, since when not, and the events that were missed.
fn agreement(tracer: &TracerStatus, detail: Detail, theme: Theme) -> Vec<Span<'static>> {
    let mut line = vec![if tracer.consistent {
        Span::raw("consistent")
    } else {
        Span::styled("INCONSISTENT", theme.alert())
    }];
    let agreed = tracer.agreement_age.map(short_duration);
    match (detail, agreed) {
        (Detail::Short, _) | (_, None) => {}
        (Detail::Medium, Some(agreed)) => {
            line.push(Span::styled(format!(", agreed {agreed} ago"), FAINT));
        }
        (Detail::Full, Some(agreed)) => {
            line.push(Span::styled(format!(": agreed with the kernel {agreed} ago"), FAINT));
        }
    }
    if tracer.events_missed > 0 {
        let (width, events) = if detail == Detail::Short { (6, "") } else { (12, " events") };
        let missed = number::count(tracer.events_missed, width);
        line.push(Span::styled(format!("  {missed}{events} missed"), theme.alert()));
    }
    line
}

fn snapshots_only(status: &Status, theme: Theme, width: usize) -> Line<'static> {
    let taken = status.snapshot_age.map(|age| format!(", taken {} ago", short_duration(age)));
    let line = |rest: &str| {
        Line::from(vec![
            Span::styled("snapshots only", theme.alert()),
            Span::raw(format!("{}{rest}", taken.as_deref().unwrap_or_default())),
        ])
    };
    let full = line(": no rates (--tracer off, or see tcpstat check)");
    if full.width() <= width { full } else { line("") }
}

/// Breaks lines between words if possible.
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

/// In the two largest units.
pub(super) fn short_duration(duration: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    let units: Vec<_> = text.split(' ').take(2).collect();
    units.join(" ")
}
