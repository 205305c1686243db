//! What is seen, and what keys do to it. No I/O and no clock.

use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::numbers::{Numbers, Row, Update};
use crate::{
    states::Family,
    text::{self, plain},
};

/// In which order the states stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// The kernel's.
    #[default]
    States,
    /// The most sockets first.
    Count,
    /// The most sockets that come and go first.
    Rate,
}

/// What follows from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Stay,
    /// End.
    Quit,
}

/// All that the view shows.
#[derive(Clone, Debug)]
pub struct Model {
    /// What is going on.
    live: Numbers,
    /// What is shown while it is not to move.
    frozen: Option<Numbers>,
    family: Option<Family>,
    sort: Sort,
    interval: Duration,
    help: bool,
    message: Option<String>,
}

/// The intervals that the keys step through.
const INTERVALS: [Duration; 8] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
    Duration::from_mins(1),
];

impl Model {
    /// Nothing to see yet.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            live: Numbers::default(),
            frozen: None,
            family: None,
            sort: Sort::default(),
            interval,
            help: false,
            message: None,
        }
    }

    /// Takes what a look has found. While paused it is kept, and shown afterwards.
    pub fn take(&mut self, look: Update) {
        for sample in look.samples {
            self.live.history.push(sample);
        }
        self.live.status = look.status.plain();
    }

    /// What was last said in the log.
    pub fn say(&mut self, message: Option<String>) {
        self.message = message.map(|message| plain(&message, text::MESSAGE).into_owned());
    }

    /// What a key does.
    pub fn press(&mut self, key: KeyEvent) -> Flow {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Flow::Quit,
            _ if control => {}
            KeyCode::Char('q') => return Flow::Quit,
            KeyCode::Esc => self.help = false,
            KeyCode::Char('?' | 'h') => self.help = !self.help,
            KeyCode::Char(' ' | 'p') => {
                self.frozen = if self.paused() { None } else { Some(self.live.clone()) };
            }
            KeyCode::Char('s') => {
                self.sort = match self.sort {
                    Sort::States => Sort::Count,
                    Sort::Count => Sort::Rate,
                    Sort::Rate => Sort::States,
                }
            }
            KeyCode::Char('f') => {
                self.family = match self.family {
                    None => Some(Family::Ipv4),
                    Some(Family::Ipv4) => Some(Family::Ipv6),
                    Some(Family::Ipv6) => None,
                }
            }
            // The second of each is the same key without or with Shift.
            KeyCode::Char('+' | '=') => {
                let longer = INTERVALS.into_iter().find(|step| *step > self.interval);
                self.interval = longer.unwrap_or(self.interval);
            }
            KeyCode::Char('-' | '_') => {
                let shorter = INTERVALS.into_iter().rev().find(|step| *step < self.interval);
                self.interval = shorter.unwrap_or(self.interval);
            }
            _ => {}
        }
        Flow::Stay
    }

    /// What is to be shown.
    #[must_use]
    pub fn shown(&self) -> &Numbers {
        self.frozen.as_ref().unwrap_or(&self.live)
    }

    /// The states as they stand in the view.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = self.shown().rows(self.family);
        // Stable: what is alike stays in the kernel's order.
        match self.sort {
            Sort::States => {}
            Sort::Count => rows.sort_by_key(|row| std::cmp::Reverse(row.sockets)),
            Sort::Rate => rows.sort_by(|one, other| moving(other).total_cmp(&moving(one))),
        }
        rows
    }

    /// Whether there is nothing to see yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.history.newest().is_none()
    }

    /// Whether it stands still.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whose sockets; `None` for both.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        self.family
    }

    /// The order of the states.
    #[must_use]
    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// Time between two looks.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether the keys are explained.
    #[must_use]
    pub fn help(&self) -> bool {
        self.help
    }

    /// What was last said in the log.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

fn moving(row: &Row) -> f64 {
    row.arrivals.unwrap_or_default() + row.departures.unwrap_or_default()
}
