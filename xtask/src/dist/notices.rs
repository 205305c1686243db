//! The licences of the crates in the binary. Most ask for their text wherever the binary is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde_json::Value;

use crate::architecture::Architecture;
use crate::target::Workspace;
use crate::{cargo, files, process};

/// What the name of a file with a licence begins with, in lower case.
const NAMES: [&str; 4] = ["license", "licence", "copying", "notice"];

/// musl has no crate, and is part of every binary: <https://git.musl-libc.org/cgit/musl/tree/COPYRIGHT>
const MUSL: &str = "musl is licensed under MIT. Copyright © 2005-2020 Rich Felker, et al.\n";

/// All of them as one text. A licence that several crates have with the same words is written once, with their names.
pub(super) fn text(workspace: &Workspace, architecture: Architecture) -> Result<String> {
    let mut crates = BTreeMap::<String, Vec<String>>::new();
    for (name, folder) in folders(workspace, architecture)? {
        let licences = files::entries(&folder)?.into_iter().filter(|path| is_licence(path));
        let mut licences: Vec<_> = licences.collect();
        licences.sort_unstable();
        // A crate without a file has one of the texts that others have; its manifest says which.
        for licence in licences {
            crates.entry(fs::read_to_string(licence)?).or_default().push(name.clone());
        }
    }
    ensure!(!crates.is_empty(), "no crate has a licence");
    let mut parts: Vec<_> =
        crates.into_iter().map(|(text, names)| (names.join(", "), text)).collect();
    parts.sort_unstable();
    let parts = parts.into_iter().map(|(names, text)| format!("{names}:\n\n{}\n", text.trim_end()));
    let parts: Vec<_> = [MUSL.to_owned()].into_iter().chain(parts).collect();
    Ok(parts.join(&format!("\n{}\n\n", "-".repeat(80))))
}

/// The crates in the binary for `architecture`, with the folders of their sources; tcpstat's own are left out.
fn folders(workspace: &Workspace, architecture: Architecture) -> Result<BTreeMap<String, PathBuf>> {
    let mut tree = cargo::host(workspace);
    tree.args(["tree", "--locked", "--package", "tcpstat-user", "--edges", "normal"]).args([
        "--prefix",
        "none",
        "--format",
        "{p}",
        "--target",
        architecture.target(),
    ]);
    let tree = process::probe(&mut tree).context("cargo tree fails")?;
    // Such as `ring v0.17.14`, and of some kinds a remark.
    let wanted = |name: &str, version: &str| {
        tree.lines().any(|line| {
            let mut words = line.split(' ');
            words.next() == Some(name) && words.next() == Some(&format!("v{version}"))
        })
    };
    let mut metadata = cargo::host(workspace);
    metadata.args(["metadata", "--locked", "--format-version", "1"]);
    metadata.args(["--filter-platform", architecture.target()]);
    let metadata = process::probe(&mut metadata).context("cargo metadata fails")?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
    let mut folders = BTreeMap::new();
    // Those of the workspace have no source.
    for package in packages.iter().filter(|package| package["source"].is_string()) {
        let field = |name: &str| package[name].as_str().with_context(|| format!("no {name}"));
        let (name, version, manifest) =
            (field("name")?, field("version")?, field("manifest_path")?);
        if wanted(name, version) {
            let folder = Path::new(manifest).parent().context("a manifest has a folder")?;
            folders.insert(format!("{name} {version}"), folder.to_owned());
        }
    }
    Ok(folders)
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    path.is_file() && NAMES.iter().any(|beginning| name.starts_with(beginning))
}
