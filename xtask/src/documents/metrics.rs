//! Metrics in documents: each that is exported is described, and each that is named is exported.

use super::Documents;
use super::markdown::Document;

/// The page that describes every metric.
const PAGE: &str = "tcpstat-user/docs/metrics.md";

/// What begins like a metric and is a crate.
const CRATES: [&str; 2] = ["tcpstat_ebpf", "tcpstat_user"];

/// The metrics of `names` that the page does not describe, and the metrics that a document names in
/// backquotes and that are not in `names`, each a line.
pub(super) fn check(names: &[String], documents: &Documents) -> Vec<String> {
    let described: Vec<_> =
        documents.get(PAGE).into_iter().flat_map(named).map(|(_, name)| name).collect();
    let mut breaches: Vec<_> = names
        .iter()
        .filter(|name| !described.iter().any(|described| is(described, name)))
        .map(|name| format!("{PAGE}: does not describe the metric {name}"))
        .collect();
    for (path, document) in documents {
        for (line, name) in named(document) {
            if !names.iter().any(|exported| is(name, exported)) {
                breaches.push(format!("{path}:{line}: there is no metric {name}"));
            }
        }
    }
    breaches
}

/// Whether `text` is the metric `name`; of a counter, a text format appends `_total`.
fn is(text: &str, name: &str) -> bool {
    text.strip_suffix("_total").unwrap_or(text) == name
}

/// The metrics that stand in backquotes, each with its line. A name with a colon is that of a recording
/// rule, one that ends in `_` the beginning of several.
fn named(document: &Document) -> impl Iterator<Item = (usize, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    document.passages.iter().flat_map(move |passage| {
        passage.code.iter().flat_map(move |code| {
            let words = passage.text[code.clone()].split(move |c| !is_name(c));
            words.filter(|word| is_metric(word)).map(|word| (passage.line(code.start), word))
        })
    })
}

fn is_metric(word: &str) -> bool {
    ["tcpstat_", "node_tcp_", "process_"].iter().any(|prefix| word.starts_with(prefix))
        && !word.contains(':')
        && !word.ends_with('_')
        && !CRATES.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str, other: &str) -> Vec<String> {
        let documents = [(PAGE, page), ("other.md", other)]
            .map(|(path, text)| (path.to_owned(), Document::parse(text)));
        let names = ["tcpstat_connections", "tcpstat_transitions"].map(str::to_owned);
        check(&names, &documents.into())
    }

    #[test]
    fn a_metric_that_the_page_does_not_describe_is_named() {
        let page = "| `tcpstat_connections` |\n";
        let breach = format!("{PAGE}: does not describe the metric tcpstat_transitions");
        assert_eq!(found(page, "`tcpstat_transitions_total`"), [breach]);
    }

    #[test]
    fn a_metric_that_is_not_exported_is_named_where_it_stands() {
        let page = "`tcpstat_connections`, `tcpstat_transitions_total`";
        let other = "# One\n\n`sum(tcpstat_gone{x=\"1\"})`\n";
        assert_eq!(found(page, other), ["other.md:3: there is no metric tcpstat_gone"]);
        let others = "`job:tcpstat_gone:sum`, `process_*`, `tcpstat_ebpf`, tcpstat_gone";
        assert_eq!(found(page, others), Vec::<String>::new());
    }
}
