//! The log of a program that has the terminal: its last line is held, to be shown where it spoils
//! nothing.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

/// Where the log is written to; clones share it.
#[derive(Clone, Debug, Default)]
pub struct LogLines(Arc<Mutex<Option<String>>>);

impl LogLines {
    /// The last line.
    #[must_use]
    pub fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for LogLines {
    /// A line comes as a whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        if let Some(last) = last {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(last.to_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogLines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
