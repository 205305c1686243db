//! A terminal that a program runs in: a tmux session with a server of its own.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::binary::output;
use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::skip::require_program;

/// A terminal in the network namespace of the thread that opened it. Dropping it kills the programs in it.
#[derive(Debug)]
pub struct Terminal {
    folder: TempDir,
}

impl Terminal {
    /// Runs `script` in a shell, in a terminal of that many columns and rows.
    ///
    /// # Errors
    /// A [`Skip`](crate::skip::Skip) if there is no tmux; fails if tmux does.
    pub fn open(script: &str, (columns, rows): (u16, u16)) -> Result<Self> {
        require_program("tmux")?;
        let terminal = Self { folder: tempfile::tempdir()? };
        let [columns, rows] = [columns, rows].map(|size| size.to_string());
        terminal.tmux(["new-session", "-d", "-x", &columns, "-y", &rows, "sh", "-c", script])?;
        Ok(terminal)
    }

    /// The screen, line by line.
    ///
    /// # Errors
    /// Fails when the script has ended.
    pub fn screen(&self) -> Result<String> {
        self.tmux(["capture-pane", "-p"])
    }

    /// The process id of the shell.
    ///
    /// # Errors
    /// As [`Terminal::screen`].
    pub fn shell(&self) -> Result<u32> {
        Ok(self.format("#{pane_pid}")?.parse()?)
    }

    /// Presses a key, by tmux's name for it.
    ///
    /// # Errors
    /// As [`Terminal::screen`].
    pub fn press(&self, key: &str) -> Result<()> {
        self.tmux(["send-keys", key]).map(drop)
    }

    /// Expands a format of tmux, for example `#{pane_title}`.
    ///
    /// # Errors
    /// As [`Terminal::screen`].
    pub fn format(&self, format: &str) -> Result<String> {
        Ok(self.tmux(["display-message", "-p", format])?.trim_end_matches('\n').to_owned())
    }

    /// Pastes `text`: as a bracketed paste if the program has enabled it, or as if it were typed.
    ///
    /// # Errors
    /// As [`Terminal::screen`].
    pub fn paste(&self, text: &str, bracketed: bool) -> Result<()> {
        // tmux takes no argument of more than 16 KB.
        let file = self.folder.path().join("pasted");
        fs::write(&file, text)?;
        self.tmux([OsStr::new("load-buffer"), file.as_os_str()])?;
        let args: &[&str] = if bracketed { &["paste-buffer", "-p"] } else { &["paste-buffer"] };
        self.tmux(args).map(drop)
    }

    /// Changes its size.
    ///
    /// # Errors
    /// As [`Terminal::screen`].
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        let [columns, rows] = [columns, rows].map(|size| size.to_string());
        self.tmux(["resize-window", "-x", &columns, "-y", &rows]).map(drop)
    }

    /// Waits until `is` accepts the screen, and returns the screen.
    ///
    /// # Errors
    /// Fails with the last screen if that takes longer than [`DEADLINE`].
    pub fn await_screen(&self, what: &str, is: impl Fn(&str) -> bool) -> Result<String> {
        wait_until(what, DEADLINE, || {
            let screen = self.screen()?;
            Ok(if is(&screen) { Progress::Done(screen) } else { Progress::NotYet(screen) })
        })
    }

    fn tmux<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        let mut command = Command::new("tmux");
        command.args(["-u", "-f", "/dev/null"]).args(args);
        command.env("TMUX_TMPDIR", self.folder.path()).env_remove("TMUX").env("LC_ALL", "C.UTF-8");
        let run = output(&mut command)?;
        ensure!(run.status == Some(0), "{command:?}: {run:?}");
        Ok(run.stdout)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It fails if the server has ended with its last session.
        let _ = self.tmux(["kill-server"]);
    }
}
