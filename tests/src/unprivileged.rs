//! The tcpstat binary, run as the user "nobody".

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::binary::{Run, output, path_from};
use crate::exporter::{Exporter, Options};

/// The user and group "nobody".
pub const NOBODY: u32 = 65_534;

/// No capabilities, in the words of setpriv.
pub const NO_CAPABILITIES: &str = "-all";

/// CAP_PERFMON and CAP_BPF alone, by number: an older setpriv does not know their names.
pub const BPF_CAPABILITIES: &str = "-all,+cap_38,+cap_39";

/// A copy of the binary in a folder that every user can read.
#[derive(Debug)]
pub struct ReachableBinary(TempDir);

impl ReachableBinary {
    /// Copies it.
    ///
    /// # Errors
    /// Fails if there is no binary.
    pub fn copy() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        fs::copy(path_from("TCPSTAT_BIN")?, folder.path().join("tcpstat"))?;
        Ok(Self(folder))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.0.path().join("tcpstat")
    }

    /// A command that runs it as nobody, with these capabilities and no way to gain others.
    #[must_use]
    pub fn command(&self, capabilities: &str) -> Command {
        let mut command = as_nobody(capabilities);
        command.arg(self.path());
        command
    }

    /// Runs it to its end as nobody, without capabilities.
    ///
    /// # Errors
    /// Fails if it does not start.
    pub fn run(&self, args: &[&str]) -> Result<Run> {
        output(self.command(NO_CAPABILITIES).args(args))
    }

    /// An exporter that runs as nobody, with these capabilities.
    #[must_use]
    pub fn exporter(&self, capabilities: &str) -> Options {
        Options::default().binary(self.path()).as_nobody(capabilities)
    }

    /// Starts an exporter as nobody, without capabilities.
    ///
    /// # Errors
    /// As [`Options::start`].
    pub fn serve(&self, args: &[&str]) -> Result<Exporter> {
        self.exporter(NO_CAPABILITIES).args(args).start()
    }

    /// A line for a shell that becomes `top`, as nobody and without capabilities.
    #[must_use]
    pub fn top_script(&self) -> String {
        let mut command = self.command(NO_CAPABILITIES);
        let words = words(command.args(["top", "--interval", "200ms"]));
        let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
        format!("exec {}", words.join(" "))
    }
}

/// A command that runs its arguments as nobody, with these capabilities and no way to gain others.
#[must_use]
pub fn as_nobody(capabilities: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}"));
    command.args(["--clear-groups", "--no-new-privs"]);
    let sets = ["inh-caps", "ambient-caps", "bounding-set"];
    command.args(sets.map(|set| format!("--{set}={capabilities}")));
    command.arg("--");
    command
}

/// The program of a command and its arguments.
pub(crate) fn words(command: &Command) -> impl Iterator<Item = &OsStr> {
    std::iter::once(command.get_program()).chain(command.get_args())
}
