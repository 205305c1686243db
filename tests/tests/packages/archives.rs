//! The archive for other systems, the checksums, and what is in every package.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::{path_from, source};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;

use crate::{ARCHITECTURES, digest, dist, host, released, run};

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        every_file_has_a_checksum,
        the_archive_has_the_tested_binary_and_its_files,
        the_archive_of_the_chart_renders_what_its_folder_does,
        every_binary_is_static_and_names_its_crates,
        the_bpf_object_in_every_binary_has_its_types_and_no_debug_information,
        no_file_names_a_folder_of_the_machine_that_built_it
    ]
}

fn every_file_has_a_checksum() -> Result<()> {
    let sums = fs::read_to_string(dist()?.join("SHA256SUMS"))?;
    let mut named: Vec<_> =
        sums.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    named.sort_unstable();
    let mut files = Vec::new();
    for entry in fs::read_dir(dist()?)? {
        files.push(entry?.file_name().into_string().unwrap_or_default());
    }
    files.retain(|name| name != "SHA256SUMS");
    files.sort_unstable();
    ensure!(files == named, "files {files:?}, in SHA256SUMS {named:?}");
    run("sha256sum", |command| {
        command.args(["--check", "--strict", "SHA256SUMS"]).current_dir(dist().unwrap_or_default())
    })?;
    Ok(())
}

/// With the rules and the dashboards, which are links in the folder.
fn the_archive_of_the_chart_renders_what_its_folder_does() -> Result<()> {
    let helm = path_from("TCPSTAT_HELM")?;
    let home = tempfile::tempdir()?;
    let render = |chart: &Path| {
        run(helm.to_str().context("path")?, |command| {
            for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
                command.env(variable, home.path());
            }
            command
                .args(["template", "tcpstat", "--set=prometheusRule.enabled=true"])
                .arg("--set=dashboards.enabled=true")
                .arg(chart)
        })
    };
    let folder = source("tcpstat-user/assets/packaging/helm/tcpstat")?;
    assert_eq!(render(&released("tcpstat-chart-", ".tgz")?)?, render(&folder)?);
    Ok(())
}

/// Unpacks the archive for an architecture. Its one folder.
fn unpack(architecture: &str, to: &Path) -> Result<std::path::PathBuf> {
    let archive = released("tcpstat-", &format!("-linux-{architecture}.tar.gz"))?;
    run("tar", |command| command.arg("-xzf").arg(&archive).arg("-C").arg(to))?;
    let name = archive.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    Ok(to.join(name.trim_end_matches(".tar.gz")))
}

fn the_archive_has_the_tested_binary_and_its_files() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let root = unpack(host()?.0, folder.path())?;
    let binary = root.join("usr/bin/tcpstat");
    ensure!(
        digest(&binary)? == digest(&path_from("TCPSTAT_BIN")?)?,
        "the released binary is not the one that the tests run"
    );
    let version = run(binary.to_str().context("path")?, |command| command.arg("--version"))?;
    ensure!(version.starts_with("tcpstat 0."), "{version}");
    let root_of_sources = source("")?;
    let commit = run("git", |command| {
        command.args(["rev-parse", "--short=12", "HEAD"]).current_dir(&root_of_sources)
    })?;
    let (bytes, commit) = (fs::read(&binary)?, commit.trim().as_bytes());
    let names_it = bytes.windows(commit.len()).any(|part| part == commit);
    ensure!(names_it, "the binary is not of {}", String::from_utf8_lossy(commit));
    for (file, origin) in [
        ("etc/default/tcpstat", "tcpstat-user/assets/packaging/default"),
        ("usr/lib/systemd/system/tcpstat.service", "tcpstat-user/assets/packaging/tcpstat.service"),
        ("usr/share/tcpstat/rules.yml", "tcpstat-user/assets/rules.yml"),
        ("usr/share/tcpstat/dashboard.json", "tcpstat-user/assets/dashboard.json"),
        ("usr/share/tcpstat/fleet-dashboard.json", "tcpstat-user/assets/fleet-dashboard.json"),
        ("usr/share/tcpstat/alertmanager.yml", "tcpstat-user/assets/alertmanager.yml"),
        ("usr/share/tcpstat/tcpstat.tmpl", "tcpstat-user/assets/alertmanager.tmpl"),
    ] {
        ensure!(fs::read(root.join(file))? == fs::read(source(origin)?)?, "{file} is not {origin}");
    }
    let page = fs::read_to_string(root.join("usr/share/man/man1/tcpstat.1"))?;
    ensure!(page.starts_with(".ie") || page.contains(".TH tcpstat 1"), "{page}");
    let licences = fs::read_to_string(root.join("usr/share/doc/tcpstat/copyright"))?;
    for words in ["MIT", "Apache License", "GNU GENERAL PUBLIC LICENSE"] {
        ensure!(licences.contains(words), "the licences lack {words}");
    }
    let notices = fs::read_to_string(root.join("usr/share/doc/tcpstat/THIRD-PARTY"))?;
    for words in ["aya 0.", "ring 0.", "tokio 1.", "musl", "free of charge"] {
        ensure!(notices.contains(words), "the licences of others lack {words}");
    }
    Ok(())
}

fn every_binary_is_static_and_names_its_crates() -> Result<()> {
    for (architecture, machine) in [("amd64", "X86-64"), ("arm64", "AArch64")] {
        let folder = tempfile::tempdir()?;
        let binary = unpack(architecture, folder.path())?.join("usr/bin/tcpstat");
        let headers = run("readelf", |command| command.arg("-hldSW").arg(&binary))?;
        ensure!(headers.contains(machine), "{architecture}: {headers}");
        for word in ["INTERP", "(NEEDED)"] {
            ensure!(!headers.contains(word), "{architecture}: it has {word}: {headers}");
        }
        // https://github.com/rust-secure-code/cargo-auditable/blob/master/PARSING.md
        ensure!(headers.contains(".dep-v0"), "{architecture}: no list of crates: {headers}");
    }
    Ok(())
}

/// Debug information is four fifths of the object, and nothing reads it; without its BTF the kernel does not take it.
fn the_bpf_object_in_every_binary_has_its_types_and_no_debug_information() -> Result<()> {
    for (architecture, _) in ARCHITECTURES {
        let folder = tempfile::tempdir()?;
        let binary = fs::read(unpack(architecture, folder.path())?.join("usr/bin/tcpstat"))?;
        let has = |name: &[u8]| binary.windows(name.len()).any(|bytes| bytes == name);
        ensure!(has(b".BTF.ext\0"), "{architecture}: no BTF");
        // The binary itself has names such as `.debug_info`, by which it would find its own.
        ensure!(!has(b".rel.debug_info"), "{architecture}: the object has debug information");
    }
    Ok(())
}

/// Else two machines make different bytes of the same commit.
fn no_file_names_a_folder_of_the_machine_that_built_it() -> Result<()> {
    let root = source("")?;
    let folders = [root.to_str().context("path")?, "/.cargo/registry"];
    for (architecture, _) in ARCHITECTURES {
        let folder = tempfile::tempdir()?;
        let binary = fs::read(unpack(architecture, folder.path())?.join("usr/bin/tcpstat"))?;
        for name in folders.map(|name| name.trim_end_matches('/').as_bytes()) {
            let found = binary.windows(name.len()).position(|bytes| bytes == name);
            let context =
                found.map(|at| String::from_utf8_lossy(&binary[at..(at + 120).min(binary.len())]));
            ensure!(found.is_none(), "{architecture}: {context:?}");
        }
    }
    Ok(())
}
