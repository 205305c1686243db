//! Where this machine gets Debian from: the matrix asks the same hosts, for more suites.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

/// The suites with a kernel, the oldest first.
const SUITES: [&str; 7] =
    ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "forky", "sid"];

const SECURITY_SUITES: [&str; 3] = ["bullseye-security", "bookworm-security", "trixie-security"];

/// What the name of a suite of Debian's begins with.
const NAMES: [&str; 8] =
    ["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"];

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A sources.list with all suites that have a kernel, by the hosts that apt's own configuration names.
pub(crate) fn for_matrix() -> Result<String> {
    let format = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)";
    let mut targets = String::new();
    // With release-info, the origin is known, but only that is listed whose lists were downloaded.
    for option in ["--release-info", "--no-release-info"] {
        let mut command = Command::new("apt-get");
        command.args(["indextargets", option, "--format", format, "Created-By: Packages"]);
        targets += &process::probe(&mut command).context("apt-get indextargets fails")?;
    }
    let keyring = Path::new(KEYRING).exists().then(|| format!("[signed-by={KEYRING}] "));
    let signed = keyring.unwrap_or_default();
    list(&targets, &signed).context("apt has no source of Debian's: see `apt-get indextargets`")
}

/// The same, for those `targets` of apt's, each line with `options`.
fn list(targets: &str, options: &str) -> Option<String> {
    let fields = targets.lines().map(|line| line.split('|').collect::<Vec<_>>());
    let mut sources: Vec<[&str; 4]> = fields.filter_map(|fields| fields.try_into().ok()).collect();
    sources.retain(|[_, _, suite, component]| {
        *component == "main"
            && suite.split(['-', '/']).next().is_some_and(|name| NAMES.contains(&name))
    });
    // Others have suites of the same names. Where no list was downloaded yet, the origin is not known.
    sources.sort_by_key(|[origin, uri, ..]| (*origin != "Debian", !uri.contains("debian")));
    let best = |security: bool| {
        let is_security = |suite: &str| suite.ends_with("-security") || suite.ends_with("/updates");
        sources.iter().find(|source| is_security(source[2]) == security).map(|source| source[1])
    };
    let lines = |uri: &str, suites: &[&str]| {
        let line = |suite| format!("deb {options}{uri} {suite} main\n");
        suites.iter().map(line).collect::<Vec<_>>().concat()
    };
    let security = best(true).map(|uri| lines(uri, &SECURITY_SUITES)).unwrap_or_default();
    Some(lines(best(false)?, &SUITES) + &security)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_suites_are_asked_of_the_machines_own_host() {
        let targets = "PGDG|https://other.example/debian/|bookworm-pgdg|main\n\
            Debian|http://mirror.example/deb/|bookworm|contrib\n\
            Debian|http://mirror.example/deb/|bookworm-updates|main\n\
            Debian|http://mirror.example/security/|bookworm-security|main\n\
            $(ORIGIN)|http://new.example/debian/|bookworm|main\n";
        let list = list(targets, "[signed-by=/k] ").unwrap();
        assert_eq!(list.lines().count(), SUITES.len() + SECURITY_SUITES.len());
        assert!(list.starts_with("deb [signed-by=/k] http://mirror.example/deb/ bullseye main\n"));
        assert!(list.ends_with(" http://mirror.example/security/ trixie-security main\n"));
        assert!(!list.contains("other.example") && !list.contains("new.example"));
    }

    #[test]
    fn a_machine_that_has_no_lists_yet_is_known_by_its_hosts_and_one_without_debian_has_none() {
        let targets =
            "$(ORIGIN)|https://x/stable/|sid|main\n$(ORIGIN)|http://x/debian/|trixie|main\n";
        assert!(list(targets, "").unwrap().starts_with("deb http://x/debian/ bullseye main\n"));
        assert_eq!(list("Ubuntu|http://x/ubuntu/|noble|main\n", ""), None);
    }
}
