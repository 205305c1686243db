//! The processes that hold the sockets of a state, and the connections that no process has accepted.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span, Text},
    widgets::{Paragraph, Wrap},
};

use super::{
    number,
    scopes::end_of,
    status_line::{cut, short_duration},
    theme::{FAINT, TITLE, Theme},
};
use crate::{
    states::{State, state_word},
    text::plural,
    top::{
        Model,
        holders::{HolderRow, Holders, Place, Processes, Question, QueueRow},
    },
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    Sockets,
    Oldest,
    Process,
    Port,
    Peer,
    Unit,
}

/// The columns, each set with the minimum width of the view.
const COLUMNS: [(u16, &[Column]); 5] = {
    use Column::{Oldest, Peer, Port, Process, Sockets, Unit};
    [
        (0, &[Sockets, Process]),
        (40, &[Sockets, Oldest, Process]),
        (60, &[Sockets, Oldest, Process, Port]),
        (80, &[Sockets, Oldest, Process, Port, Peer]),
        (110, &[Sockets, Oldest, Process, Port, Peer, Unit]),
    ]
};

/// A line about the question, a title, a line for each row, and one about what is not visible.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let (Some(question), Some(view)) = (model.question(), model.holders_view()) else { return };
    let holders = match model.answer().map(|answer| &answer.holders) {
        Some(Ok(holders)) => holders,
        other => {
            let [summary, rest] =
                Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
            let (text, style) = match (other, &question.place) {
                (Some(Err(problem)), _) => (problem.clone(), theme.alert()),
                (_, Place::Unknown(name)) => (unknown(name), theme.alert()),
                _ => ("reading what processes hold ...".to_owned(), FAINT),
            };
            frame.render_widget(
                summary_line(&question, String::new(), summary.width, theme),
                summary,
            );
            let text = Text::styled(text, style);
            frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), rest);
            return;
        }
    };
    let [summary, title, list, last] = parts(area, holders);
    frame.render_widget(
        summary_line(&question, held(holders, model.counted()), summary.width, theme),
        summary,
    );
    if let Some(note) = note(holders) {
        frame.render_widget(Text::styled(note, theme.alert()), last);
    }
    if holders.rows.is_empty() {
        frame.render_widget(Text::styled(nothing(question.state, holders.hidden), FAINT), title);
    } else {
        draw_titles(frame, title);
    }
    draw_list(frame, list, holders, view.scrolled, theme);
}

/// The summary, the title, the list, and the note.
pub(super) fn parts(area: Rect, holders: &Holders) -> [Rect; 4] {
    Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(u16::from(note(holders).is_some())),
    ])
    .areas(area)
}

/// The state, how many of its sockets are held, and where.
fn summary_line(question: &Question, held: String, width: u16, theme: Theme) -> Line<'static> {
    let place = match &question.place {
        Place::Own => "its own network namespace".to_owned(),
        Place::Netns { name, .. } => format!("netns {name}"),
        Place::Cgroup(path) => format!("cgroup {path}"),
        Place::Port(port) => format!("port {port}"),
        Place::Unknown(name) => name.clone(),
    };
    let state = state_word(question.state).to_uppercase();
    let used = state.len() + held.len() + "  in ".len();
    let place = end_of(&place, usize::from(width).saturating_sub(used), theme);
    Line::from(vec![
        Span::styled(state, TITLE),
        Span::raw(held),
        Span::styled(format!("  in {place}"), FAINT),
    ])
}

/// The number of sockets that are held, and of all if there are more.
fn held(holders: &Holders, counted: Option<u64>) -> String {
    let held = number::count(holders.sockets, 9);
    match counted.filter(|counted| *counted > holders.sockets) {
        Some(all) => format!("  {held} held of {}", number::count(all, 9)),
        None => format!("  {held} held"),
    }
}

/// What the list lacks; `None` if it lacks nothing.
fn note(holders: &Holders) -> Option<String> {
    let Holders { hidden, more_rows, .. } = holders;
    let mut parts = Vec::new();
    if *hidden > 0 {
        let processes = if *hidden == 1 { "process" } else { "processes" };
        let count = number::count(*hidden, 6);
        parts.push(format!("{count} {processes} hidden: grant CAP_BPF, CAP_PERFMON"));
    }
    if *more_rows > 0 {
        let more = *more_rows as u64;
        let s = plural(more);
        parts.push(format!("{} more row{s}: tcpstat who", number::count(more, 6)));
    }
    (!parts.is_empty()).then(|| parts.join(";  "))
}

fn nothing(state: State, hidden: u64) -> &'static str {
    match state {
        State::TimeWait => "no process: the kernel keeps these sockets",
        State::SynRecv => "no process: not accepted yet",
        _ if hidden > 0 => "no visible process holds such a socket",
        _ => "no process holds such a socket",
    }
}

fn unknown(name: &str) -> String {
    format!(
        "Which sockets are in the scope {name} is not known. Mark another one, or press w in the \
         view of the states."
    )
}

fn draw_titles(frame: &mut Frame<'_>, line: Rect) {
    let columns = columns(line.width);
    for (column, cell) in columns.iter().zip(cells(line, columns)) {
        let title = Text::styled(column.title(), TITLE).alignment(column.alignment());
        frame.render_widget(title, cell);
    }
}

/// The rows, then the accept queues below their title.
fn draw_list(frame: &mut Frame<'_>, area: Rect, holders: &Holders, scrolled: usize, theme: Theme) {
    let rows = holders.rows.len();
    let lines = (area.y..area.bottom()).map(|y| Rect { y, height: 1, ..area });
    for (at, line) in (scrolled..holders.lines()).zip(lines) {
        if let Some(row) = holders.rows.get(at) {
            draw_row(frame, line, row, theme);
        } else if at == rows {
            let title = vec![
                Span::styled("WAITING", TITLE),
                Span::styled(" to be accepted, in any state", FAINT),
            ];
            frame.render_widget(Line::from(title), line);
        } else if let Some(queue) = holders.queues.get(at - rows - 1) {
            draw_queue(frame, line, queue, theme);
        }
    }
}

fn draw_row(frame: &mut Frame<'_>, line: Rect, row: &HolderRow, theme: Theme) {
    let columns = columns(line.width);
    for (column, cell) in columns.iter().zip(cells(line, columns)) {
        let width = cell.width.into();
        let text = match column {
            Column::Sockets => number::count(row.sockets, width),
            Column::Oldest => row.oldest.map_or_else(|| "-".to_owned(), short_duration),
            Column::Process => processes(&row.processes, width, theme),
            Column::Port => row.port.clone(),
            Column::Peer => end_of(&row.peer, width, theme),
            Column::Unit => end_of(&row.unit, width, theme),
        };
        frame.render_widget(Text::raw(text).alignment(column.alignment()), cell);
    }
}

fn draw_queue(frame: &mut Frame<'_>, line: Rect, queue: &QueueRow, theme: Theme) {
    let limit = queue.limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    let widths = [Constraint::Length(7), Constraint::Min(0)];
    let [waiting, rest] = Layout::horizontal(widths).spacing(1).areas(line);
    let count = Text::raw(number::count(queue.waiting, waiting.width.into()));
    let full = queue.limit.is_some_and(|limit| queue.waiting > limit);
    let style = if full { theme.alert() } else { Style::new() };
    frame.render_widget(count.style(style).alignment(Alignment::Right), waiting);
    let place = format!("{}  ", queue.listener);
    let start = Span::styled(format!("{} ", limit.trim_start()), FAINT);
    let used = Span::raw(&place).width() + start.width();
    let text = processes(&queue.processes, usize::from(rest.width).saturating_sub(used), theme);
    let spans = vec![start, Span::raw(place), Span::raw(text)];
    frame.render_widget(Line::from(spans), rest);
}

/// Cuts the command if needed, and never the number of other processes.
fn processes(processes: &Processes, width: usize, theme: Theme) -> String {
    let Processes { first, others } = processes;
    if *others == 0 {
        return cut(first, width, theme);
    }
    let others = format!(" +{others}");
    cut(first, width.saturating_sub(others.len()), theme) + &others
}

fn columns(width: u16) -> &'static [Column] {
    let fitting = COLUMNS.iter().rfind(|(least, _)| *least <= width);
    fitting.map_or(COLUMNS[0].1, |(_, columns)| *columns)
}

fn cells(line: Rect, columns: &[Column]) -> Vec<Rect> {
    let widths = columns.iter().map(|column| column.width());
    Layout::horizontal(widths).spacing(1).split(line).to_vec()
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Sockets => "SOCKETS",
            Self::Oldest => "OLDEST",
            Self::Process => "PROCESS",
            Self::Port => "PORT",
            Self::Peer => "PEER",
            Self::Unit => "UNIT",
        }
    }

    fn width(self) -> Constraint {
        match self {
            Self::Sockets | Self::Oldest => Constraint::Length(7),
            Self::Process => Constraint::Min(0),
            Self::Port => Constraint::Length(10),
            Self::Peer => Constraint::Length(22),
            Self::Unit => Constraint::Length(24),
        }
    }

    fn alignment(self) -> Alignment {
        match self {
            Self::Sockets | Self::Oldest => Alignment::Right,
            _ => Alignment::Left,
        }
    }
}

#[cfg(test)]
mod tests;
