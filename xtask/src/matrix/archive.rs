//! Debian's archive for one architecture, by an apt configuration of the matrix's own: the lists of many suites, from
//! which nothing is ever installed. It takes no privileges, and leaves the machine's own lists alone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::matrix::choice::{self, Package};
use crate::process::{self, Step};
use crate::target::Workspace;
use crate::{apt, files};

/// The suites with a kernel, the oldest first.
const SUITES: [&str; 7] =
    ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "forky", "sid"];

const SECURITY_SUITES: [&str; 3] = ["bullseye-security", "bookworm-security", "trixie-security"];

/// Other names of Debian's suites.
const OTHER_NAMES: [&str; 3] = ["stable", "testing", "unstable"];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The packages that the suites list.
#[derive(Clone)]
pub(crate) struct Archive {
    architecture: Architecture,
    folder: PathBuf,
    log: PathBuf,
}

impl Archive {
    /// Brings the lists up to date. A suite that has gone is no error: others may have the kernels.
    pub(crate) fn open(workspace: &Workspace, architecture: Architecture) -> Result<Self> {
        if !apt::is_here() || process::on_path("dpkg-deb").is_none() {
            bail!("the kernels are Debian's packages, and there is no apt-get or no dpkg-deb");
        }
        let named = |name: &str| format!("{name}-{}", architecture.debian());
        let folder = workspace.matrix().join(named("apt"));
        fs::create_dir_all(folder.join("lists/partial"))?;
        fs::create_dir_all(folder.join("cache/archives/partial"))?;
        let format = ["--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"];
        let mut targets = Command::new("apt-get");
        targets
            .args(["indextargets", "--no-release-info"])
            .args(format)
            .arg("Created-By: Packages");
        let targets = process::probe(&mut targets).context("apt-get indextargets fails")?;
        let signed_by = format!("[signed-by={KEYRING}] ");
        let options = if Path::new(KEYRING).exists() { &signed_by } else { "" };
        let sources = sources(&targets, options)
            .context("apt has no source of Debian's: see `apt-get indextargets`")?;
        fs::write(folder.join("sources.list"), sources)?;
        fs::write(folder.join("apt.conf"), configuration(&folder, architecture)?)?;
        let log = workspace.log(&named("matrix-apt-download"));
        let archive = Self { architecture, folder, log };

        let title = format!("kernels for {}: apt-get update", architecture.debian());
        let step = Step::new(&title, workspace.log(&named("matrix-apt-update")));
        if let Err(error) = step.run(archive.apt("apt-get").args(["-q", "update"])) {
            println!("going on with the suites that there are: {error:#}");
        }
        Ok(archive)
    }

    /// Every kernel that a suite lists.
    pub(crate) fn kernels(&self) -> Result<Vec<Package>> {
        let listed = process::probe(self.apt("apt-cache").args(["pkgnames", "linux-"]))
            .context("apt-cache lists no packages")?;
        let listed: HashSet<_> = listed.lines().collect();
        let kernels = listed.iter().filter(|name| choice::flavour(name).is_some());
        let mut command = self.apt("apt-cache");
        command.args(["show", "--no-all-versions"]).args(kernels);
        let shown = process::probe(&mut command).context("no suite lists a kernel")?;
        Ok(choice::parse(&shown, &listed))
    }

    /// Downloads `packages`, which apt verifies, and unpacks them into the fresh folder `root`.
    pub(crate) fn unpack(&self, packages: &[String], root: &Path) -> Result<()> {
        let debs = self.folder.join("debs");
        files::make_empty(&debs)?;
        files::make_empty(root)?;
        let title = format!("apt-get download {}", packages.join(" "));
        Step::new(&title, self.log.clone())
            .run(self.apt("apt-get").args(["-q", "download"]).args(packages).current_dir(&debs))?;
        apt::unpack_all(&debs, root)
    }

    /// Debian's static busybox, unpacked and never installed.
    pub(crate) fn busybox(&self) -> Result<PathBuf> {
        let root = self.beside("busybox");
        let busybox = root.join("usr/bin/busybox");
        if !busybox.is_file() {
            self.unpack(&["busybox-static".to_owned()], &root)?;
        }
        Ok(busybox)
    }

    /// `packages` with all that they depend on, unpacked and never installed.
    pub(crate) fn with_dependencies(&self, packages: &[&str]) -> Result<PathBuf> {
        let root = self.beside("programs");
        if root.is_dir() {
            return Ok(root);
        }
        let debs = self.folder.join("debs");
        files::make_empty(&debs.join("partial"))?;
        let title = format!("apt-get download {} with dependencies", packages.join(" "));
        let mut command = self.apt("apt-get");
        command
            .args(["-q", "-y", "--no-install-recommends", "--download-only"])
            // As if nothing were installed.
            .args(["-o", "Dir::State::status=/dev/null", "-o", "Debug::NoLocking=true", "-o"])
            .arg(format!("Dir::Cache::archives={}", debs.display()))
            .arg("install")
            .args(packages);
        Step::new(&title, self.log.clone()).run(&mut command)?;
        files::remove(&debs.join("partial"))?;
        // Only what is complete gets the name.
        let unfinished = self.beside("unfinished");
        files::make_empty(&unfinished)?;
        apt::unpack_all(&debs, &unfinished)?;
        fs::rename(&unfinished, &root)?;
        Ok(root)
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.folder.with_file_name(format!("{name}-{}", self.architecture.debian()))
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

/// What differs from the machine's own configuration, which stays in force (a proxy, say).
fn configuration(folder: &Path, architecture: Architecture) -> Result<String> {
    let architecture = architecture.debian();
    let folder = folder.to_str().context("the target directory has a name that is not UTF-8")?;
    Ok(format!(
        "Dir::Etc::SourceList \"{folder}/sources.list\";\n\
         Dir::Etc::SourceParts \"/dev/null\";\n\
         Dir::State::Lists \"{folder}/lists\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Architecture \"{architecture}\";\n\
         Acquire::Languages \"none\";\n\
         #clear APT::Architectures;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear Acquire::IndexTargets::deb::DEP-11;\n\
         #clear Acquire::IndexTargets::deb::CNF;\n"
    ))
}

/// A sources.list with all suites that have a kernel, by the hosts that this machine's `targets` name, each
/// line with `options`.
fn sources(targets: &str, options: &str) -> Option<String> {
    let mut found: Vec<[&str; 3]> = targets
        .lines()
        .filter_map(|line| <[&str; 3]>::try_from(line.split('|').collect::<Vec<_>>()).ok())
        .filter(|[_, _, component]| *component == "main")
        .collect();
    // Others have suites of the same names.
    found.sort_by_key(|[uri, ..]| !uri.contains("debian"));
    let lines = |suites: &[&str], is_one: &dyn Fn(&str) -> bool| {
        let [uri, ..] = found.iter().find(|[_, suite, _]| is_one(suite))?;
        let line = |suite| format!("deb {options}{uri} {suite} main\n");
        Some(suites.iter().map(line).collect::<String>())
    };
    let main = lines(&SUITES, &|suite| SUITES.contains(&suite) || OTHER_NAMES.contains(&suite))?;
    let security = lines(&SECURITY_SUITES, &|suite| suite.ends_with("-security"));
    Some(main + &security.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_suites_come_from_the_hosts_of_the_machine() {
        let targets = "https://other.example/debian/|bookworm-pgdg|main\n\
            http://new.example/stable/|sid|main\n\
            http://mirror.example/debian/|bookworm|contrib\n\
            http://mirror.example/debian/|bookworm|main\n\
            http://mirror.example/debian-security/|bookworm-security|main\n";
        let list = sources(targets, "[signed-by=/k] ").unwrap();
        let first = "deb [signed-by=/k] http://mirror.example/debian/ bullseye main\n";
        assert!(list.starts_with(first), "{list}");
        let last = " http://mirror.example/debian-security/ trixie-security main\n";
        assert!(list.ends_with(last), "{list}");
        assert_eq!(list.lines().count(), SUITES.len() + SECURITY_SUITES.len());
        assert_eq!(sources("http://x/ubuntu/|noble|main\n", ""), None);
    }
}
