//! The Markdown files: their links lead somewhere, the files and metrics that they name exist, and the README
//! stays short.

mod links;
mod markdown;
mod metrics;

use std::collections::BTreeMap;
use std::path::Path;

pub(crate) use self::markdown::Document;

/// Lines of the README: what a visitor reads before deciding. The rest belongs to `tcpstat-user/docs`.
const README_LINES: usize = 150;

/// The changelog names what is gone.
const CHANGELOG: &str = "CHANGELOG.md";

/// All documents, by their paths from the root.
pub(crate) type Documents = BTreeMap<String, Document>;

/// The breaches in all documents, each a line. `files` are the paths of all files below `root`, `names` the
/// metrics as the code has them: counters without `_total`.
pub(crate) fn check(
    root: &Path,
    documents: &Documents,
    files: &[String],
    names: &[String],
) -> Vec<String> {
    let mut breaches = links::check(root, documents);
    let lines = documents.get("README.md").map_or(0, |readme| readme.source.lines().count());
    if lines > README_LINES {
        breaches.push(format!(
            "README.md: {lines} lines: {README_LINES} is the limit, move details to tcpstat-user/docs"
        ));
    }
    breaches.extend(metrics::undescribed(names, documents));
    for (path, document) in documents.iter().filter(|(path, _)| *path != CHANGELOG) {
        let unknown = metrics::unknown(names, document);
        let gone = missing_sources(files, document);
        let lines = unknown.chain(gone).map(|(line, problem)| format!("{path}:{line}: {problem}"));
        breaches.extend(lines);
    }
    breaches
}

/// The source files that stand in backquotes and are not there. A path may begin in any folder.
fn missing_sources<'a>(
    files: &'a [String],
    document: &'a Document,
) -> impl Iterator<Item = (usize, String)> + 'a {
    let is_there = |name: &str| {
        files.iter().any(|file| {
            file.strip_suffix(name).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
        })
    };
    let is_source = |name: &str| {
        Path::new(name).extension() == Some("rs".as_ref()) && !name.contains(['*', ' '])
    };
    let missing = move |(_, name): &&(usize, String)| is_source(name) && !is_there(name);
    let missing = document.code.iter().filter(missing);
    missing.map(|(line, name)| (*line, format!("there is no file {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readme_of_150_lines_passes_one_of_151_does_not() {
        let found = |lines| {
            let readme = ("README.md".to_owned(), Document::parse(&"x\n".repeat(lines)));
            check(Path::new("/"), &Documents::from([readme]), &[], &[])
        };
        assert_eq!(found(150), [""; 0]);
        assert!(found(151)[0].starts_with("README.md: 151 lines"));
    }

    #[test]
    fn a_source_file_that_is_not_there_is_named() {
        let files = ["a/src/ledger/rules.rs".to_owned()];
        let document = Document::parse("`ledger/rules.rs`, `init.sh`, `*.rs`\n`er/rules.rs`\n");
        let found: Vec<_> = missing_sources(&files, &document).collect();
        assert_eq!(found, [(2, "there is no file er/rules.rs".to_owned())]);
    }
}
