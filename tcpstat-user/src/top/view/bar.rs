//! A bar of blocks, an eighth of a column fine.

use ratatui::{Frame, layout::Rect, symbols::block, text::Text};

use super::Theme;

/// What begins a column, by the eighths of it that are full.
const EIGHTHS: [&str; 8] = [
    "",
    block::ONE_EIGHTH,
    block::ONE_QUARTER,
    block::THREE_EIGHTHS,
    block::HALF,
    block::FIVE_EIGHTHS,
    block::THREE_QUARTERS,
    block::SEVEN_EIGHTHS,
];

/// As long as `value` is of `most`, which takes all of `area`. What is not 0 is seen.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, value: f64, most: f64, theme: Theme) {
    frame.render_widget(Text::styled(bar(area.width, value, most), theme.now()), area);
}

fn bar(width: u16, value: f64, most: f64) -> String {
    if width == 0 || value <= 0.0 || most <= 0.0 {
        return String::new();
    }
    let whole = f64::from(width) * 8.0;
    let eighths = eighths((value / most * whole).clamp(1.0, whole));
    block::FULL.repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is between 0 and eight times the widest screen"
)]
fn eighths(number: f64) -> usize {
    number.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share() {
        assert_eq!(bar(4, 10.0, 10.0), "████");
        assert_eq!(bar(4, 5.0, 10.0), "██");
        assert_eq!(bar(4, 3.0, 8.0), "█▌");
        assert_eq!(bar(4, 0.001, 10.0), "▏");
        assert_eq!(bar(4, 0.0, 10.0), "");
        assert_eq!(bar(4, 0.0, 0.0), "");
    }
}
