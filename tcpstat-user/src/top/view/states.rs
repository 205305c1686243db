//! The states: as a table, or side by side if there is little room.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    text::Text,
    widgets::Sparkline,
};

use super::{
    bar,
    number::{self, to_f64},
    theme::{FAINT, KEY, TITLE, Theme},
};
use crate::{
    states::{State, state_word},
    top::{Model, StateRow},
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    State,
    Sockets,
    Change,
    Peak,
    Arrivals,
    Departures,
    Bar,
    Past,
}

/// The columns of the table, each set with the minimum width of the view.
const COLUMNS: [(u16, &[Column]); 5] = {
    use Column::{Arrivals, Bar, Change, Departures, Past, Peak, Sockets, State};
    [
        (0, &[State, Sockets, Arrivals, Departures]),
        (52, &[State, Sockets, Change, Arrivals, Departures]),
        (62, &[State, Sockets, Change, Arrivals, Departures, Bar]),
        (76, &[State, Sockets, Change, Arrivals, Departures, Bar, Past]),
        (110, &[State, Sockets, Change, Peak, Arrivals, Departures, Bar, Past]),
    ]
};

/// A title, then a line for each state.
pub(super) fn table(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let fitting = COLUMNS.iter().rfind(|(width, _)| *width <= area.width);
    let columns = fitting.map_or(COLUMNS[0].1, |(_, columns)| *columns);
    let rows = model.rows();
    let max = rows.iter().map(|row| row.sockets).max().unwrap_or_default();
    let lines = Layout::vertical(vec![Constraint::Length(1); rows.len() + 1]).split(area);
    let cells = |line: Rect| {
        let widths = columns.iter().map(|column| column.width(area.width));
        Layout::horizontal(widths).spacing(1).split(line)
    };
    for (column, cell) in columns.iter().zip(cells(lines[0]).iter()) {
        let title = Text::styled(column.title(), TITLE).alignment(column.alignment());
        frame.render_widget(title, *cell);
    }
    for (row, line) in rows.iter().zip(&lines[1..]) {
        for (column, cell) in columns.iter().zip(cells(*line).iter()) {
            match column {
                Column::Bar => bar::draw(frame, *cell, to_f64(row.sockets), to_f64(max), theme),
                Column::Past => draw_past(frame, *cell, model, row.state, theme),
                column => {
                    let marked = *column == Column::State && row.state == model.marked_state();
                    let style = if marked { style(row).patch(KEY) } else { style(row) };
                    let text = column.text(row, cell.width.into());
                    let text = Text::styled(text, style).alignment(column.alignment());
                    frame.render_widget(text, *cell);
                }
            }
        }
    }
}

/// In two columns, only names and numbers.
pub(super) fn side_by_side(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let halves = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2).areas::<2>(area);
    let rows = model.rows();
    for (half, rows) in halves.iter().zip(rows.chunks(rows.len().div_ceil(2).max(1))) {
        for (row, y) in rows.iter().zip(half.y..half.bottom()) {
            let line = Rect { y, height: 1, ..*half };
            let widths = [Column::State.width(area.width), Constraint::Fill(1)];
            let [name, sockets] = Layout::horizontal(widths).areas(line);
            let style = style(row);
            let marked = row.state == model.marked_state();
            let name_style = if marked { style.patch(KEY) } else { style };
            frame.render_widget(Text::styled(state_word(row.state), name_style), name);
            let count = number::count(row.sockets, sockets.width.into());
            frame.render_widget(Text::styled(count, style).alignment(Alignment::Right), sockets);
        }
    }
}

impl Column {
    fn width(self, whole: u16) -> Constraint {
        let narrow = whole < 100;
        match self {
            Self::State => Constraint::Length(11),
            Self::Sockets | Self::Peak => Constraint::Length(if narrow { 9 } else { 11 }),
            Self::Change => Constraint::Length(if narrow { 8 } else { 10 }),
            Self::Arrivals | Self::Departures => Constraint::Length(if narrow { 8 } else { 9 }),
            Self::Bar => Constraint::Fill(2),
            Self::Past => Constraint::Fill(3),
        }
    }

    fn alignment(self) -> Alignment {
        match self {
            Self::State | Self::Bar | Self::Past => Alignment::Left,
            _ => Alignment::Right,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::State => "STATE",
            Self::Sockets => "SOCKETS",
            Self::Change => "1 MIN",
            Self::Peak => "PEAK",
            Self::Arrivals => "IN/s",
            Self::Departures => "OUT/s",
            Self::Bar => "",
            Self::Past => "PAST",
        }
    }

    fn text(self, row: &StateRow, width: usize) -> String {
        let rate =
            |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| number::rate(rate, width));
        match self {
            Self::State => state_word(row.state).to_owned(),
            Self::Sockets => number::count(row.sockets, width),
            Self::Change => number::change(row.change, width),
            Self::Peak => number::count(row.peak, width),
            Self::Arrivals => rate(row.arrivals),
            Self::Departures => rate(row.departures),
            Self::Bar | Self::Past => String::new(),
        }
    }
}

/// A row with only zeros is faint.
fn style(row: &StateRow) -> ratatui::style::Style {
    let zero = |rate: Option<f64>| rate.unwrap_or_default() == 0.0;
    if row.sockets == 0
        && row.change == 0
        && row.peak == 0
        && zero(row.arrivals)
        && zero(row.departures)
    {
        FAINT
    } else {
        ratatui::style::Style::new()
    }
}

/// A sparkline with one column for each sample, the newest at the right, from the state's lowest to its
/// highest value. Differences of less than a tenth look flat.
fn draw_past(frame: &mut Frame<'_>, area: Rect, model: &Model, state: State, theme: Theme) {
    const LEVELS: u64 = 8;
    let width = usize::from(area.width);
    let values = model.shown().past(model.family(), state, width);
    let (Some(&min), Some(&max)) = (values.iter().min(), values.iter().max()) else { return };
    if max == 0 {
        return;
    }
    let range = (max - min).max(max / 10).max(LEVELS - 1);
    let level = |value: u64| Some((value - min) * (LEVELS - 1) / range + 1);
    let missing = std::iter::repeat_n(None, width - values.len());
    let bars: Vec<Option<u64>> = missing.chain(values.iter().map(|&value| level(value))).collect();
    let sparkline = Sparkline::default().data(bars).max(LEVELS).style(theme.past());
    let sparkline = sparkline.bar_set(theme.levels());
    frame.render_widget(sparkline.absent_value_symbol(" "), area);
}
