//! The Markdown files: their links lead somewhere, their words are not retired, the metrics that they name
//! exist, and the README stays short.

mod links;
mod markdown;
mod metrics;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use fs_err as fs;

use self::markdown::Document;
use self::words::Words;
use crate::files;

/// Lines of the README: what a visitor reads before deciding. The rest belongs to `tcpstat-user/docs`.
const README_LINES: usize = 150;

/// The changelog names what was renamed.
const NAMES_OLD_WORDS: [&str; 1] = ["CHANGELOG.md"];

/// All documents, by their paths from the root.
type Documents = BTreeMap<String, Document>;

/// The breaches in all Markdown files below `root`, each a line. `metrics` are the names of all metrics, as
/// the code has them: counters without `_total`.
pub(crate) fn check(root: &Path, metrics: &[String]) -> Result<Vec<String>> {
    let mut documents = Documents::new();
    for file in files::with_extension(root, "md")? {
        let document = Document::parse(&fs::read_to_string(&file)?);
        documents.insert(files::relative(root, &file), document);
    }
    let mut breaches = links::check(root, &documents);
    breaches.extend(documents.get("README.md").and_then(too_long));
    documents.retain(|path, _| !NAMES_OLD_WORDS.contains(&path.as_str()));
    breaches.extend(metrics::check(metrics, &documents));
    let words = Words::compile()?;
    for (path, document) in &documents {
        breaches.extend(words.check(path, document));
    }
    breaches.extend(words::unused(documents.values()));
    Ok(breaches)
}

fn too_long(readme: &Document) -> Option<String> {
    (readme.lines > README_LINES).then(|| {
        format!(
            "README.md: {} lines: {README_LINES} is the limit, move details to tcpstat-user/docs",
            readme.lines
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_documents_are_read_but_none_of_the_build() {
        let root = tempfile::tempdir().unwrap();
        for file in ["README.md", "a/docs/b.md", "target/c.md", "a/target/d.md", ".git/e.md"] {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "[dead](gone.md)\n").unwrap();
        }
        fs::write(root.path().join("CHANGELOG.md"), "The tripwire has a new name.\n").unwrap();
        let breaches = check(root.path(), &[]).unwrap();
        let dead: Vec<_> = breaches.iter().filter(|breach| breach.contains("gone.md")).collect();
        assert_eq!(dead.len(), 2, "{breaches:?}");
        assert!(dead[0].starts_with("README.md:1: "), "{dead:?}");
        assert!(dead[1].starts_with("a/docs/b.md:1: "), "{dead:?}");
        assert!(!breaches.iter().any(|breach| breach.starts_with("CHANGELOG.md")), "{breaches:?}");
    }

    #[test]
    fn a_readme_of_150_lines_passes_one_of_151_does_not() {
        assert_eq!(too_long(&Document::parse(&"x\n".repeat(150))), None);
        let breach = too_long(&Document::parse(&"x\n".repeat(151))).unwrap();
        assert!(breach.starts_with("README.md: 151 lines"), "{breach}");
    }
}
