//! The scopes of one kind: as many as there is room for, with the marked one.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span, Text},
    widgets::{Paragraph, Wrap},
};

use super::{
    number,
    theme::{FAINT, KEY, TITLE, Theme},
};
use crate::top::{Model, ScopeColumn, ScopeRow, ScopeSort, ScopeTable};

/// Width of the space between two columns.
const SPACING: u16 = 1;

/// The columns after the name, each set with the minimum width of the view.
const COLUMNS: [(u16, &[ScopeColumn]); 4] = {
    use ScopeColumn::{CloseWait, Established, TimeWait, Total};
    [
        (0, &[CloseWait]),
        (40, &[CloseWait, Total]),
        (60, &[Established, CloseWait, TimeWait, Total]),
        (80, &ScopeColumn::ALL),
    ]
};

const NO_SCOPES: &str = "No scopes are counted. --netns all counts each network namespace separately, --cgroups and \
     --ports those of this one.";

/// With `--connect`.
const NO_SCOPES_THERE: &str = "The exporter counts no scopes. Start it with --netns all to count each network namespace \
     separately, with --cgroups or --ports for those of its own.";

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    match model.scope_table() {
        Ok(Some(table)) => draw_table(frame, area, model, table, theme),
        Ok(None) => {
            let text = match model.shown().status.exporter {
                None => NO_SCOPES,
                Some(_) => NO_SCOPES_THERE,
            };
            draw_text(frame, area, text, Style::new());
        }
        Err(Some(problem)) => draw_text(frame, area, problem, theme.alert()),
        Err(None) => draw_text(frame, area, "reading the scopes ...", FAINT),
    }
}

fn draw_text(frame: &mut Frame<'_>, area: Rect, text: &str, style: Style) {
    frame.render_widget(Paragraph::new(Text::styled(text, style)).wrap(Wrap { trim: true }), area);
}

/// A line about the kind, a title, and a line for each scope.
fn draw_table(frame: &mut Frame<'_>, area: Rect, model: &Model, table: &ScopeTable, theme: Theme) {
    let [summary, title, list] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(0)])
            .areas(area);
    let rows = table.sorted(model.scope_sort());
    let shown = rows.len().min(list.height.into());
    frame.render_widget(summary_line(table, shown, theme), summary);
    let fitting = COLUMNS.iter().rfind(|(width, _)| *width <= area.width);
    let columns = fitting.map_or(COLUMNS[0].1, |(_, columns)| *columns);
    draw_titles(frame, title, columns, model.scope_sort());
    let marked = model.marked_scope().map_or(0, |(place, _)| place);
    let skipped = (marked + 1).saturating_sub(list.height.into());
    for ((place, row), y) in rows.into_iter().enumerate().skip(skipped).zip(list.y..list.bottom()) {
        draw_row(frame, Rect { y, height: 1, ..list }, columns, row, place == marked, theme);
    }
}

/// The kind, the number of its scopes, and what the table lacks.
fn summary_line(table: &ScopeTable, shown: usize, theme: Theme) -> Line<'static> {
    let scopes = table.rows.len();
    let mut parts = vec![
        Span::styled(table.kind.to_uppercase(), TITLE),
        Span::styled(format!("  {shown} of {scopes} scopes"), FAINT),
    ];
    if table.hidden > 0 {
        parts.push(Span::styled(format!("  {} cannot be counted", table.hidden), theme.alert()));
    }
    if table.overflow > 0 {
        let text = format!("  {} found no room since the start", table.overflow);
        parts.push(Span::styled(text, theme.alert()));
    }
    Line::from(parts)
}

fn draw_titles(frame: &mut Frame<'_>, line: Rect, columns: &[ScopeColumn], sort: ScopeSort) {
    let style = |sorted: bool| if sorted { TITLE.patch(KEY) } else { TITLE };
    let (name, cells) = cells(line, columns);
    let title = Span::styled("SCOPE", style(sort == ScopeSort::Name));
    frame.render_widget(Line::from(title), name);
    for (column, cell) in columns.iter().zip(cells) {
        let sorted = sort == ScopeSort::By(*column);
        let title = Span::styled(column.word().to_uppercase(), style(sorted));
        frame.render_widget(Line::from(title).alignment(Alignment::Right), cell);
    }
}

fn draw_row(
    frame: &mut Frame<'_>,
    line: Rect,
    columns: &[ScopeColumn],
    row: &ScopeRow,
    marked: bool,
    theme: Theme,
) {
    let (name, cells) = cells(line, columns);
    let style = if row.sockets(ScopeColumn::Total) == Some(0) { FAINT } else { Style::new() };
    let style = if marked { style.patch(KEY) } else { style };
    let text = end_of(&row.name, name.width.into(), theme);
    frame.render_widget(Text::styled(text, style), name);
    for (column, cell) in columns.iter().zip(cells) {
        let width = cell.width.into();
        let sockets = row.sockets(*column);
        let text = sockets.map_or_else(|| "-".to_owned(), |count| number::count(count, width));
        let zero = sockets.is_none_or(|count| count == 0);
        let text = Text::styled(text, if zero { FAINT } else { Style::new() });
        frame.render_widget(text.alignment(Alignment::Right), cell);
    }
}

/// The cell of the name, and those of the columns.
fn cells(line: Rect, columns: &[ScopeColumn]) -> (Rect, Vec<Rect>) {
    let widths = columns.iter().map(|column| {
        let width = column.word().len().max("1234567".len());
        Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX))
    });
    let all = std::iter::once(Constraint::Min(0)).chain(widths);
    let cells = Layout::horizontal(all).spacing(SPACING).split(line);
    (cells[0], cells[1..].to_vec())
}

/// `name`, or as much of its end as fits: the ends of pod names and cgroup paths tell them apart.
pub(super) fn end_of(name: &str, width: usize, theme: Theme) -> String {
    if Span::raw(name).width() <= width {
        return name.to_owned();
    }
    let ellipsis = theme.ellipsis();
    let rest = width.saturating_sub(Span::raw(ellipsis).width());
    let fits = |&(at, _): &(usize, char)| Span::raw(&name[at..]).width() <= rest;
    let start = name.char_indices().find(fits).map_or(name.len(), |(at, _)| at);
    format!("{ellipsis}{}", &name[start..])
}

#[cfg(test)]
mod tests;
