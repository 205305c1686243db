//! Warnings about variables of tcpstat's form that no command has: a misspelt one would be silent otherwise.

use strsim::damerau_levenshtein;

use crate::text::{self, plain};

/// What all variables of tcpstat begin with.
pub(super) const PREFIX: &str = "TCPSTAT_";

/// Most lines.
const MOST_LINES: usize = 10;

/// Longest name that is compared with others.
const MOST_COMPARED: usize = 64;

/// The lines about those of `set`, names and values, that are not in `known`: at most [`MOST_LINES`].
pub(super) fn warnings(mut set: Vec<(String, String)>, known: &[String]) -> Vec<String> {
    set.retain(|(name, value)| {
        name.starts_with(PREFIX) && !known.contains(name) && !is_of_kubernetes(name, value)
    });
    set.sort_unstable();
    let names = if set.len() > MOST_LINES { MOST_LINES - 1 } else { MOST_LINES };
    let mut lines: Vec<_> = set.iter().take(names).map(|(name, _)| line(name, known)).collect();
    if set.len() > MOST_LINES {
        lines.push(format!("{} more variables have no effect", set.len() - names));
    }
    lines
}

fn line(name: &str, known: &[String]) -> String {
    let remedy = match nearest(name, known) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "`tcpstat serve --help` has those that there are".to_owned(),
    };
    format!("{} has no effect: no flag has this variable: {remedy}", plain(name, text::VALUE))
}

/// The known name that differs in the fewest letters, if it differs in few.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    if name.len() > MOST_COMPARED {
        return None;
    }
    let most = ((name.len() - PREFIX.len()) / 3).max(2);
    let differences = known.iter().map(|known| (damerau_levenshtein(name, known), known.as_str()));
    differences.filter(|(letters, _)| *letters <= most).min().map(|(_, nearest)| nearest)
}

/// Whether Kubernetes sets it beside a service whose name begins with `tcpstat`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let protocols = ["tcp", "udp", "sctp"];
    let is_address = protocols
        .iter()
        .any(|it| value.strip_prefix(it).is_some_and(|rest| rest.starts_with("://")));
    let is_part = name.rsplit_once("_PORT_").is_some_and(|(_, rest)| {
        rest.split('_')
            .nth(1)
            .is_some_and(|it| protocols.contains(&it.to_ascii_lowercase().as_str()))
    });
    is_address || is_part || name.contains("_SERVICE_HOST") || name.contains("_SERVICE_PORT")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(set: &[(&str, &str)]) -> Vec<String> {
        let known =
            ["TCPSTAT_PORTS", "TCPSTAT_LISTENERS_MAX", "TCPSTAT_NETNS", "TCPSTAT_LOG_LEVEL"];
        let set = set.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        warnings(set.collect(), &known.map(str::to_owned))
    }

    #[test]
    fn a_variable_that_no_flag_has_is_named_with_the_nearest_one() {
        for (name, nearest) in [
            ("TCPSTAT_PORT", "TCPSTAT_PORTS"),
            ("TCPSTAT_LISTENER_MAX", "TCPSTAT_LISTENERS_MAX"),
            ("TCPSTAT_NETNS_", "TCPSTAT_NETNS"),
            ("TCPSTAT_LGO_LEVEL", "TCPSTAT_LOG_LEVEL"),
        ] {
            let found = lines(&[(name, "443")]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(name) && found[0].contains(&format!("mean {nearest}?")));
        }
        let found = lines(&[("TCPSTAT_COLOUR", "")]);
        assert!(found[0].contains("--help") && !found[0].contains("did you mean"), "{found:?}");
    }

    #[test]
    fn what_has_an_effect_and_what_kubernetes_sets_is_no_mistake() {
        let none: [String; 0] = [];
        let set = [
            ("TCPSTAT_PORTS", "443"),
            ("PATH", "/bin"),
            ("TCPSTAT_SERVICE_HOST", "10.0.0.1"),
            ("TCPSTAT_SERVICE_PORT_METRICS", "10048"),
            ("TCPSTAT_PORT", "tcp://10.0.0.1:10048"),
            ("TCPSTAT_PORT_10048_TCP", "tcp://10.0.0.1:10048"),
            ("TCPSTAT_WEB_PORT_10048_TCP_ADDR", "10.0.0.1"),
        ];
        assert_eq!(lines(&set), none);
    }

    #[test]
    fn so_many_variables_make_at_most_ten_lines() {
        let names: Vec<_> = (0..10_000).map(|n| format!("TCPSTAT_{n}_{}", "x".repeat(n))).collect();
        let set: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        let found = lines(&set);
        assert_eq!(found.len(), 10);
        assert_eq!(found[9], "9991 more variables have no effect");
        assert!(found.iter().all(|line| line.len() < 400), "{found:?}");
        assert_eq!(lines(&set[..10]).len(), 10);
        assert!(lines(&set[..10])[9].contains("--help"));
    }
}
