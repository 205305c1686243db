//! Debian's archive, by an apt configuration of the matrix's own: the lists of many suites, from which
//! nothing is ever installed. It takes no privileges, and leaves the machine's own lists alone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use fs_err as fs;

use crate::matrix::packages::{self, Package};
use crate::matrix::sources;
use crate::process::{self, Step};
use crate::target::Workspace;
use crate::{apt, files};

/// The packages that the suites list.
pub(crate) struct Archive {
    folder: PathBuf,
    log: PathBuf,
}

impl Archive {
    /// Brings the lists up to date. A suite that has gone is no error: others may have the kernels.
    pub(crate) fn open(workspace: &Workspace) -> Result<Self> {
        if process::on_path("apt-get").is_none() || process::on_path("dpkg-deb").is_none() {
            bail!("the kernels are Debian's packages, and there is no apt-get or no dpkg-deb");
        }
        let folder = workspace.matrix().join("apt");
        fs::create_dir_all(folder.join("lists/partial"))?;
        fs::create_dir_all(folder.join("cache/archives/partial"))?;
        fs::write(folder.join("sources.list"), sources::for_matrix()?)?;
        fs::write(folder.join("apt.conf"), configuration(&folder)?)?;
        let archive = Self { folder, log: workspace.log("matrix-apt-download") };

        let step = Step::new("kernels: apt-get update", workspace.log("matrix-apt-update"));
        if let Err(error) = step.run(archive.apt("apt-get").args(["-q", "update"])) {
            println!("going on with the suites that there are: {error:#}");
        }
        Ok(archive)
    }

    /// Every kernel that a suite lists.
    pub(crate) fn kernels(&self) -> Result<Vec<Package>> {
        let listed = process::probe(self.apt("apt-cache").args(["pkgnames", "linux-"]))
            .context("apt-cache tells no names of packages")?;
        let listed: HashSet<_> = listed.lines().collect();
        let kernels = listed.iter().filter(|name| packages::is_cloud_kernel(name));
        let mut command = self.apt("apt-cache");
        command.args(["show", "--no-all-versions"]).args(kernels);
        let shown = process::probe(&mut command).context("no suite lists a kernel")?;
        Ok(packages::parse(&shown, &listed))
    }

    /// Downloads `packages`, which apt verifies, and unpacks them into the fresh folder `root`.
    pub(crate) fn unpack(&self, packages: &[String], root: &Path) -> Result<()> {
        let debs = self.folder.join("debs");
        files::make_empty(&debs)?;
        files::make_empty(root)?;
        let title = format!("apt-get download {}", packages.join(" "));
        Step::new(&title, self.log.clone())
            .run(self.apt("apt-get").args(["-q", "download"]).args(packages).current_dir(&debs))?;
        apt::unpack(&debs, root)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(self.folder.join("apt.conf")).env("LC_ALL", "C");
        command
    }
}

/// What differs from the machine's own configuration, which stays in force (a proxy, say).
fn configuration(folder: &Path) -> Result<String> {
    let folder = folder.to_str().context("the target directory has a name that is not UTF-8")?;
    Ok(format!(
        "Dir::Etc::SourceList \"{folder}/sources.list\";\n\
         Dir::Etc::SourceParts \"/dev/null\";\n\
         Dir::State::Lists \"{folder}/lists\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Architecture \"amd64\";\n\
         Acquire::Languages \"none\";\n\
         #clear APT::Architectures;\n\
         #clear APT::Update::Post-Invoke;\n\
         #clear APT::Update::Post-Invoke-Success;\n\
         #clear Acquire::IndexTargets::deb::DEP-11;\n\
         #clear Acquire::IndexTargets::deb::CNF;\n"
    ))
}

/// A file of what was unpacked in `folder` whose name is wanted.
pub(crate) fn find(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Option<PathBuf>> {
    for path in files::entries(folder)? {
        if path.is_dir() && !path.is_symlink() {
            if let Some(found) = find(&path, wanted)? {
                return Ok(Some(found));
            }
        } else if wanted(&path.file_name().unwrap_or_default().to_string_lossy()) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
