//! Debian packages, and the privilege that installing them takes.
//!
//! Package lists are brought up to date at most once per run, and only before something is installed.

use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, anyhow};
use fs_err as fs;

use crate::files;
use crate::process::{self, Step};
use crate::target::Workspace;

/// Whose rights this process can act with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    Root,
    /// `sudo` works without a password.
    Sudo,
    /// `sudo` is there and may ask for a password.
    SudoAsks,
    None,
}

impl Privilege {
    /// What this process can do.
    pub(crate) fn current() -> Self {
        // The kernel makes the effective user the owner of it.
        if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
            Self::Root
        } else if process::on_path("sudo").is_none() {
            Self::None
        } else if process::probe(Command::new("sudo").args(["-n", "true"])).is_some() {
            Self::Sudo
        } else {
            Self::SudoAsks
        }
    }

    /// Whether it can act as root without asking.
    pub(crate) fn is_at_hand(self) -> bool {
        matches!(self, Self::Root | Self::Sudo)
    }

    /// `program`, run as root; nothing if that takes more than this privilege.
    pub(crate) fn command(self, program: &str) -> Option<Command> {
        match self {
            Self::Root => Some(Command::new(program)),
            Self::Sudo | Self::SudoAsks => {
                let mut command = Command::new("sudo");
                command.args(["env", "DEBIAN_FRONTEND=noninteractive", program]);
                Some(command)
            }
            Self::None => None,
        }
    }
}

/// Whether this run has brought the package lists up to date.
static UPDATED: AtomicBool = AtomicBool::new(false);

/// The package manager.
pub(crate) struct Apt<'a> {
    workspace: &'a Workspace,
}

/// Installs `packages`, which have the program or feature that is `missing`.
pub(crate) fn install(workspace: &Workspace, missing: &str, packages: &[&str]) -> Result<()> {
    let apt = Apt::find(workspace).with_context(|| {
        format!("no {missing}, and no apt-get: install {}, or what has it", packages.join(" "))
    })?;
    apt.install(packages, "")
}

impl<'a> Apt<'a> {
    /// The package manager, if this system has it.
    pub(crate) fn find(workspace: &'a Workspace) -> Option<Self> {
        process::on_path("apt-get")?;
        Some(Self { workspace })
    }

    /// Installs `packages`. Where rights are missing, the error says what to run, and `otherwise`.
    pub(crate) fn install(&self, packages: &[&str], otherwise: &str) -> Result<()> {
        let names = packages.join(" ");
        let privilege = privilege(&names, otherwise)?;
        self.update(privilege)?;
        let mut command = apt_get(privilege)?;
        command.args(["install", "-y", "--no-install-recommends"]).args(packages);
        self.step(&format!("apt-get install {names}"), "apt-install").run(&mut command)
    }

    /// Those of `packages` that can be installed, going by package lists that are up to date if the
    /// rights allow.
    pub(crate) fn offered(&self, packages: &[String]) -> Result<Vec<String>> {
        if let Ok(privilege) = privilege(&packages.join(" "), "") {
            self.update(privilege)?;
        }
        Ok(packages.iter().filter(|package| is_listed(package)).cloned().collect())
    }

    /// Downloads `packages` into `dir` without installing them.
    pub(crate) fn download(&self, packages: &[&str], dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let names = packages.join(" ");
        if !packages.iter().all(|package| is_listed(package)) {
            self.update(privilege(&names, "")?)?;
        }
        let mut command = Command::new("apt-get");
        command.arg("download").args(packages).current_dir(dir);
        let title = format!("apt-get download {names}");
        let step = self.step(&title, "apt-download");
        let result = step.run(&mut command);
        if result.is_ok() || is_updated() {
            return result;
        }
        println!("the package lists may be old: once more after an update");
        self.update(privilege(&names, "")?)?;
        step.run(&mut command)
    }

    /// A repository that cannot be reached is no error yet: the package may come from another.
    fn update(&self, privilege: Privilege) -> Result<()> {
        if UPDATED.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let mut command = apt_get(privilege)?;
        if let Err(error) = self.step("apt-get update", "apt-update").run(command.arg("update")) {
            println!("going on with the package lists as they are: {error:#}");
        }
        Ok(())
    }

    fn step<'t>(&self, title: &'t str, log: &str) -> Step<'t> {
        Step::new(title, self.workspace.log(log))
    }
}

/// Unpacks the packages that lie in `debs` into `root`, and removes them.
pub(crate) fn unpack(debs: &Path, root: &Path) -> Result<()> {
    for deb in files::entries(debs)? {
        process::probe(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(root))
            .with_context(|| format!("dpkg-deb cannot unpack {}", deb.display()))?;
    }
    files::remove(debs)
}

/// Asks for sudo's password now, as a step cannot.
fn privilege(packages: &str, otherwise: &str) -> Result<Privilege> {
    let refused = |why: &str| {
        let install = format!("apt-get install --no-install-recommends {packages}");
        anyhow!("{why}: run `{install}` as root{otherwise}")
    };
    let privilege = Privilege::current();
    match privilege {
        Privilege::None => Err(refused("not root and no sudo")),
        Privilege::SudoAsks if !is_updated() => {
            println!("installing {packages} takes sudo:");
            let granted = Command::new("sudo").arg("-v").status().context("cannot run sudo")?;
            if granted.success() { Ok(privilege) } else { Err(refused("sudo refused")) }
        }
        _ => Ok(privilege),
    }
}

/// Waits for another package manager at work, and finds the tools that dpkg wants in sbin.
fn apt_get(privilege: Privilege) -> Result<Command> {
    let mut command = privilege.command("apt-get").context("apt-get takes root")?;
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    command.env("PATH", path).env("DEBIAN_FRONTEND", "noninteractive");
    command.args(["-q", "-o", "DPkg::Lock::Timeout=300"]);
    Ok(command)
}

fn is_updated() -> bool {
    UPDATED.load(Ordering::Relaxed)
}

/// Whether the package lists have a version of it that can be installed.
fn is_listed(package: &str) -> bool {
    let mut command = Command::new("apt-cache");
    process::probe(command.args(["show", "--no-all-versions", package])).is_some()
}
