//! Files taken from elsewhere are what their folder's `SHA512SUMS` says, and no file there is without a sum.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use fs_err as fs;

use crate::files;

const SUMS: &str = "SHA512SUMS";

/// The breaches in all folders below `vendor`, each a line; none where there is no such folder.
pub(crate) fn check(vendor: &Path) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for folder in if vendor.is_dir() { files::entries(vendor)? } else { Vec::new() } {
        let listed = fs::read_to_string(folder.join(SUMS)).unwrap_or_default();
        let names = files::entries(&folder)?.into_iter().filter_map(|file| {
            let name = file.file_name()?.to_string_lossy().into_owned();
            (name != SUMS && name != "README.md").then_some(name)
        });
        let mut command = Command::new("sha512sum");
        // Without names it reads its standard input.
        command.arg("--").args(names).current_dir(&folder).stdin(Stdio::null());
        let output = command.output().context("cannot run sha512sum (coreutils)")?;
        let found = String::from_utf8_lossy(&output.stdout);
        let is_listed = |sum: &&str| listed.lines().any(|line| line == *sum);
        let wrong =
            found.lines().filter(|sum| !is_listed(sum)).filter_map(|sum| sum.split_once("  "));
        breaches.extend(wrong.map(|(_, name)| {
            format!("{}: has not the sum that {SUMS} lists", folder.join(name).display())
        }));
        let gone = listed.lines().filter(|sum| !found.lines().any(|line| line == *sum));
        breaches.extend(gone.map(|sum| format!("{}: no file has the sum {sum}", folder.display())));
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf vendored | sha512sum`
    const SUM: &str = "b050923575a06efa6c45bdf9623e820a8ae9180a25f2a418e9bfa246f0708fe441c037419b10b979ebb2a60fee1bb04cf281d7a6b220ed6bccc0cabfd546b8dd";

    #[test]
    fn changed_unlisted_and_missing_files_are_named() {
        let vendor = tempfile::tempdir().unwrap();
        let folder = vendor.path().join("library");
        fs::create_dir(&folder).unwrap();
        let sums = format!("{SUM}  code.js\n");
        let checked = |name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
            check(vendor.path()).unwrap()
        };
        assert_eq!(checked("code.js", "vendored").len(), 1);
        assert_eq!(checked(SUMS, &sums), [""; 0]);
        assert_eq!(checked("README.md", "x"), [""; 0]);
        assert!(checked("more.js", "")[0].contains("library/more.js: has not the sum"));
        fs::remove_file(folder.join("more.js")).unwrap();
        let changed = checked("code.js", "vendored and changed");
        assert!(changed[0].contains("library/code.js: has not"), "{changed:?}");
        fs::remove_file(folder.join("code.js")).unwrap();
        assert!(check(vendor.path()).unwrap().last().unwrap().contains("no file has the sum"));
    }
}
