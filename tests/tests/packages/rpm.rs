//! The RPM package, unpacked into an empty root, and its scripts.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Result, ensure};
use tcpstat_tests::binary::{path_from, source};
use tcpstat_tests::harness::Test;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::{hermetic_tests, kernel_tests};

use crate::{ARCHITECTURES, digest, host, released, run};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![rpm_installs_the_tested_binary_and_its_files];
    tests.extend(hermetic_tests![
        the_scripts_enable_restart_and_stop_the_service,
        each_package_names_its_architecture_and_needs_no_other
    ]);
    tests
}

fn rpm_installs_the_tested_binary_and_its_files(_: &Namespace) -> Result<()> {
    let package = released("tcpstat-", &format!(".{}.rpm", host()?.1))?;
    let root = tempfile::tempdir()?;
    run("rpm", |command| {
        // The scripts need a shell in the root.
        command
            .arg("--root")
            .arg(root.path())
            .args(["--install", "--nodeps", "--noscripts"])
            .arg(&package)
    })?;
    let binary = root.path().join("usr/bin/tcpstat");
    ensure!(digest(&binary)? == digest(&path_from("TCPSTAT_BIN")?)?, "another binary");
    let unit = root.path().join("usr/lib/systemd/system/tcpstat.service");
    let origin = source("tcpstat-user/assets/packaging/tcpstat.service")?;
    ensure!(fs::read(unit)? == fs::read(origin)?, "another unit");
    let settings = run("rpm", |command| command.args(["-qp", "--configfiles"]).arg(&package))?;
    ensure!(settings == "/etc/default/tcpstat\n", "{settings}");
    let files = run("rpm", |command| command.args(["-qp", "--list"]).arg(&package))?;
    let files: BTreeSet<_> = files.lines().collect();
    for file in [
        "/usr/share/zsh/site-functions/_tcpstat",
        "/usr/share/man/man1/tcpstat.1",
        "/usr/share/tcpstat/rules.yml",
        "/usr/share/tcpstat/fleet-dashboard.json",
        "/usr/share/tcpstat/alertmanager.yml",
        "/usr/share/tcpstat/tcpstat.tmpl",
        "/usr/share/doc/tcpstat/copyright",
    ] {
        ensure!(files.contains(file), "{file} is missing: {files:?}");
    }
    Ok(())
}

fn the_scripts_enable_restart_and_stop_the_service() -> Result<()> {
    let package = released("tcpstat-", &format!(".{}.rpm", host()?.1))?;
    let scripts = run("rpm", |command| command.args(["-qp", "--scripts"]).arg(&package))?;
    let mut sections = scripts.split(" scriptlet (using /bin/sh):\n");
    ensure!(sections.next() == Some("postinstall"), "{scripts}");
    for words in
        ["preset tcpstat.service", "disable --now tcpstat.service", "try-restart tcpstat.service"]
    {
        let section = sections.next().unwrap_or_default();
        ensure!(section.contains(words), "{words} is not in {section}");
        // A script that fails leaves a package half installed.
        let calls = section.lines().filter(|line| line.trim().starts_with("systemctl "));
        let unguarded: Vec<_> = calls.filter(|line| !line.ends_with("|| :")).collect();
        ensure!(unguarded.is_empty(), "{unguarded:?} can fail");
    }
    Ok(())
}

fn each_package_names_its_architecture_and_needs_no_other() -> Result<()> {
    for (_, architecture) in ARCHITECTURES {
        let package = released("tcpstat-", &format!(".{architecture}.rpm"))?;
        let format = "%{ARCH} %{LICENSE} %{BUILDHOST}";
        let fields =
            run("rpm", |command| command.args(["-qp", "--queryformat", format]).arg(&package))?;
        ensure!(fields == format!("{architecture} MIT OR Apache-2.0 reproducible"), "{fields}");
        let needed = run("rpm", |command| command.args(["-qp", "--requires"]).arg(&package))?;
        let other: Vec<_> = needed
            .lines()
            .filter(|need| !need.starts_with("rpmlib(") && *need != "/bin/sh")
            .filter(|need| !need.starts_with("config(tcpstat)"))
            .collect();
        ensure!(other.is_empty(), "{other:?}");
    }
    Ok(())
}
