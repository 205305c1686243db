//! Links inside the repository: the file is there, and so is the heading.

use std::path::Path;

use super::Documents;
use crate::files;

/// The links and images that lead to no file or no heading, each a line. Those that lead out of the
/// repository are not checked.
pub(super) fn check(root: &Path, documents: &Documents) -> Vec<String> {
    let mut breaches = Vec::new();
    for (path, document) in documents {
        for (line, target) in &document.links {
            if let Err(problem) = follow(root, documents, path, target) {
                breaches.push(format!("{path}:{line}: the link `{target}` {problem}"));
            }
        }
    }
    breaches
}

/// Follows a link of the document `from`; the error says what is wrong with it.
fn follow(root: &Path, documents: &Documents, from: &str, target: &str) -> Result<(), String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    if target.starts_with('/') {
        return Err("begins with /: name the file from the document's folder".to_owned());
    }
    let (file, anchor) = match target.split_once('#') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (target, None),
    };
    let page = root.join(from);
    let file = if file.is_empty() { page } else { page.with_file_name(file) };
    let real = |path: &Path| path.canonicalize().ok();
    let (Some(root), Some(file)) = (real(root), real(&file)) else {
        return Err(format!("leads to no file: there is no {}", files::relative(root, &file)));
    };
    let file = file.strip_prefix(root).map_err(|_| "leads out of the repository")?;
    let file = file.to_string_lossy();
    match (anchor, documents.get(&*file)) {
        (None, _) => Ok(()),
        (Some(anchor), Some(document)) if document.anchors.iter().any(|known| known == anchor) => {
            Ok(())
        }
        (Some(anchor), _) => Err(format!("leads to no heading: {file} has no #{anchor}")),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::documents::markdown::Document;

    #[test]
    fn a_dead_link_image_or_anchor_is_named_and_one_that_leads_somewhere_is_not() {
        let good = [
            "https://example.com/gone.md#gone",
            "mailto:a@example.com",
            "./other.md#a-heading",
            "../README.md#title",
            "../docs/plot.svg",
            "../docs",
            "#here",
        ];
        let dead = [
            ("gone.md", "leads to no file: there is no docs/gone.md"),
            ("other.md#gone", "leads to no heading: docs/other.md has no #gone"),
            ("other.md#A-Heading", "leads to no heading: docs/other.md has no #A-Heading"),
            ("#gone", "leads to no heading: docs/page.md has no #gone"),
            ("plot.svg#part", "leads to no heading: docs/plot.svg has no #part"),
            ("/README.md", "begins with /: name the file from the document's folder"),
            ("../..", "leads out of the repository"),
        ];
        let links = good.into_iter().chain(dead.map(|(link, _)| link));
        let page =
            links.fold("# Here\n".to_owned(), |page, link| page + &format!("![x]({link})\n"));
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        let mut documents = Documents::new();
        for (path, text) in [
            ("README.md", "# Title\n"),
            ("docs/page.md", &page),
            ("docs/other.md", "## A heading\n"),
            ("docs/plot.svg", ""),
        ] {
            fs::write(root.path().join(path), text).unwrap();
            if !text.is_empty() {
                documents.insert(path.to_owned(), Document::parse(text));
            }
        }
        let expected = dead.iter().enumerate().map(|(at, (link, problem))| {
            format!("docs/page.md:{}: the link `{link}` {problem}", good.len() + at + 2)
        });
        assert_eq!(check(root.path(), &documents), expected.collect::<Vec<_>>());
    }
}
