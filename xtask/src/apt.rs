//! Debian packages, and the privilege that installing them takes.
//!
//! Package lists are brought up to date at most once per run, and only before something is installed.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::process::{self, Step};
use crate::target::Workspace;

/// Whose rights this process can act with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// This process is root.
    Root,
    /// `sudo` works without a password.
    Sudo,
    /// `sudo` is there and may ask for a password.
    SudoAsks,
    /// Neither.
    None,
}

impl Privilege {
    /// What this process can do.
    pub(crate) fn current() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        if effective_uid(&status) == Some(0) {
            Self::Root
        } else if process::on_path("sudo").is_none() {
            Self::None
        } else if process::probe(Command::new("sudo").args(["-n", "true"])).is_some() {
            Self::Sudo
        } else {
            Self::SudoAsks
        }
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
    pub(crate) fn offered(&self, packages: &[&str]) -> Result<Vec<String>> {
        if let Ok(privilege) = privilege(&packages.join(" "), "") {
            self.update(privilege)?;
        }
        Ok(listed(packages))
    }

    /// Downloads `packages` into `dir` without installing them.
    pub(crate) fn download(&self, packages: &[&str], dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let names = packages.join(" ");
        if listed(packages).len() < packages.len() {
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

/// Asks for sudo's password now, as a step cannot.
fn privilege(packages: &str, otherwise: &str) -> Result<Privilege> {
    let privilege = Privilege::current();
    if privilege == Privilege::None {
        bail!(
            "not root and no sudo: run `apt-get install --no-install-recommends {packages}` \
             as root{otherwise}"
        );
    }
    if privilege == Privilege::SudoAsks && !is_updated() {
        println!("installing {packages} takes sudo:");
        let granted = Command::new("sudo").arg("-v").status().context("cannot run sudo")?;
        if !granted.success() {
            bail!(
                "sudo refused: run `apt-get install --no-install-recommends {packages}` as \
                 root{otherwise}"
            );
        }
    }
    Ok(privilege)
}

/// Waits for another package manager at work, and finds the tools that dpkg wants in sbin.
fn apt_get(privilege: Privilege) -> Result<Command> {
    let mut command = privilege.command("apt-get").context("apt-get takes root")?;
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    command.env("PATH", path).env("DEBIAN_FRONTEND", "noninteractive").args([
        "-q",
        "-o",
        "DPkg::Lock::Timeout=300",
    ]);
    Ok(command)
}

fn is_updated() -> bool {
    UPDATED.load(Ordering::Relaxed)
}

/// Those of `packages` that the package lists have.
fn listed(packages: &[&str]) -> Vec<String> {
    let policy = process::probe(Command::new("apt-cache").arg("policy").args(packages));
    candidates(&policy.unwrap_or_default())
}

/// The second number of the line `Uid:` of /proc/self/status.
fn effective_uid(status: &str) -> Option<u32> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))?
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// The packages with a candidate in the output of `apt-cache policy`.
fn candidates(policy: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut package = "";
    for line in policy.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            package = name;
        } else if let Some(version) = line.trim().strip_prefix("Candidate:")
            && version.trim() != "(none)"
        {
            found.push(package.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_uid_is_the_second_number() {
        assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t0\t0\t0\n"), Some(0));
        assert_eq!(effective_uid("Uid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(effective_uid(""), None);
    }

    #[test]
    fn only_packages_with_a_candidate_are_offered() {
        let policy = "llvm-21-dev:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n\
                      llvm-22-dev:\n  Installed: (none)\n  Candidate: 1:22.1.8-1\n  Version table:\n     \
                      1:22.1.8-1 500\n        500 http://deb.debian.org/debian bookworm/main\n";
        assert_eq!(candidates(policy), ["llvm-22-dev"]);
        assert_eq!(candidates(""), Vec::<String>::new());
    }

    #[test]
    fn nobody_gets_no_root_command() {
        assert!(Privilege::None.command("mount").is_none());
        assert_eq!(Privilege::Root.command("mount").unwrap().get_program(), "mount");
        assert_eq!(Privilege::Sudo.command("mount").unwrap().get_program(), "sudo");
    }
}
