//! What is typed, from the bytes that a terminal sends. A paste is skipped, however long it is.
//!
//! crossterm's reader is not used: it waits for an edge of readiness with input left unread, so that a
//! paste of more than a kilobyte stands still until something else is typed.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    thread,
};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tokio::sync::mpsc;

/// Bytes that are read at once.
const CHUNK: usize = 4_096;

/// Chunks that may wait while a frame is drawn.
const WAITING: usize = 4;

/// The terminal that a process is controlled by, whatever its standard input is.
const CONTROLLING: &str = "/dev/tty";

/// What comes before a paste, and after it, in a terminal that was asked to tell them.
const PASTE: (u16, u16) = (200, 201);

/// The keys that are typed, some at a time, until the terminal goes.
///
/// # Errors
/// Where there is no terminal to read from, or no thread.
pub(super) fn typed() -> io::Result<mpsc::Receiver<Vec<KeyEvent>>> {
    let (tell, told) = mpsc::channel(WAITING);
    let mut terminal: Box<dyn Read + Send> = if io::stdin().is_terminal() {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(CONTROLLING).map_err(named)?)
    };
    // It waits in read(2) when the process ends, which ends it.
    thread::Builder::new().name("keys".into()).spawn(move || {
        let mut keys = Keys::default();
        let mut chunk = [0; CHUNK];
        loop {
            match terminal.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) | Ok(0) => return,
                Ok(length) => {
                    if tell.blocking_send(keys.take(&chunk[..length])).is_err() {
                        return;
                    }
                }
            }
        }
    })?;
    Ok(told)
}

/// An error of the terminal that keys come from, which its settings belong to as well.
pub(super) fn named(error: io::Error) -> io::Error {
    if io::stdin().is_terminal() {
        return error;
    }
    let told = format!("{CONTROLLING}, because standard input is not a terminal: {error}");
    io::Error::new(error.kind(), told)
}

/// What is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Keys {
    /// A key, next.
    #[default]
    Key,
    /// What follows an escape: a sequence, a key with Alt, or nothing, which was Escape itself.
    Escape { told: bool, pasting: bool },
    /// A control sequence, with its number so far.
    Sequence { number: u16, pasting: bool },
    /// The one letter that a function key sends after `ESC O`.
    Letter,
    /// A paste.
    Pasted,
}

impl Keys {
    /// The keys in the next bytes.
    fn take(&mut self, bytes: &[u8]) -> Vec<KeyEvent> {
        let mut keys: Vec<_> = bytes.iter().filter_map(|&byte| self.next(byte)).collect();
        // A sequence comes as a whole, so that this was the key.
        if let Self::Escape { told: told @ false, pasting: false } = self {
            *told = true;
            keys.push(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
        }
        keys
    }

    fn next(&mut self, byte: u8) -> Option<KeyEvent> {
        const ESCAPE: u8 = 0x1b;
        let state = *self;
        *self = match (state, byte) {
            (Self::Key | Self::Escape { pasting: false, .. } | Self::Letter, ESCAPE) => {
                Self::Escape { told: false, pasting: false }
            }
            (Self::Pasted | Self::Escape { pasting: true, .. }, ESCAPE) => {
                Self::Escape { told: false, pasting: true }
            }
            (Self::Sequence { pasting, .. }, ESCAPE) => Self::Escape { told: false, pasting },
            (Self::Escape { pasting: false, .. }, b'O') => Self::Letter,
            (Self::Sequence { number, pasting }, b'0'..=b'9') => Self::Sequence {
                number: number.saturating_mul(10).saturating_add(u16::from(byte - b'0')),
                pasting,
            },
            (Self::Sequence { number, pasting }, 0x40..=0x7e) => match (number, byte) {
                (number, b'~') if number == PASTE.0 => Self::Pasted,
                (number, b'~') if number == PASTE.1 => Self::Key,
                _ if pasting => Self::Pasted,
                _ => Self::Key,
            },
            (Self::Escape { pasting, .. }, b'[')
            | (Self::Sequence { pasting, .. }, 0x20..=0x3f) => {
                Self::Sequence { number: 0, pasting }
            }
            (
                Self::Sequence { pasting: true, .. }
                | Self::Escape { pasting: true, .. }
                | Self::Pasted,
                _,
            ) => Self::Pasted,
            _ => Self::Key,
        };
        match (state, byte) {
            (Self::Key | Self::Escape { told: true, .. }, _) if *self == Self::Key => key(byte),
            _ => None,
        }
    }
}

/// Those that anything is done at.
fn key(byte: u8) -> Option<KeyEvent> {
    match byte {
        b' '..=b'~' => Some(KeyEvent::new(KeyCode::Char(byte.into()), KeyModifiers::NONE)),
        // Control and a letter is its place in the alphabet.
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

    /// `<` for Escape, `^` before what came with Control.
    fn typed(chunks: &[&str]) -> String {
        let mut keys = Keys::default();
        let typed = chunks.iter().flat_map(|chunk| keys.take(chunk.as_bytes()));
        let written = typed.map(|key| match key.code {
            KeyCode::Esc => "<".to_owned(),
            KeyCode::Char(c) if key.modifiers.contains(KeyModifiers::CONTROL) => format!("^{c}"),
            KeyCode::Char(c) => c.to_string(),
            other => format!("{other:?}"),
        });
        written.collect()
    }

    #[test]
    fn keys_are_told_and_sequences_are_none() {
        for (sent, told) in [
            ("q", "q"),
            ("? +-", "? +-"),
            ("\u{3}", "^c"),
            ("\u{1b}", "<"),
            ("\u{1b}[Aq", "q"),
            ("\u{1b}[1;5Cq", "q"),
            ("\u{1b}OPq", "q"),
            ("\u{1b}qs", "s"),
            ("ésé", "s"),
            ("\u{1b}\u{1b}", "<"),
        ] {
            assert_eq!(typed(&[sent]), told, "{sent:?}");
        }
        assert_eq!(typed(&["\u{1b}", "s"]), "<s", "Escape and then a key");
        assert_eq!(typed(&["\u{1b}", "[A", "s"]), "<s");
    }

    #[test]
    fn a_paste_is_no_key_wherever_it_is_divided() {
        let text = "s\u{1b}[200~q\u{3}\u{1b}\u{1b}[Aq\u{1b}[201q\u{1b}q\nq\u{1b}[201~f";
        for first in (0..=text.len()).filter(|&at| text.is_char_boundary(at)) {
            let (before, after) = text.split_at(first);
            let told = typed(&[before, after]);
            // An escape at the end of a chunk is Escape: it quits nothing.
            assert_eq!(told.replace('<', ""), "sf", "{before:?} {after:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_more_keys_than_there_are(bytes in any::<Vec<u8>>()) {
            let mut keys = Keys::default();
            prop_assert!(keys.take(&bytes).len() <= bytes.len() + 1);
        }
    }
}
