//! The tcpstat binary, run as the user "nobody".

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Result;
use tempfile::TempDir;

use crate::binary::path_from;

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

    /// A command that runs it as nobody, with these capabilities and no way to gain others.
    #[must_use]
    pub fn command(&self, capabilities: &str) -> Command {
        let mut command = as_nobody(capabilities);
        command.arg(self.0.path().join("tcpstat"));
        command
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
