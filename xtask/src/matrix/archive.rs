//! Debian's archive, by an apt configuration of the matrix's own: the lists of many suites, from which
//! nothing is ever installed. It takes no privileges, and leaves the machine's own lists alone.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::matrix::packages::{self, Package};
use crate::matrix::sources;
use crate::process::{self, Step};
use crate::target::Workspace;

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
        for part in ["lists/partial", "cache/archives/partial"] {
            create(&folder.join(part))?;
        }
        write(&folder.join("sources.list"), &sources::for_matrix()?)?;
        write(&folder.join("apt.conf"), &configuration(&folder)?)?;
        let archive = Self { folder, log: workspace.log("matrix-apt-download") };

        let step = Step::new("kernels: apt-get update", workspace.log("matrix-apt-update"));
        if let Err(error) = step.run(archive.apt("apt-get").args(["-q", "update"])) {
            println!("going on with the suites that there are: {error:#}");
        }
        Ok(archive)
    }

    /// Every kernel that a suite lists, with those of the packages it needs that one lists too: some
    /// suites list a kernel without its linux-base, which then holds nothing but its configuration.
    pub(crate) fn kernels(&self) -> Result<Vec<Package>> {
        let listed = process::probe(self.apt("apt-cache").args(["pkgnames", "linux-"]))
            .context("apt-cache tells no names of packages")?;
        let listed: HashSet<_> = listed.lines().collect();
        let names: Vec<_> =
            listed.iter().filter(|name| packages::is_cloud_kernel(name)).copied().collect();
        ensure!(!names.is_empty(), "no suite lists a kernel");
        let mut command = self.apt("apt-cache");
        let shown = process::probe(command.args(["show", "--no-all-versions"]).args(&names))
            .context("apt-cache shows no packages")?;
        let mut kernels = packages::parse(&shown);
        for kernel in &mut kernels {
            kernel.depends.retain(|name| listed.contains(name.as_str()));
        }
        Ok(kernels)
    }

    /// Downloads `packages`, which apt verifies, and unpacks them into the fresh folder `root`.
    pub(crate) fn unpack(&self, packages: &[&str], root: &Path) -> Result<()> {
        let debs = self.folder.join("debs");
        remove(&debs)?;
        remove(root)?;
        create(&debs)?;
        create(root)?;
        let title = format!("apt-get download {}", packages.join(" "));
        Step::new(&title, self.log.clone())
            .run(self.apt("apt-get").args(["-q", "download"]).args(packages).current_dir(&debs))?;
        for deb in fs::read_dir(&debs).with_context(|| format!("cannot list {}", debs.display()))? {
            let deb = deb.with_context(|| format!("cannot list {}", debs.display()))?.path();
            process::probe(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(root))
                .with_context(|| format!("dpkg-deb cannot unpack {}", deb.display()))?;
        }
        remove(&debs)
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

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// Removes a folder if it is there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// A file of what was unpacked in `folder` whose name is wanted.
pub(crate) fn find(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Option<PathBuf>> {
    let list = || format!("cannot list {}", folder.display());
    for entry in fs::read_dir(folder).with_context(list)? {
        let path = entry.with_context(list)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() {
            if let Some(found) = find(&path, wanted)? {
                return Ok(Some(found));
            }
        } else if wanted(&name) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
