//! The header: the host, the number of sockets, the time, and whether the numbers can be trusted.

use std::time::{Duration, SystemTime};

use ratatui::{
    Frame,
    layout::{Alignment, Rect},
    text::{Line, Span},
};

use super::{
    MULTI_LINE_HEIGHT, TWO_LINE_HEIGHT, number,
    status_line::{host_name, min_width, status_lines},
    theme::{FAINT, KEY, TITLE, Theme},
};
use crate::{text::plural, top::Model};

/// Height of the header in a view of that size: one line if there is little room, else as many as it takes to
/// cut nothing off.
pub(super) fn height(model: &Model, theme: Theme, view: Rect) -> u16 {
    if view.height < TWO_LINE_HEIGHT {
        return 1;
    }
    let most = if view.height >= MULTI_LINE_HEIGHT { 3 } else { 2 };
    let lines = health(model, theme, view.width.into(), most - 1).len();
    1 + u16::try_from(lines).unwrap_or(1)
}

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, theme: Theme) {
    let status = &model.shown().status;
    let mut right = clock(model, area.width >= 70);
    if area.height == 1 && right.width() + min_width(status) > area.width.into() {
        right = paused(model);
    }
    let first = Rect { height: area.height.min(1), ..area };
    let used = u16::try_from(right.width() + 1).unwrap_or(u16::MAX);
    let left = Rect { width: area.width.saturating_sub(used), ..first };
    frame.render_widget(right, first);
    if area.height == 1 {
        // The host comes last, because a long name is cut off.
        let mut line = health(model, theme, left.width.into(), 1).swap_remove(0);
        let rest = usize::from(left.width).saturating_sub(line.width() + 2);
        line.push_span(Span::raw(format!("  {}", host_name(status, rest, theme))));
        frame.render_widget(line, left);
        return;
    }
    frame.render_widget(title(model, left.width.into(), theme), left);
    let lines = health(model, theme, area.width.into(), area.height.saturating_sub(1).into());
    for (line, y) in lines.into_iter().zip(area.y + 1..area.bottom()) {
        frame.render_widget(line, Rect { y, height: 1, ..area });
    }
}

/// Whether the numbers can be trusted. Before the first numbers, the body shows the problem.
fn health(model: &Model, theme: Theme, width: usize, lines: usize) -> Vec<Line<'static>> {
    let status = &model.shown().status;
    if model.is_empty() && status.problem.is_some() {
        return vec![Line::styled("no numbers yet", theme.alert())];
    }
    status_lines(status, theme, width, lines)
}

/// Cuts the names of host and exporter if needed, and never the number of sockets.
fn title(model: &Model, width: usize, theme: Theme) -> Line<'static> {
    let sockets: u64 = model.rows().iter().map(|row| row.sockets).sum();
    let plural = plural(sockets);
    let sockets = format!("{} socket{plural}", number::count(sockets, 12));
    let status = &model.shown().status;
    let version = concat!(" ", env!("CARGO_PKG_VERSION"));
    let rest = width.saturating_sub("tcpstat".len() + 4 + sockets.len());
    let full = host_name(status, usize::MAX, theme).chars().count();
    let version = if rest >= full + version.len() { version } else { "" };
    let name = host_name(status, rest - version.len().min(rest), theme);
    Line::from(vec![
        Span::styled("tcpstat", TITLE),
        Span::styled(version, FAINT),
        Span::raw(format!("  {name}  {sockets}")),
    ])
}

/// The time of the numbers, and whether the view is paused.
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
