//! Colours and symbols. The colours are of the sixteen that every terminal has, and never the only sign of
//! anything.

use ratatui::{
    style::{Color, Modifier, Style},
    symbols,
};

pub(super) const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);

/// For what matters less: zeros, units.
pub(super) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);

/// For keys, and for what must stand out but is not an error.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Theme {
    pub(crate) colours: bool,
    /// Whether characters other than ASCII are allowed.
    pub(crate) unicode: bool,
}

impl Theme {
    /// The parts of a bar: nothing, then increasing parts up to a full column.
    pub(super) fn parts(self) -> &'static [&'static str] {
        if self.unicode { &EIGHTHS } else { &["", "#"] }
    }

    /// The symbols of a sparkline, lowest first.
    pub(super) fn levels(self) -> symbols::bar::Set<'static> {
        if self.unicode { symbols::bar::NINE_LEVELS } else { ASCII_LEVELS }
    }

    pub(super) fn border(self) -> symbols::border::Set<'static> {
        if self.unicode { symbols::border::PLAIN } else { ASCII_BORDER }
    }

    pub(super) fn arrow(self) -> &'static str {
        if self.unicode { "→" } else { ">" }
    }

    pub(super) fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }

    /// For bars. Cyan and yellow differ for every kind of colour-blindness, and have enough contrast on dark
    /// and on light backgrounds.
    pub(super) fn now(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// For sparklines.
    pub(super) fn past(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::DIM)
    }

    /// For problems, which the text names as well.
    pub(super) fn alert(self) -> Style {
        self.coloured(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}
