//! Where this machine gets Debian from: the matrix asks the same host, for more suites.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The suites with a kernel, the oldest first.
const SUITES: [&str; 7] =
    ["bullseye", "bookworm", "bookworm-backports", "trixie", "trixie-backports", "forky", "sid"];

const SECURITY_SUITES: [&str; 3] = ["bullseye-security", "bookworm-security", "trixie-security"];

/// One address of one source of apt's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

impl Source {
    fn is_security(&self) -> bool {
        self.has_suite(|suite| suite.ends_with("-security") || suite.ends_with("/updates"))
    }

    /// Whether it may be Debian's, and how much speaks for that.
    fn rank(&self) -> Option<u32> {
        const NAMES: [&str; 8] =
            ["bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"];
        let named = self.has_suite(|suite| {
            NAMES.iter().any(|name| suite.split(['-', '/']).next() == Some(name))
        });
        let fits = named && self.components.iter().any(|component| component == "main");
        let keyring = self.signed_by.as_ref();
        let own_key = keyring.is_none_or(|keyring| keyring.contains("debian-archive"));
        fits.then(|| 2 * u32::from(own_key) + u32::from(self.uri.contains("debian")))
    }

    fn has_suite(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.suites.iter().any(|suite| wanted(suite))
    }

    /// A line for `suite` as sources.list has them.
    fn line(&self, suite: &str) -> String {
        let options = self.signed_by.as_ref().map(|keyring| format!("[signed-by={keyring}] "));
        format!("deb {}{} {suite} main\n", options.unwrap_or_default(), self.uri)
    }
}

/// A sources.list with all suites that have a kernel, by the hosts that apt's own configuration names.
pub(crate) fn for_matrix() -> Result<String> {
    let etc = Path::new("/etc/apt");
    list(&read(etc)?).with_context(|| format!("no source of Debian's in {}", etc.display()))
}

fn list(sources: &[Source]) -> Option<String> {
    let best = |security: bool| {
        let ranked = sources.iter().filter(|source| source.is_security() == security);
        // The first of the highest rank.
        ranked.rev().filter_map(|source| Some((source.rank()?, source))).max_by_key(|best| best.0)
    };
    let (_, main) = best(false)?;
    let mut text: String = SUITES.iter().map(|suite| main.line(suite)).collect();
    if let Some((_, security)) = best(true) {
        text.extend(SECURITY_SUITES.iter().map(|suite| security.line(suite)));
    }
    Some(text)
}

fn read(etc: &Path) -> Result<Vec<Source>> {
    let mut files = vec![etc.join("sources.list")];
    if let Ok(entries) = fs::read_dir(etc.join("sources.list.d")) {
        let mut more: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        more.sort();
        files.extend(more);
    }
    let mut sources = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => sources.extend(text.lines().filter_map(one_line)),
            Some("sources") => sources.extend(text.split("\n\n").flat_map(stanza)),
            _ => {}
        }
    }
    Ok(sources)
}

/// `deb [signed-by=KEYRING] URI SUITE COMPONENT...`
fn one_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uri: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned),
    })
}

/// The same in the format of deb822, for each of the addresses. A key that stands in the stanza
/// itself, not in a file, is left out.
fn stanza(text: &str) -> Vec<Source> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    if !field("Types:").contains(&"deb".to_owned()) || field("Enabled:") == ["no"] {
        return Vec::new();
    }
    let keyring = field("Signed-By:").into_iter().find(|keyring| keyring.starts_with('/'));
    field("URIs:")
        .into_iter()
        .map(|uri| Source {
            uri,
            suites: field("Suites:"),
            components: field("Components:"),
            signed_by: keyring.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "Types: deb\n# a comment\nURIs: http://mirror.example/debian\n\
        Suites: bookworm bookworm-updates\nComponents: main\n\
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";

    #[test]
    fn all_suites_are_asked_of_the_machines_own_host() {
        let mut sources = vec![
            one_line("deb https://other.example/debian bookworm main").unwrap(),
            one_line("deb [signed-by=/k.gpg] https://more.example/stable/debian sid main").unwrap(),
        ];
        sources[0].signed_by = Some("/other.gpg".to_owned());
        sources.extend(stanza(DEBIAN));
        sources.extend(one_line("deb http://mirror.example/security bookworm-security main"));
        let list = list(&sources).unwrap();
        assert_eq!(list.lines().count(), SUITES.len() + SECURITY_SUITES.len());
        assert_eq!(
            list.lines().next(),
            Some(
                "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] \
                 http://mirror.example/debian bullseye main"
            )
        );
        assert!(list.ends_with("deb http://mirror.example/security trixie-security main\n"));
        assert!(!list.contains("other.example") && !list.contains("more.example"));
    }

    #[test]
    fn both_formats_are_read() {
        assert_eq!(stanza(DEBIAN)[0].suites, ["bookworm", "bookworm-updates"]);
        let line = one_line("deb [arch=amd64 signed-by=/k.gpg] http://x/debian sid main contrib");
        let line = line.unwrap();
        assert_eq!(
            (line.uri.as_str(), line.signed_by.as_deref()),
            ("http://x/debian", Some("/k.gpg"))
        );
        assert_eq!(line.components, ["main", "contrib"]);
        assert_eq!(one_line("# deb http://x/debian sid main"), None);
        assert_eq!(one_line("deb-src http://x/debian sid main"), None);
        assert_eq!(stanza(&format!("Enabled: no\n{DEBIAN}")), []);
    }

    #[test]
    fn a_machine_without_debian_has_none() {
        let ubuntu = one_line("deb http://x/ubuntu noble main").unwrap();
        assert_eq!(list(&[ubuntu]), None);
    }
}
