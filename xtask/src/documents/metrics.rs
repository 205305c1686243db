//! Metrics in documents: each that is exported is described, and each that is named is exported.

use super::{Document, Documents};

/// The page that describes every metric.
const PAGE: &str = "tcpstat-user/docs/metrics.md";

/// What begins like a metric and is a crate, or a variable of the Ansible playbook.
const OTHERS: [&str; 5] = [
    "tcpstat_ebpf",
    "tcpstat_user",
    "tcpstat_settings",
    "tcpstat_must_trace",
    "tcpstat_allow_downgrade",
];

/// The metrics of `names` that the page does not describe, each a line.
pub(super) fn undescribed(names: &[String], documents: &Documents) -> Vec<String> {
    let described: Vec<_> =
        documents.get(PAGE).into_iter().flat_map(named).map(|(_, name)| name).collect();
    let missing = names.iter().filter(|name| !described.iter().any(|text| is(text, name)));
    missing.map(|name| format!("{PAGE}: does not describe the metric {name}")).collect()
}

/// The metrics that stand in backquotes and are not in `names`, each with its line.
pub(super) fn unknown<'a>(
    names: &'a [String],
    document: &'a Document,
) -> impl Iterator<Item = (usize, String)> + 'a {
    named(document)
        .filter(|(_, name)| !names.iter().any(|exported| is(name, exported)))
        .map(|(line, name)| (line, format!("there is no metric {name}")))
}

/// Whether `text` is the metric `name`; of a counter, a text format appends `_total`.
fn is(text: &str, name: &str) -> bool {
    text == name || text.strip_suffix("_total") == Some(name)
}

/// The metrics that stand in backquotes. A name with a colon is that of a recording rule, one that ends in `_`
/// the beginning of several.
fn named(document: &Document) -> impl Iterator<Item = (usize, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    document.code.iter().flat_map(move |(line, code)| {
        let words = code.split(move |c| !is_name(c)).filter(|word| is_metric(word));
        words.map(move |word| (*line, word))
    })
}

/// The file name of a Debian package has a digit where a metric has a letter.
fn is_metric(word: &str) -> bool {
    ["tcpstat_", "node_tcp_", "container_network_", "process_"]
        .iter()
        .filter_map(|prefix| word.strip_prefix(prefix))
        .any(|rest| !rest.starts_with(|first: char| first.is_ascii_digit()))
        && !word.contains(':')
        && !word.ends_with('_')
        && !OTHERS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_that_is_not_described_and_one_that_is_not_exported_are_named() {
        let names = ["tcpstat_connections", "tcpstat_transitions", "container_network_total"];
        let names = names.map(str::to_owned);
        let text = "# One\n\n`tcpstat_connections`, `sum(tcpstat_gone{x=\"1\"})`, \
            `container_network_total`\n\n\
            `job:tcpstat_gone:sum`, `process_*`, `tcpstat_ebpf`, tcpstat_transitions\n";
        let document = Document::parse(text);
        let found: Vec<_> = unknown(&names, &document).collect();
        assert_eq!(found, [(3, "there is no metric tcpstat_gone".to_owned())]);
        let documents = Documents::from([(PAGE.to_owned(), document)]);
        let breach = format!("{PAGE}: does not describe the metric tcpstat_transitions");
        assert_eq!(undescribed(&names, &documents), [breach]);
    }
}
