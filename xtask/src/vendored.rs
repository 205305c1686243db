//! Files taken from elsewhere are what their folder's `SHA512SUMS` says, and no file there is without a sum.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::files;

const SUMS: &str = "SHA512SUMS";

/// What needs no sum: the sums, and what we say of the rest.
const OURS: [&str; 2] = [SUMS, "README.md"];

/// The breaches in all folders below `vendor`, each a line; none where there is no such folder.
pub(crate) fn check(vendor: &Path) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    if vendor.is_dir() {
        for folder in names(vendor)? {
            let found = check_folder(&vendor.join(&folder))?;
            breaches.extend(found.into_iter().map(|breach| format!("vendor/{folder}: {breach}")));
        }
    }
    Ok(breaches)
}

fn check_folder(folder: &Path) -> Result<Vec<String>> {
    let Ok(sums) = fs::read_to_string(folder.join(SUMS)) else {
        return Ok(vec![format!("no {SUMS}: where do its files come from?")]);
    };
    let listed: Vec<_> = sums.lines().filter_map(|line| Some(line.split_once("  ")?.1)).collect();
    let mut breaches: Vec<_> = names(folder)?
        .into_iter()
        .filter(|name| !OURS.contains(&name.as_str()) && !listed.contains(&name.as_str()))
        .map(|name| format!("{name} has no sum in {SUMS}"))
        .collect();
    let output = Command::new("sha512sum")
        .args(["--check", "--strict", "--quiet", SUMS])
        .current_dir(folder)
        .env("LC_ALL", "C")
        .output()
        .context("cannot run sha512sum (coreutils)")?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        breaches.extend(String::from_utf8_lossy(&said).lines().map(str::to_owned));
    }
    Ok(breaches)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = files::entries(folder)?;
    let mut names: Vec<_> = entries.iter().map(|entry| files::relative(folder, entry)).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf vendored | sha512sum`
    const SUM: &str = "b050923575a06efa6c45bdf9623e820a8ae9180a25f2a418e9bfa246f0708fe441c037419b10b979ebb2a60fee1bb04cf281d7a6b220ed6bccc0cabfd546b8dd";

    fn checked(files: &[(&str, &str)]) -> Vec<String> {
        let vendor = tempfile::tempdir().unwrap();
        let folder = vendor.path().join("library");
        fs::create_dir(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        check(vendor.path()).unwrap()
    }

    #[test]
    fn files_that_are_what_their_sums_say_pass() {
        let sums = format!("{SUM}  code.js\n");
        let files = [("code.js", "vendored"), ("README.md", "x"), (SUMS, &sums)];
        assert_eq!(checked(&files), Vec::<String>::new());
    }

    #[test]
    fn a_changed_file_is_named() {
        let sums = format!("{SUM}  code.js\n");
        let breaches = checked(&[("code.js", "vendored and changed"), (SUMS, &sums)]);
        assert!(breaches[0].starts_with("vendor/library: code.js: FAILED"), "{breaches:?}");
    }

    #[test]
    fn a_file_without_a_sum_and_a_folder_without_sums_are_named() {
        let sums = format!("{SUM}  code.js\n");
        let breaches = checked(&[("code.js", "vendored"), ("more.js", ""), (SUMS, &sums)]);
        assert_eq!(breaches, ["vendor/library: more.js has no sum in SHA512SUMS"]);
        assert!(checked(&[("code.js", "vendored")])[0].contains("no SHA512SUMS"));
    }
}
