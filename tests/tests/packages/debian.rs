//! The Debian package, installed by apt into fresh systems.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::{output, path_from};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tempfile::TempDir;

use crate::{ARCHITECTURES, host, released, run};

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        apt_installs_and_purges_the_package_on_bookworm,
        apt_installs_and_purges_the_package_on_trixie,
        an_upgrade_with_other_settings_keeps_those_of_the_operator,
        the_package_is_for_its_architecture_and_needs_no_other
    ]
}

const DEFAULT: &str = "etc/default/tcpstat";
const ENABLED: &str = "etc/systemd/system/multi-user.target.wants/tcpstat.service";

/// A fresh system in a folder of its own.
struct System(TempDir);

impl System {
    fn new(suite: &str) -> Result<Self> {
        let archive = path_from("TCPSTAT_DEBIAN")?.join(format!("{suite}.tar"));
        let folder = tempfile::tempdir()?;
        run("tar", |command| command.arg("-xpf").arg(&archive).arg("-C").arg(folder.path()))?;
        Ok(Self(folder))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.0.path()).args(words.split(' ')).env("DEBIAN_FRONTEND", "noninteractive");
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, words: &str) -> Result<String> {
        let run = output(&mut self.command(words))?;
        ensure!(run.status == Some(0), "{words}: {:?}\n{}{}", run.status, run.stdout, run.stderr);
        Ok(run.stdout)
    }

    /// The state of the package, and its version.
    fn state(&self) -> Result<String> {
        self.run("dpkg-query --show --showformat=${db:Status-Status}_${Version} tcpstat")
    }

    /// All files that a package can leave behind: what apt and dpkg write down for themselves is left out.
    fn files(&self) -> Result<BTreeSet<PathBuf>> {
        let mut files = BTreeSet::new();
        collect(self.0.path(), &mut files)?;
        let own = ["var/lib/dpkg", "var/lib/apt", "var/cache", "var/log", "tmp"];
        files.retain(|file| !own.iter().any(|folder| file.starts_with(self.path(folder))));
        Ok(files)
    }
}

fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        }
        files.insert(entry.path());
    }
    Ok(())
}

fn apt_installs_and_purges_the_package_on_bookworm(_: &Namespace) -> Result<()> {
    installs_and_purges("bookworm")
}

fn apt_installs_and_purges_the_package_on_trixie(_: &Namespace) -> Result<()> {
    installs_and_purges("trixie")
}

fn installs_and_purges(suite: &str) -> Result<()> {
    let system = System::new(suite)?;
    let before = system.files()?;
    fs::copy(
        released("tcpstat_", &format!("_{}.deb", host()?.0))?,
        system.path("tmp/tcpstat.deb"),
    )?;

    system.run("apt-get install -y /tmp/tcpstat.deb")?;
    let version = system.run("tcpstat --version")?;
    ensure!(version.starts_with("tcpstat 0."), "{version}");
    ensure!(
        system.path(ENABLED).is_symlink(),
        "the service is not enabled: {:?}",
        system.files()?.difference(&before)
    );
    for file in [
        DEFAULT,
        "usr/lib/systemd/system/tcpstat.service",
        "usr/share/bash-completion/completions/tcpstat",
        "usr/share/fish/vendor_completions.d/tcpstat.fish",
        "usr/share/zsh/vendor-completions/_tcpstat",
        "usr/share/man/man1/tcpstat.1.gz",
        "usr/share/man/man1/tcpstat-who.1.gz",
        "usr/share/tcpstat/rules.yml",
        "usr/share/tcpstat/dashboard.json",
        "usr/share/tcpstat/fleet-dashboard.json",
        "usr/share/tcpstat/alertmanager.yml",
        "usr/share/tcpstat/tcpstat.tmpl",
        "usr/share/doc/tcpstat/copyright",
    ] {
        let path = system.path(file);
        // The minimal systems of some suites leave out documentation.
        ensure!(
            path.exists() || file.contains("/man") || file.contains("/doc/"),
            "{file} is missing"
        );
    }

    // What an operator writes stays through an upgrade and a removal.
    fs::write(system.path(DEFAULT), "TCPSTAT_NETNS=all\n")?;
    system.run("apt-get install -y --reinstall /tmp/tcpstat.deb")?;
    ensure!(
        fs::read_to_string(system.path(DEFAULT))? == "TCPSTAT_NETNS=all\n",
        "an upgrade wrote it"
    );
    system.run("apt-get remove -y tcpstat")?;
    let left: BTreeSet<_> = system.files()?.difference(&before).cloned().collect();
    ensure!(!system.path("usr/bin/tcpstat").exists(), "the binary is left");
    ensure!(left.contains(&system.path(DEFAULT)), "the settings are gone: {left:?}");

    system.run("apt-get purge -y tcpstat")?;
    let left: Vec<_> = system.files()?.difference(&before).cloned().collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// A newer package, whose file of settings has another line.
fn newer(system: &System) -> Result<()> {
    let [folder, package] = ["tmp/newer", "tmp/newer.deb"].map(|name| system.path(name));
    let released = released("tcpstat_", &format!("_{}.deb", host()?.0))?;
    run("dpkg-deb", |command| command.arg("--raw-extract").arg(released).arg(&folder))?;
    let control = fs::read_to_string(folder.join("DEBIAN/control"))?;
    let version = control.lines().find(|line| line.starts_with("Version: ")).context("version")?;
    fs::write(folder.join("DEBIAN/control"), control.replace(version, "Version: 9.0-1"))?;
    let settings = fs::read_to_string(folder.join(DEFAULT))?;
    fs::write(folder.join(DEFAULT), format!("{settings}# A new line\n"))?;
    run("dpkg-deb", |command| command.args(["-Znone", "--build"]).args([&folder, &package]))?;
    Ok(())
}

/// As docs/install.md says of apt without a terminal.
fn an_upgrade_with_other_settings_keeps_those_of_the_operator(_: &Namespace) -> Result<()> {
    let system = System::new("bookworm")?;
    fs::copy(
        released("tcpstat_", &format!("_{}.deb", host()?.0))?,
        system.path("tmp/tcpstat.deb"),
    )?;
    newer(&system)?;
    let own = "TCPSTAT_WEB_LISTEN_ADDRESS=127.0.0.1:10048\n";
    let is_kept = || Ok::<_, anyhow::Error>(fs::read_to_string(system.path(DEFAULT))? == own);
    let keep = "-o Dpkg::Options::=--force-confold";
    // Settings that were there before the first installation are kept too.
    fs::write(system.path(DEFAULT), own)?;
    system.run(&format!("apt-get install -y {keep} /tmp/tcpstat.deb"))?;
    ensure!(is_kept()?, "the installation wrote the settings");
    // dpkg asks, and nobody answers.
    let asked = output(&mut system.command("apt-get install -y /tmp/newer.deb"))?;
    ensure!(asked.status != Some(0) && asked.stderr.contains("conffile prompt"), "{asked:?}");
    system.run("dpkg --configure -a --force-confold")?;
    assert_eq!((system.state()?.as_str(), is_kept()?), ("installed_9.0-1", true));
    // The way back, with the option.
    system.run(&format!("apt-get install -y --allow-downgrades {keep} /tmp/tcpstat.deb"))?;
    ensure!(system.state()?.starts_with("installed_0.") && is_kept()?, "{}", system.state()?);
    Ok(())
}

fn the_package_is_for_its_architecture_and_needs_no_other(_: &Namespace) -> Result<()> {
    for (architecture, _) in ARCHITECTURES {
        let package = released("tcpstat_", &format!("_{architecture}.deb"))?;
        let fields = run("dpkg-deb", |command| command.arg("--field").arg(&package))?;
        ensure!(fields.contains(&format!("Architecture: {architecture}\n")), "{fields}");
        ensure!(!fields.contains("Depends:"), "{fields}");
    }
    Ok(())
}
