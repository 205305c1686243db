//! Colours, of the sixteen that every terminal has, and never the only sign of anything; and symbols.

use ratatui::{
    style::{Color, Modifier, Style},
    symbols,
};

/// Titles.
pub(super) const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);

/// What matters less than the rest: zeros, units.
pub(super) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);

/// A key, and what stands out without being wrong.
pub(super) const KEY: Style = Style::new().add_modifier(Modifier::REVERSED);

const EIGHTHS: [&str; 9] = [
    "",
    symbols::block::ONE_EIGHTH,
    symbols::block::ONE_QUARTER,
    symbols::block::THREE_EIGHTHS,
    symbols::block::HALF,
    symbols::block::FIVE_EIGHTHS,
    symbols::block::THREE_QUARTERS,
    symbols::block::SEVEN_EIGHTHS,
    symbols::block::FULL,
];

const ASCII_LEVELS: symbols::bar::Set<'_> = symbols::bar::Set {
    empty: " ",
    one_eighth: "_",
    one_quarter: ".",
    three_eighths: ".",
    half: "-",
    five_eighths: "-",
    three_quarters: "=",
    seven_eighths: "=",
    full: "#",
};

const ASCII_BORDER: symbols::border::Set<'_> = symbols::border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether there are colours at all.
    pub colours: bool,
    /// Whether there is more than ASCII.
    pub unicode: bool,
}

impl Theme {
    /// What a bar is made of: nothing, then one part after the other up to a full column.
    pub(super) fn parts(self) -> &'static [&'static str] {
        if self.unicode { &EIGHTHS } else { &["", "#"] }
    }

    /// How high something was, from the lowest on.
    pub(super) fn levels(self) -> symbols::bar::Set<'static> {
        if self.unicode { symbols::bar::NINE_LEVELS } else { ASCII_LEVELS }
    }

    /// What the help is framed by.
    pub(super) fn border(self) -> symbols::border::Set<'static> {
        if self.unicode { symbols::border::PLAIN } else { ASCII_BORDER }
    }

    /// From one state to another.
    pub(super) fn arrow(self) -> &'static str {
        if self.unicode { "→" } else { ">" }
    }

    /// Where something is left out.
    pub(super) fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }

    /// Bars of what is there now. Cyan and yellow stay apart for every kind of colour-blindness, and are
    /// light on dark as well as dark enough on light.
    pub(super) fn now(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// What was.
    pub(super) fn past(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::DIM)
    }

    /// What the eye is to fall on. It says so in words too.
    pub(super) fn alert(self) -> Style {
        self.coloured(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}
