//! Debian packages, and acting as root, which installing them takes.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::files;
use crate::process::{self, Step};
use crate::target::Workspace;

/// Finds the tools that dpkg wants in sbin.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The package lists are brought up to date at most once per run, and only before something is installed.
static UPDATE: Once = Once::new();

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    // The kernel makes the effective user the owner of it.
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Whether it can act as root without asking for a password.
pub(crate) fn can_be_root() -> bool {
    is_root() || process::probe(Command::new("sudo").args(["-n", "true"])).is_some()
}

/// `program`, run as root. Asks for sudo's password now where sudo wants one, as a step cannot.
pub(crate) fn as_root(program: &str) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    ensure!(process::on_path("sudo").is_some(), "not root and no sudo");
    if !can_be_root() {
        println!("sudo may ask for a password:");
        let granted = Command::new("sudo").arg("-v").status().context("cannot run sudo")?;
        ensure!(granted.success(), "sudo refused");
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    Ok(command)
}

/// Whether this system has the package manager.
pub(crate) fn is_here() -> bool {
    process::on_path("apt-get").is_some()
}

/// Installs `packages`, which have the program or feature that is `missing`. Where that is not possible, the
/// error says what to run by hand, and `otherwise`.
pub(crate) fn install(
    workspace: &Workspace,
    missing: &str,
    packages: &[&str],
    otherwise: &str,
) -> Result<()> {
    let names = packages.join(" ");
    ensure!(is_here(), "no {missing}, and no apt-get: install {names}, or what has it{otherwise}");
    let mut command = apt_get().with_context(|| {
        format!("run `apt-get install --no-install-recommends {names}` as root{otherwise}")
    })?;
    update(workspace);
    command.args(["install", "-y", "--no-install-recommends"]).args(packages);
    Step::new(&format!("apt-get install {names}"), workspace.log("apt-install")).run(&mut command)
}

/// The first of `packages` that can be installed, going by package lists that are up to date if the rights
/// allow.
pub(crate) fn first_offered<'a>(workspace: &Workspace, packages: &'a [String]) -> Option<&'a str> {
    update(workspace);
    let is_listed = |package: &&String| {
        let mut command = Command::new("apt-cache");
        process::probe(command.args(["show", "--no-all-versions", package])).is_some()
    };
    packages.iter().find(is_listed).map(String::as_str)
}

/// Downloads `packages` without installing them, and unpacks them into `root`.
pub(crate) fn unpack(workspace: &Workspace, packages: &[&str], root: &Path) -> Result<()> {
    let debs = workspace.target().join("xtask/debs");
    files::make_empty(&debs)?;
    let title = format!("apt-get download {}", packages.join(" "));
    let download = || {
        let mut command = Command::new("apt-get");
        command.arg("download").args(packages).current_dir(&debs);
        Step::new(&title, workspace.log("apt-download")).run(&mut command)
    };
    if let Err(error) = download() {
        println!("{error:#}\nthe package lists may be old: once more after an update");
        update(workspace);
        download()?;
    }
    unpack_all(&debs, root)
}

/// Unpacks the packages in `debs` into `root`, and removes them.
pub(crate) fn unpack_all(debs: &Path, root: &Path) -> Result<()> {
    for deb in files::entries(debs)? {
        process::probe(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(root))
            .with_context(|| format!("dpkg-deb cannot unpack {}", deb.display()))?;
    }
    files::remove(debs)
}

/// A repository that cannot be reached is no error yet: the package may come from another.
fn update(workspace: &Workspace) {
    UPDATE.call_once(|| {
        let step = Step::new("apt-get update", workspace.log("apt-update"));
        if let Err(error) = apt_get().and_then(|mut command| step.run(command.arg("update"))) {
            println!("going on with the package lists as they are: {error:#}");
        }
    });
}

/// Waits for another package manager at work.
fn apt_get() -> Result<Command> {
    let mut command = as_root("env")?;
    command.args([PATH, "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
    command.args(["-o", "DPkg::Lock::Timeout=300"]);
    Ok(command)
}
