//! A bar of blocks, an eighth of a column fine where there are such blocks.

use ratatui::{Frame, layout::Rect, text::Text};

use super::{
    Theme,
    number::{precise, whole},
};

/// As long as `value` is of `most`, which takes all of `area`. What is not 0 is seen.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, value: f64, most: f64, theme: Theme) {
    let bar = bar(area.width, value, most, theme.parts());
    frame.render_widget(Text::styled(bar, theme.now()), area);
}

/// The last of `parts` is a full column.
fn bar(width: u16, value: f64, most: f64, parts: &[&str]) -> String {
    if width == 0 || value <= 0.0 || most <= 0.0 {
        return String::new();
    }
    let column = parts.len() - 1;
    let most_parts = f64::from(width) * precise(column as u64);
    let filled = whole((value / most * most_parts).clamp(1.0, most_parts));
    parts[column].repeat(filled / column) + parts[filled % column]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        let bar = |width, value, most| {
            super::bar(width, value, most, Theme { colours: true, unicode: true }.parts())
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
