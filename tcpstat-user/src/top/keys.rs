//! Keys, from the bytes that a terminal sends. A paste of any length is skipped.
//!
//! crossterm's reader is not used: it waits for an edge of readiness while input is still unread, so that a
//! paste of more than a kilobyte stops until another key is pressed.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    thread,
};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tokio::sync::mpsc;

/// Bytes of one read.
const CHUNK_BYTES: usize = 4_096;

/// Chunks of keys that may wait while a frame is drawn.
const MAX_WAITING: usize = 4;

/// The controlling terminal, which need not be standard input.
const CONTROLLING_TERMINAL: &str = "/dev/tty";

/// The numbers of the control sequences before and after a bracketed paste.
const PASTE_START: u16 = 200;
const PASTE_END: u16 = 201;

/// Starts a thread that reads keys until the terminal closes.
///
/// # Errors
/// If there is no terminal to read from, or the thread cannot be started.
pub(super) fn typed() -> io::Result<mpsc::Receiver<Vec<KeyEvent>>> {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    let mut terminal: Box<dyn Read + Send> = if io::stdin().is_terminal() {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(CONTROLLING_TERMINAL).map_err(named)?)
    };
    // The thread waits in read(2) until the process ends.
    thread::Builder::new().name("keys".into()).spawn(move || {
        let mut parser = Parser::default();
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            match terminal.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) | Ok(0) => return,
                Ok(length) => {
                    if sender.blocking_send(parser.parse(&chunk[..length])).is_err() {
                        return;
                    }
                }
            }
        }
    })?;
    Ok(receiver)
}

/// Adds the name of the terminal to its error, if keys do not come from standard input.
pub(super) fn named(error: io::Error) -> io::Error {
    if io::stdin().is_terminal() {
        return error;
    }
    let message =
        format!("{CONTROLLING_TERMINAL}, because standard input is not a terminal: {error}");
    io::Error::new(error.kind(), message)
}

/// The state of the parser: what the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Parser {
    #[default]
    Key,
    /// After an escape: a control sequence, or a key with Alt. `reported` means that the escape was at the end
    /// of a chunk and was reported as the key Escape.
    Escape {
        reported: bool,
        pasting: bool,
    },
    /// In a control sequence; with its number so far. `empty` means that there is nothing after `ESC [` yet.
    Sequence {
        number: u16,
        empty: bool,
        pasting: bool,
    },
    /// The letter that a function key sends after `ESC O`, and an arrow key in some modes of the terminal.
    Letter,
    Paste,
}

impl Parser {
    /// The keys in the next bytes.
    fn parse(&mut self, bytes: &[u8]) -> Vec<KeyEvent> {
        let mut keys: Vec<_> = bytes.iter().filter_map(|&byte| self.next(byte)).collect();
        // A terminal sends a sequence as a whole, so an escape at the end is the key.
        if let Self::Escape { reported: reported @ false, pasting: false } = self {
            *reported = true;
            keys.push(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
        }
        keys
    }

    fn next(&mut self, byte: u8) -> Option<KeyEvent> {
        const ESCAPE: u8 = 0x1b;
        let state = *self;
        *self = match (state, byte) {
            (Self::Key | Self::Escape { pasting: false, .. } | Self::Letter, ESCAPE) => {
                Self::Escape { reported: false, pasting: false }
            }
            (Self::Paste | Self::Escape { pasting: true, .. }, ESCAPE) => {
                Self::Escape { reported: false, pasting: true }
            }
            (Self::Sequence { pasting, .. }, ESCAPE) => Self::Escape { reported: false, pasting },
            (Self::Escape { pasting: false, .. }, b'O') => Self::Letter,
            (Self::Sequence { number, pasting, .. }, b'0'..=b'9') => Self::Sequence {
                number: number.saturating_mul(10).saturating_add(u16::from(byte - b'0')),
                empty: false,
                pasting,
            },
            (Self::Sequence { number, pasting, .. }, 0x40..=0x7e) => match (number, byte) {
                (PASTE_START, b'~') => Self::Paste,
                (PASTE_END, b'~') => Self::Key,
                _ if pasting => Self::Paste,
                _ => Self::Key,
            },
            (Self::Escape { pasting, .. }, b'[') => {
                Self::Sequence { number: 0, empty: true, pasting }
            }
            (Self::Sequence { pasting, .. }, 0x20..=0x3f) => {
                Self::Sequence { number: 0, empty: false, pasting }
            }
            (
                Self::Sequence { pasting: true, .. }
                | Self::Escape { pasting: true, .. }
                | Self::Paste,
                _,
            ) => Self::Paste,
            _ => Self::Key,
        };
        match (state, byte) {
            (Self::Key | Self::Escape { reported: true, .. }, _) if *self == Self::Key => key(byte),
            (Self::Sequence { empty: true, pasting: false, .. } | Self::Letter, _) => arrow(byte),
            _ => None,
        }
    }
}

/// The arrow key that sends this letter at the end of its sequence; `None` for any other key.
fn arrow(letter: u8) -> Option<KeyEvent> {
    let code = match letter {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        _ => return None,
    };
    Some(KeyEvent::new(code, KeyModifiers::NONE))
}

/// The key of a single byte; `None` for a key that does nothing.
fn key(byte: u8) -> Option<KeyEvent> {
    match byte {
        b' '..=b'~' => Some(KeyEvent::new(KeyCode::Char(byte.into()), KeyModifiers::NONE)),
        // Control with a letter sends the letter's position in the alphabet.
        0x01..=0x1a => {
            let letter = char::from(byte - 1 + b'a');
            Some(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `<` for Escape, `^` before a key with Control.
    fn typed(chunks: &[&str]) -> String {
        let mut parser = Parser::default();
        let typed = chunks.iter().flat_map(|chunk| parser.parse(chunk.as_bytes()));
        let written = typed.map(|key| match key.code {
            KeyCode::Esc => "<".to_owned(),
            KeyCode::Char(c) if key.modifiers.contains(KeyModifiers::CONTROL) => format!("^{c}"),
            KeyCode::Char(c) => c.to_string(),
            other => format!("{other:?}"),
        });
        written.collect()
    }

    #[test]
    fn keys_and_arrows_are_reported_and_other_control_sequences_are_not() {
        for (sent, keys) in [
            ("q", "q"),
            ("? +-", "? +-"),
            ("\u{3}", "^c"),
            ("\u{1b}", "<"),
            ("\u{1b}[Aq", "Upq"),
            ("\u{1b}[B\u{1b}[C\u{1b}[Dj", "DownRightLeftj"),
            ("\u{1b}OA\u{1b}OB\u{1b}OC\u{1b}ODk", "UpDownRightLeftk"),
            ("\u{1b}[1;5Cq", "q"),
            ("\u{1b}[;A\u{1b}[?A\u{1b}[1Aq", "q"),
            ("\u{1b}[Eq\u{1b}[[Aq", "qAq"),
            ("\u{1b}OPq", "q"),
            ("\u{1b}qs", "s"),
            ("ésé", "s"),
            ("\u{1b}\u{1b}", "<"),
        ] {
            assert_eq!(typed(&[sent]), keys, "{sent:?}");
        }
        assert_eq!(typed(&["\u{1b}", "s"]), "<s", "Escape and then a key");
        assert_eq!(typed(&["\u{1b}", "[A", "s"]), "<Ups");
        assert_eq!(typed(&["\u{1b}[", "Bs"]), "Downs");
    }

    #[test]
    fn a_paste_is_skipped_wherever_it_is_divided() {
        let text = "s\u{1b}[200~q\u{3}\u{1b}\u{1b}[A\u{1b}OBq\u{1b}[201q\u{1b}q\nq\u{1b}[201~f";
        for first in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
            let (before, after) = text.split_at(first);
            let keys = typed(&[before, after]);
            // An escape at the end of a chunk is the key Escape.
            assert_eq!(keys.replace('<', ""), "sf", "{before:?} {after:?}");
        }
    }

    proptest! {
        #[test]
        fn there_are_at_most_as_many_keys_as_bytes(bytes in any::<Vec<u8>>()) {
            let mut parser = Parser::default();
            prop_assert!(parser.parse(&bytes).len() <= bytes.len() + 1);
        }
    }
}
