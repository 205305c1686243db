//! The files of a package, where they are installed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::dist::{Release, documents, notices};
use crate::process;
use crate::target::Workspace;

/// Where a file of the repository is installed, its path from the root.
const FILES: [(&str, &str); 7] = [
    ("usr/lib/systemd/system/tcpstat.service", "tcpstat-user/assets/packaging/tcpstat.service"),
    ("etc/default/tcpstat", "tcpstat-user/assets/packaging/default"),
    ("usr/share/tcpstat/dashboard.json", "tcpstat-user/assets/dashboard.json"),
    ("usr/share/tcpstat/fleet-dashboard.json", "tcpstat-user/assets/fleet-dashboard.json"),
    ("usr/share/tcpstat/rules.yml", "tcpstat-user/assets/rules.yml"),
    ("usr/share/tcpstat/alertmanager.yml", "tcpstat-user/assets/alertmanager.yml"),
    ("usr/share/tcpstat/tcpstat.tmpl", "tcpstat-user/assets/alertmanager.tmpl"),
];

/// Where the completions for a shell are installed.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/tcpstat"),
    ("fish", "usr/share/fish/vendor_completions.d/tcpstat.fish"),
    ("zsh", "usr/share/zsh/site-functions/_tcpstat"),
];

/// The texts of licences, in usr/share/doc/tcpstat: tcpstat's own, and those of the crates in the binary.
pub(super) const LICENCES: [&str; 2] = ["copyright", "THIRD-PARTY"];

pub(super) const BINARY: &str = "usr/bin/tcpstat";
pub(super) const MAN: &str = "usr/share/man/man1";

/// Makes the tree for `architecture` in `tree`. The binary of this machine prints man pages and completions.
pub(super) fn make(
    workspace: &Workspace,
    release: &Release,
    architecture: Architecture,
    tree: &Path,
) -> Result<()> {
    put(&architecture.binary(workspace), &tree.join(BINARY), 0o755)?;
    for (to, from) in FILES {
        put(&workspace.root().join(from), &tree.join(to), 0o644)?;
    }
    documents::put(workspace.root(), tree)?;
    let [own, of_others] = LICENCES.map(|name| tree.join("usr/share/doc/tcpstat").join(name));
    put_licences(workspace, &own)?;
    write(&of_others, notices::text(workspace, architecture)?.as_bytes())?;
    let host = Architecture::host()?.binary(workspace);
    for (shell, to) in COMPLETIONS {
        let script = process::probe(release.command(&host).args(["completions", shell]));
        let script =
            script.with_context(|| format!("tcpstat prints no completions for {shell}"))?;
        write(&tree.join(to), script.as_bytes())?;
    }
    let man = tree.join(MAN);
    fs::create_dir_all(&man)?;
    let mut command = release.command(&host);
    process::probe(command.args(["man", "--directory"]).arg(&man))
        .with_context(|| format!("tcpstat writes no pages into {}", man.display()))?;
    Ok(())
}

/// Copies a file and gives it that mode, whatever the umask.
pub(super) fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    write(to, &fs::read(from)?)?;
    Ok(fs::set_permissions(to, PermissionsExt::from_mode(mode))?)
}

pub(super) fn write(to: &Path, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    Ok(fs::write(to, bytes)?)
}

/// What may be done with the binary and the BPF object in it: Debian asks for one file.
fn put_licences(workspace: &Workspace, to: &Path) -> Result<()> {
    let mut parts = vec![
        "tcpstat is licensed under MIT or Apache-2.0, as you choose. The BPF object in the binary is licensed under MIT \
         or GPL-2.0.\n"
            .to_owned(),
    ];
    for name in ["LICENSE-MIT", "LICENSE-APACHE", "LICENSE-GPL2"] {
        let licence = fs::read_to_string(workspace.root().join(name))?;
        parts.push(format!("{name}\n\n{licence}"));
    }
    write(to, parts.join("\n").as_bytes())
}
