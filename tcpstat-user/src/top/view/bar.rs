//! A bar of block characters, with a resolution of an eighth of a column if the terminal has such characters.

use ratatui::{Frame, layout::Rect, text::Text};

use super::{
    Theme,
    number::{rounded, to_f64},
};

/// Draws a bar whose length is `value / max` of the area's width. A value above 0 is visible.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, value: f64, max: f64, theme: Theme) {
    let bar = bar(area.width, value, max, theme.parts());
    frame.render_widget(Text::styled(bar, theme.now()), area);
}

/// The last of `parts` is a full column.
fn bar(width: u16, value: f64, max: f64, parts: &[&str]) -> String {
    if width == 0 || value <= 0.0 || max <= 0.0 {
        return String::new();
    }
    let column = parts.len() - 1;
    let max_parts = f64::from(width) * to_f64(column as u64);
    let filled = rounded((value / max * max_parts).clamp(1.0, max_parts));
    parts[column].repeat(filled / column) + parts[filled % column]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_bar_is_the_share_of_its_value() {
        let bar = |width, value, max| {
            super::bar(width, value, max, Theme { colours: true, unicode: true }.parts())
        };
        assert_eq!(bar(4, 10.0, 10.0), "████");
        assert_eq!(bar(4, 5.0, 10.0), "██");
        assert_eq!(bar(4, 3.0, 8.0), "█▌");
        assert_eq!(bar(4, 0.001, 10.0), "▏");
        assert_eq!(bar(4, 0.0, 10.0), "");
        assert_eq!(bar(4, 0.0, 0.0), "");
        assert_eq!(super::bar(4, 3.0, 8.0, &["", "#"]), "##");
    }
}
