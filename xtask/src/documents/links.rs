//! Links inside the repository: the file is there, and so is the heading.

use std::path::Path;

use super::Documents;
use super::markdown::Link;
use crate::files;

/// The links and images that lead to no file or no heading, each a line. What leads out of the
/// repository is not looked at.
pub(super) fn check(root: &Path, documents: &Documents) -> Vec<String> {
    let mut breaches = Vec::new();
    for (path, document) in documents {
        for Link { line, target } in &document.links {
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

    /// The lines of the breaches of `docs/page.md` with that text, beside some other files.
    fn found(text: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let files = [
            ("README.md", "# Title\n"),
            ("docs/page.md", text),
            ("docs/other.md", "# Other\n\n## A heading\n"),
            ("docs/images/plot.svg", ""),
        ];
        let mut documents = Documents::new();
        for (path, text) in files {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
            if !text.is_empty() {
                documents.insert(path.to_owned(), Document::parse(text));
            }
        }
        check(root.path(), &documents)
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        for link in [
            "https://example.com/gone.md#gone",
            "mailto:a@example.com",
            "other.md",
            "./other.md#a-heading",
            "../README.md#title",
            "../docs/images/plot.svg",
            "images",
            "#here",
        ] {
            assert_eq!(found(&format!("# Here\n\n[x]({link})\n")), Vec::<String>::new(), "{link}");
        }
    }

    #[test]
    fn a_dead_link_a_dead_image_and_a_dead_anchor_are_named() {
        let text = "[x](gone.md)\n\n![x](images/gone.png)\n\n[x](other.md#gone)\n\n[x](#gone)\n";
        assert_eq!(
            found(text),
            [
                "docs/page.md:1: the link `gone.md` leads to no file: there is no docs/gone.md",
                "docs/page.md:3: the link `images/gone.png` leads to no file: there is no docs/images/gone.png",
                "docs/page.md:5: the link `other.md#gone` leads to no heading: docs/other.md has no #gone",
                "docs/page.md:7: the link `#gone` leads to no heading: docs/page.md has no #gone",
            ]
        );
    }

    #[test]
    fn a_link_out_of_the_repository_and_an_anchor_in_an_image_are_dead() {
        for link in ["../../README.md", "/README.md", "images/plot.svg#part", "other.md#A-Heading"]
        {
            assert_eq!(found(&format!("[x]({link})\n")).len(), 1, "{link}");
        }
    }
}
