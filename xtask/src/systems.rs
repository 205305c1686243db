//! Fresh Debian systems, into which the tests install the package.

use std::path::PathBuf;

use anyhow::Result;
use fs_err as fs;

use crate::apt;
use crate::process::{self, Step};
use crate::target::Workspace;

/// Names the folder of the systems to the tests.
pub(crate) const VARIABLE: &str = "TCPSTAT_DEBIAN";

/// The suites that are supported, with apt and nothing that is not essential.
const SUITES: [&str; 2] = ["bookworm", "trixie"];

/// Makes one archive for each suite, which is kept. `idle`: only while nothing else wants a processor.
pub(crate) fn provide(workspace: &Workspace, idle: bool) -> Result<PathBuf> {
    let folder = workspace.target().join("xtask/debian");
    fs::create_dir_all(&folder)?;
    for suite in SUITES {
        let archive = folder.join(format!("{suite}.tar"));
        if archive.exists() {
            continue;
        }
        if process::on_path("mmdebstrap").is_none() {
            apt::install(workspace, "mmdebstrap", &["mmdebstrap"], "")?;
        }
        let unfinished = folder.join(format!("{suite}.unfinished.tar"));
        let mut command = apt::as_root("mmdebstrap")?;
        command.args(["--variant=apt", suite]).arg(&unfinished);
        if idle {
            command = process::idle(&command);
        }
        Step::new(&format!("mmdebstrap {suite}"), workspace.log("mmdebstrap")).run(&mut command)?;
        fs::rename(unfinished, archive)?;
    }
    Ok(folder)
}
