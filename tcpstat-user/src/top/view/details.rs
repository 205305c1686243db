//! Why sockets closed, how long they are in CLOSE_WAIT, the ephemeral ports, and the fullest listeners: as many as there is room
//! for.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span, Text},
    widgets::{Paragraph, Wrap},
};

use super::{
    listeners, number,
    scopes::end_of,
    status_line::short_duration,
    theme::{FAINT, TITLE, Theme},
};
use crate::{
    detailed::cause_word,
    states::state_word,
    top::{
        Model, ScopeRow,
        details::{Ages, ClosedRow, Details, Ports},
    },
};

/// Minimum height of an area with an empty line between two parts.
const AIRY_HEIGHT: u16 = 14;

/// Minimum width of an area with all words.
const WORDY_WIDTH: u16 = 60;

/// Whose details these are.
const PLACE: &str = "of tcpstat's own network namespace, whichever scope is marked";

/// What is not known of other namespaces.
const OWN_ONLY: &str = "causes and ephemeral ports are known of tcpstat's own one only";

/// A line about the ages, the namespace, and the listeners.
fn draw_scope(frame: &mut Frame<'_>, area: Rect, scope: &ScopeRow, theme: Theme) {
    let gap = u16::from(area.height >= AIRY_HEIGHT);
    let Details { ages, listeners, .. } = &scope.details;
    let [place, own_only, _, ages_area, _, listening] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(gap),
        Constraint::Length(gap),
        Constraint::Length(1),
        Constraint::Length(gap),
        Constraint::Min(0),
    ])
    .areas(area);
    let title = "NETNS  ";
    let width = usize::from(place.width).saturating_sub(title.len());
    let name = Span::raw(end_of(&scope.name, width, theme));
    frame.render_widget(Line::from(vec![Span::styled(title, TITLE), name]), place);
    frame.render_widget(Text::styled(OWN_ONLY, FAINT), own_only);
    frame.render_widget(ages_line(ages.as_ref(), ages_area.width), ages_area);
    let none = "none, or none that is counted by itself";
    listeners::draw(frame, listening, listeners.as_ref(), none, theme);
}

/// A line about the ages, where there is room one about the ports, then the causes, then the listeners.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    if let Some(scope) = model.detailed_scope() {
        return draw_scope(frame, area, scope, theme);
    }
    let status = &model.shown().status;
    if status.tracer.is_none() {
        let text =
            "Causes, ages, and listeners are not known: without a tracer there are only snapshots.";
        let [ports, rest] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        frame.render_widget(ports_line(status.details.ports.as_ref()), ports);
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), rest);
        return;
    }
    let rows = model.shown().closed.rows(model.family());
    let gap = u16::from(area.height >= AIRY_HEIGHT);
    let room = area.height.saturating_sub(1 + 3 * gap);
    let causes = height(rows.as_ref().map_or(0, Vec::len));
    let most = listeners::height(status.details.listeners.as_ref());
    let listening = most.min((room / 2).max(room.saturating_sub(causes)));
    let [ages, ports, place, causes, _, listening] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(gap),
        Constraint::Length(gap),
        Constraint::Length(causes.min(room - listening)),
        Constraint::Length(gap),
        Constraint::Length(listening),
    ])
    .areas(area);
    frame.render_widget(ages_line(status.details.ages.as_ref(), ages.width), ages);
    frame.render_widget(ports_line(status.details.ports.as_ref()), ports);
    frame.render_widget(Text::styled(PLACE, FAINT), place);
    draw_causes(frame, causes, rows.as_deref());
    listeners::draw(frame, listening, status.details.listeners.as_ref(), "none", theme);
}

/// The lines of a title and of so many rows, or of a text in their place.
pub(super) fn height(rows: usize) -> u16 {
    u16::try_from(rows.max(1) + 1).unwrap_or(u16::MAX)
}

fn ages_line(ages: Option<&Ages>, width: u16) -> Line<'static> {
    let title = Span::styled("CLOSE_WAIT", TITLE);
    let Some(Ages { oldest, older_than }) = ages else {
        return Line::from(vec![title, Span::styled("  the ages are not known", FAINT)]);
    };
    if oldest.is_zero() {
        return Line::from(vec![title, Span::styled("  no socket at the last reading", FAINT)]);
    }
    let mut spans = vec![title];
    let oldest = short_duration(*oldest);
    if width < WORDY_WIDTH {
        spans.push(Span::raw(format!(" {oldest}")));
        for (age, sockets) in older_than {
            spans.push(Span::raw(format!("  >{age} {}", number::count(*sockets, 6))));
        }
        return Line::from(spans);
    }
    spans.push(Span::raw(format!("  oldest {oldest};  older than")));
    for (age, sockets) in older_than {
        spans.push(Span::raw(format!("  {age}: {}", number::count(*sockets, 9))));
    }
    Line::from(spans)
}

fn ports_line(ports: Option<&Ports>) -> Line<'static> {
    let title = Span::styled("PORTS", TITLE);
    let Some(Ports { used, count, destination }) = ports else {
        return Line::from(vec![title, Span::styled("  the ephemeral ports are not known", FAINT)]);
    };
    let used = number::count(*used, 9);
    let of = count.map_or_else(String::new, |count| format!(" of {}", number::count(count, 9)));
    let text = match destination {
        Some(destination) => format!("  {used}{of} to {destination}"),
        None => format!("  {used}{of} to the fullest destination"),
    };
    Line::from(vec![title, Span::raw(text)])
}

/// `None` if causes are not counted.
fn draw_causes(frame: &mut Frame<'_>, area: Rect, rows: Option<&[ClosedRow]>) {
    let lines: Vec<_> = (area.y..area.bottom()).map(|y| Rect { y, height: 1, ..area }).collect();
    let Some((title, lines)) = lines.split_first() else { return };
    let titles = ["CLOSED IN", "CAUSE", "PER S", "TOTAL"].map(|text| Text::styled(text, TITLE));
    draw_cells(frame, *title, titles);
    let reason = match rows {
        None => "not counted on this kernel, or by this exporter",
        Some([]) => "no failed connect, and no end with an error",
        Some(_) => "",
    };
    if let Some(first) = lines.first() {
        frame.render_widget(Text::styled(reason, FAINT), *first);
    }
    for (row, line) in rows.unwrap_or_default().iter().zip(lines) {
        let ClosedRow { from, cause, per_second, total } = *row;
        let style = if per_second.unwrap_or_default() > 0.0 { Style::new() } else { FAINT };
        let rate = per_second.map_or("-".to_owned(), |rate| number::rate(rate, 7));
        let texts = [
            state_word(from).to_owned(),
            cause_word(cause).to_owned(),
            rate,
            number::count(total, if area.width < WORDY_WIDTH { 8 } else { 14 }),
        ];
        draw_cells(frame, *line, texts.map(|text| Text::styled(text, style)));
    }
}

fn draw_cells(frame: &mut Frame<'_>, line: Rect, texts: [Text<'_>; 4]) {
    let total = if line.width < WORDY_WIDTH { 8 } else { 14 };
    let widths = [11, 11, 7, total].map(Constraint::Length);
    let cells = Layout::horizontal(widths).spacing(1).areas::<4>(line);
    for ((text, cell), place) in texts.into_iter().zip(cells).zip(0..) {
        let side = if place < 2 { Alignment::Left } else { Alignment::Right };
        frame.render_widget(text.alignment(side), cell);
    }
}

#[cfg(test)]
mod tests;
