//! Colours: of the sixteen that every terminal has, and never the only sign of anything.

use ratatui::style::{Color, Modifier, Style};

/// Titles.
pub(super) const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);

/// What matters less than the rest: zeros, units.
pub(super) const FAINT: Style = Style::new().add_modifier(Modifier::DIM);

/// A key, and what stands out without being wrong.
pub(super) const KEY: Style = Style::new().add_modifier(Modifier::REVERSED);

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether there are colours at all.
    pub colours: bool,
}

impl Theme {
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
