//! The browser that the page is opened in: Chromium, and chromedriver, which drives it.
//!
//! They are taken from PATH, else installed: unlike Debian's other packages of the tests neither is a
//! service.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::process;
use crate::target::Workspace;

/// Both, by absolute path.
#[derive(Debug)]
pub(crate) struct Chromium {
    /// The browser.
    pub(crate) browser: PathBuf,
    /// Its driver.
    pub(crate) driver: PathBuf,
    /// The browser's version.
    pub(crate) version: String,
}

/// Finds them, or installs Debian's, which fit one another.
pub(crate) fn provide(workspace: &Workspace) -> Result<Chromium> {
    if let Some(found) = find() {
        return Ok(found);
    }
    let Some(apt) = Apt::find(workspace) else {
        bail!("no `chromium` or no `chromedriver` on PATH, and no apt-get: put both on PATH");
    };
    apt.install(&["chromium", "chromium-driver"], "")?;
    find().context("Chromium and its driver are installed, but do not run")
}

fn find() -> Option<Chromium> {
    let (browser, version) = that_runs("chromium")?;
    let (driver, _) = that_runs("chromedriver")?;
    Some(Chromium { browser, driver, version })
}

fn that_runs(name: &str) -> Option<(PathBuf, String)> {
    let path = process::on_path(name)?;
    let said = process::probe(Command::new(&path).arg("--version"))?;
    let version = first_number(&said)?.to_owned();
    Some((path, version))
}

/// `156.0.8078.79` of `Chromium 156.0.8078.79 built on Debian` and of `ChromeDriver 156.0.8078.79 (…)`.
fn first_number(text: &str) -> Option<&str> {
    text.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_first_number() {
        let text = "Chromium 156.0.8078.79 built on Debian GNU/Linux 12 (bookworm)\n";
        assert_eq!(first_number(text), Some("156.0.8078.79"));
        assert_eq!(first_number("something else"), None);
    }
}
