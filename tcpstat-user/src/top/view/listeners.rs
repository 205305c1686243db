//! The listeners in the view of details.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::Style,
    text::Text,
};

use super::{
    bar, details, number,
    scopes::end_of,
    theme::{FAINT, TITLE, Theme},
};
use crate::top::details::{ListenerRow, Listeners};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Waiting,
    Limit,
    Fill,
    Bar,
    HalfOpen,
    Drops,
}

/// The columns after address and port, each set with the minimum width of the view.
const COLUMNS: [(u16, &[Column]); 3] = {
    use Column::{Bar, Drops, Fill, HalfOpen, Limit, Waiting};
    [
        (0, &[Waiting, Fill, Drops]),
        (60, &[Waiting, Limit, Fill, HalfOpen, Drops]),
        (80, &[Waiting, Limit, Fill, Bar, HalfOpen, Drops]),
    ]
};

/// The lines that all have.
pub(super) fn height(listeners: Option<&Listeners>) -> u16 {
    details::height(listeners.map_or(0, |listeners| listeners.fullest.len()))
}

/// A title, then a line for each listener, or for the reason why there is none: `none` if there is none in the numbers.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    listeners: Option<&Listeners>,
    none: &str,
    theme: Theme,
) {
    let lines: Vec<_> = (area.y..area.bottom()).map(|y| Rect { y, height: 1, ..area }).collect();
    let Some((title, lines)) = lines.split_first() else { return };
    let rows = listeners.map(|listeners| listeners.fullest.as_slice()).unwrap_or_default();
    let name = match listeners {
        Some(Listeners { count, .. }) => {
            format!("LISTENER  {} of {count}", rows.len().min(lines.len()))
        }
        None => "LISTENER".to_owned(),
    };
    let fitting = COLUMNS.iter().rfind(|(width, _)| *width <= area.width);
    let columns = fitting.map_or(COLUMNS[0].1, |(_, columns)| *columns);
    let (place, cells) = split(*title, columns);
    frame.render_widget(Text::styled(name, TITLE), place);
    for (column, cell) in columns.iter().zip(cells) {
        let title = Text::styled(column.title(), TITLE).alignment(Alignment::Right);
        frame.render_widget(title, cell);
    }
    if let (true, Some(first)) = (rows.is_empty(), lines.first()) {
        let reason = if listeners.is_some() { none } else { "not read here" };
        frame.render_widget(Text::styled(reason, FAINT), *first);
    }
    for (row, line) in rows.iter().zip(lines) {
        draw_row(frame, *line, columns, row, theme);
    }
}

fn draw_row(
    frame: &mut Frame<'_>,
    line: Rect,
    columns: &[Column],
    row: &ListenerRow,
    theme: Theme,
) {
    let (place, cells) = split(line, columns);
    let full = if row.fill >= 1.0 { theme.alert() } else { Style::new() };
    let name = end_of(&row.place, place.width.into(), theme);
    frame.render_widget(Text::styled(name, full), place);
    for (column, cell) in columns.iter().zip(cells) {
        if *column == Column::Bar {
            bar::draw(frame, cell, row.fill.clamp(0.0, 1.0), 1.0, theme);
            continue;
        }
        let text = column.text(row, cell.width.into());
        let style = match column {
            _ if text == "0" => FAINT,
            Column::Fill | Column::Waiting => full,
            _ => Style::new(),
        };
        frame.render_widget(Text::styled(text, style).alignment(Alignment::Right), cell);
    }
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Limit => "LIMIT",
            Self::Fill => "FILL",
            Self::Bar => "",
            Self::HalfOpen => "HALF-OPEN",
            Self::Drops => "DROPS",
        }
    }

    fn width(self) -> u16 {
        match self {
            Self::Waiting | Self::Limit | Self::Drops => 8,
            Self::Fill => 5,
            Self::Bar => 10,
            Self::HalfOpen => 9,
        }
    }

    fn text(self, row: &ListenerRow, width: usize) -> String {
        match self {
            Self::Waiting => number::count(row.waiting, width),
            Self::Limit => number::count(row.limit, width),
            Self::Fill if row.fill >= 1.0 => "full".to_owned(),
            // Rounded down: 100% would be full.
            Self::Fill => format!("{:.0}%", (row.fill.max(0.0) * 100.0).floor()),
            Self::Bar => String::new(),
            Self::HalfOpen => number::count(row.half_open, width),
            Self::Drops => number::count(row.drops, width),
        }
    }
}

/// The cell of address and port, and those of the columns.
fn split(line: Rect, columns: &[Column]) -> (Rect, Vec<Rect>) {
    let widths = columns.iter().map(|column| Constraint::Length(column.width()));
    let all = std::iter::once(Constraint::Min(0)).chain(widths);
    let cells = Layout::horizontal(all).spacing(1).split(line);
    (cells[0], cells[1..].to_vec())
}
