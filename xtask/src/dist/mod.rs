//! `cargo xtask dist`: what is released, in target/dist. The same commit and tools give the same bytes.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::process;
use crate::target::Workspace;
use crate::{apt, files, object};

mod deb;
mod documents;
mod image;
mod notices;
mod rpm;
mod tarball;
mod tree;

/// Programs that make packages, and Debian's packages that have them.
const PROGRAMS: [(&str, &str); 3] =
    [("dh", "debhelper"), ("dpkg-buildpackage", "dpkg-dev"), ("rpmbuild", "rpm")];

/// A version and the moment of its commit, which is the time of all files in it.
pub(crate) struct Release {
    pub(crate) version: String,
    /// Seconds since 1970.
    pub(crate) time: u64,
    /// Where its files are made.
    pub(crate) folder: PathBuf,
    /// The home directory of what makes them.
    home: PathBuf,
}

impl Release {
    /// That of the checked-out commit.
    fn of(workspace: &Workspace) -> Result<Self> {
        let mut git = Command::new("git");
        git.args(["log", "-1", "--no-show-signature", "--format=%ct"])
            .current_dir(workspace.root());
        let time = process::probe(&mut git).context("git does not tell the time of the commit")?;
        let time = time.trim().parse().with_context(|| format!("{time}: not a time"))?;
        let folder = workspace.target().join("dist");
        let home = workspace.target().join("xtask/dist/home");
        Ok(Self { version: env!("CARGO_PKG_VERSION").to_owned(), time, folder, home })
    }

    /// `program`, with the moment as reproducible builds expect it, and without what the user's settings would change.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let is_setting = |name: &OsString| {
            let name = name.to_string_lossy();
            ["DEB_", "DPKG_", "DH_", "TAR_", "TCPSTAT_"].iter().any(|of| name.starts_with(of))
        };
        for name in env::vars_os().map(|(name, _)| name).filter(is_setting) {
            command.env_remove(name);
        }
        // Without the macros of rpm, as an example.
        command.env("HOME", &self.home);
        command.env("SOURCE_DATE_EPOCH", self.time.to_string()).env("TZ", "UTC").env("LC_ALL", "C");
        command
    }

    /// The moment in UTC, in that format of date(1).
    fn date(&self, format: &str) -> Result<String> {
        let mut date = self.command("date");
        date.args(["--utc", format, &format!("--date=@{}", self.time)]);
        let date = process::probe(&mut date).context("date fails")?;
        Ok(date.trim_end().to_owned())
    }

    /// A tar archive of what is in `folder`, or of `name` in it, that depends on nothing but names, modes and contents.
    fn tar(&self, folder: &Path, name: &str) -> Command {
        let mut command = self.command("tar");
        command
            .args([
                "--create",
                "--sort=name",
                "--format=gnu",
                "--owner=0",
                "--group=0",
                "--numeric-owner",
            ])
            .arg("--mode=u=rwX,go=rX")
            .arg(format!("--mtime=@{}", self.time))
            .arg("--directory")
            .arg(folder)
            .arg(name);
        command
    }
}

/// As [`run`], of a commit: what is released has its time and its number, so it must be what is in it.
pub(crate) fn release(workspace: &Workspace, architectures: &[Architecture]) -> Result<()> {
    let changes = changes(workspace.root())?;
    ensure!(
        changes.is_empty(),
        "these files are not those of the checked-out commit; commit or remove them, or try packages by `cargo xtask dist \
         --test`:\n{changes}"
    );
    run(workspace, architectures)
}

/// The files of the checkout that differ from its commit, or that it does not have, one on each line.
fn changes(root: &Path) -> Result<String> {
    let mut git = Command::new("git");
    git.args(["status", "--porcelain", "--untracked-files=all"]).current_dir(root);
    process::probe(&mut git).context("git does not tell what has changed")
}

/// Builds the object and the binaries, then packs them. The binary of this machine prints man pages and completions.
pub(crate) fn run(workspace: &Workspace, architectures: &[Architecture]) -> Result<()> {
    object::build_object_alone(workspace)?;
    let host = Architecture::host()?;
    let others = architectures.iter().copied().filter(|architecture| *architecture != host);
    for architecture in [host].into_iter().chain(others) {
        object::build_released(workspace, architecture, false)?;
    }
    pack(workspace, architectures)
}

/// Packs the binaries for `architectures`, which must have been built.
pub(crate) fn pack(workspace: &Workspace, architectures: &[Architecture]) -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| process::on_path(program).is_none());
    let (programs, packages): (Vec<_>, Vec<_>) = missing.copied().unzip();
    if !packages.is_empty() {
        apt::install(workspace, &programs.join(", "), &packages, "")?;
    }
    let release = Release::of(workspace)?;
    files::make_empty(&release.folder)?;
    let work = workspace.target().join("xtask/dist");
    files::make_empty(&work)?;
    fs::create_dir_all(&release.home)?;
    for architecture in architectures {
        let tree = work.join(architecture.name());
        tree::make(workspace, &release, *architecture, &tree)?;
        deb::make(workspace, &release, *architecture, &tree, &work)?;
        rpm::make(workspace, &release, *architecture, &tree, &work)?;
        tarball::make(&release, *architecture, &tree, &work)?;
    }
    image::make(workspace, &release, architectures, &work)?;
    tarball::chart(workspace, &release)?;
    sum(workspace, &release)
}

/// Writes the checksums of all files.
fn sum(workspace: &Workspace, release: &Release) -> Result<()> {
    let mut names: Vec<_> = files::entries(&release.folder)?
        .iter()
        .map(|path| files::relative(&release.folder, path))
        .collect();
    names.sort_unstable();
    let mut command = Command::new("sha256sum");
    let sums = process::probe(command.args(&names).current_dir(&release.folder))
        .context("sha256sum fails")?;
    fs::write(release.folder.join("SHA256SUMS"), sums)?;
    for name in names {
        let path = release.folder.join(name);
        println!("{} ({} KiB)", workspace.shown(&path), fs::metadata(&path)?.len().div_ceil(1024));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_and_a_new_one_keep_a_checkout_from_being_released() {
        let root = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=a", "-c", "user.email=a@localhost"]).args(args);
            process::probe(git.current_dir(root.path())).unwrap()
        };
        git(&["init", "--quiet"]);
        std::fs::write(root.path().join("kept"), "").unwrap();
        std::fs::write(root.path().join(".gitignore"), "target\n").unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "--no-gpg-sign", "--message", "first"]);
        std::fs::write(root.path().join("target"), "").unwrap();
        assert_eq!(changes(root.path()).unwrap(), "");
        std::fs::write(root.path().join("kept"), "changed").unwrap();
        std::fs::write(root.path().join("new"), "").unwrap();
        assert_eq!(changes(root.path()).unwrap(), " M kept\n?? new\n");
    }
}
