//! The log while the terminal shows the view: only its last line is kept, and the view shows it.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

/// A writer of the log; clones share the line.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastLogLine(Arc<Mutex<Option<String>>>);

impl LastLogLine {
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Write for LastLogLine {
    /// Each call writes a whole line.
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

impl<'a> MakeWriter<'a> for LastLogLine {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
