//! The help: the keys and the columns.

use ratatui::{
    Frame,
    layout::{Constraint, Flex, Layout},
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph},
};

use super::theme::{TITLE, Theme};

const KEYS: [(&str, &str); 12] = [
    ("q", "quit; so does Ctrl-C"),
    ("space", "pause and continue; so does p"),
    ("v", "view: states, then scopes: namespaces, cgroups, ports"),
    ("d", "details: causes, ages, ports, listeners; of the marked namespace"),
    ("w", "who: processes that hold the marked sockets; back"),
    ("j k", "mark a state or a scope, scroll; so do the arrows"),
    ("[ ]", "another state, in the view of processes"),
    ("s", "sort: states, count, rate; scopes by a column"),
    ("f", "family: all, ipv4, ipv6 sockets"),
    ("+ -", "update less often, more often"),
    ("?", "show and hide this help"),
    ("", ""),
];

const COLUMNS: [(&str, &str); 7] = [
    ("1 MIN", "sockets more or fewer than a minute ago"),
    ("PEAK", "highest number of sockets within the last minute"),
    ("IN OUT", "full sockets that enter and leave, per second;"),
    ("", "not those of mini-sockets and requests"),
    ("bar", "longest for the state with the most sockets"),
    ("PAST", "one column per update, newest at the right,"),
    ("", "from its lowest to its highest value"),
];

/// Draws over the middle of the view. If there is too little room, it has no border, and the last lines are cut off.
pub(super) fn draw(frame: &mut Frame<'_>, theme: Theme) {
    let roomy = frame.area().width >= 64;
    let lines = KEYS.iter().chain(if roomy { COLUMNS.as_slice() } else { &[] });
    let lines: Vec<_> = lines
        .map(|(key, what)| {
            Line::from(vec![
                Span::styled(format!("{key:>7}"), TITLE),
                Span::raw(format!("  {what}")),
            ])
        })
        .collect();
    let width = lines.iter().map(Line::width).max().unwrap_or_default() + 4;
    let size = |size: usize| Constraint::Length(u16::try_from(size).unwrap_or(u16::MAX));
    let [column] = Layout::horizontal([size(width)]).flex(Flex::Center).areas(frame.area());
    let [area] = Layout::vertical([size(lines.len() + 2)]).flex(Flex::Center).areas(column);
    let has_border = usize::from(area.height) == lines.len() + 2;
    let border = Block::bordered().border_set(theme.border()).title(" keys ");
    frame.render_widget(Clear, area);
    frame.render_widget(
        Paragraph::new(lines).block(if has_border { border } else { Block::new() }),
        area,
    );
}
