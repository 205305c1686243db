//! The documents of a package. Links from one to another work as in the repository; what else links lead to is not installed,
//! so of those the text stays.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use fs_err as fs;
use pulldown_cmark::{Event, Options, Parser, Tag};

use crate::dist::tree;
use crate::files;

/// Where they are installed, their paths from the root of the repository below it.
const INSTALLED: &str = "usr/share/doc/tcpstat";

/// The documents at the root of the repository that are installed.
const AT_ROOT: [&str; 3] = ["README.md", "SECURITY.md", "CHANGELOG.md"];

/// The folder of all others, and of their images.
const FOLDER: &str = "tcpstat-user/docs";

/// Puts the documents of the repository at `root` into `tree`.
pub(super) fn put(root: &Path, tree: &Path) -> Result<()> {
    let others = files::below(&root.join(FOLDER))?;
    let others = others.iter().map(|file| files::relative(root, file));
    let paths: BTreeSet<_> =
        AT_ROOT.map(str::to_owned).into_iter().chain(others).map(PathBuf::from).collect();
    for path in &paths {
        let (from, to) = (root.join(path), tree.join(INSTALLED).join(path));
        tree::put(&from, &to, 0o644)?;
        if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&from)?;
            fs::write(&to, without_dead_links(&text, path, &paths))?;
        }
    }
    Ok(())
}

/// The text of the document `from`, with the links and images alone that lead to one of `installed` or out of the repository.
fn without_dead_links(text: &str, from: &Path, installed: &BTreeSet<PathBuf>) -> String {
    let (mut result, mut done) = (String::new(), 0);
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event else {
            continue;
        };
        let written = &text[range.clone()];
        let label = written.split_once('[').zip(written.rfind("]("));
        if let Some(((before, _), end)) = label
            && range.start >= done
            && !leads_somewhere(&dest_url, from, installed)
        {
            result += &text[done..range.start];
            result += &written[before.len() + 1..end];
            done = range.end;
        }
    }
    result + &text[done..]
}

fn leads_somewhere(target: &str, from: &Path, installed: &BTreeSet<PathBuf>) -> bool {
    let file = target.split('#').next().unwrap_or_default();
    if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let mut path = PathBuf::new();
    for part in from.with_file_name(file).components() {
        match part {
            Component::ParentDir => _ = path.pop(),
            part => path.push(part),
        }
    }
    installed.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{documents::Document, target::Workspace};

    #[test]
    fn of_a_link_to_what_is_not_installed_the_text_stays() {
        let installed = ["README.md", "docs/a.md", "docs/images/a.png"].map(PathBuf::from).into();
        let text = "[a](a.md#x) ![i](images/a.png) [`code`](../src/x.rs), [top](../README.md), [o](https://o/o.md), [h](#h)\n\n\
                    | [t](../src/y.rs) | ![none](images/b.png) |\n| --- | --- |\n";
        let expected = "[a](a.md#x) ![i](images/a.png) `code`, [top](../README.md), [o](https://o/o.md), [h](#h)\n\n\
                        | t | none |\n| --- | --- |\n";
        assert_eq!(without_dead_links(text, Path::new("docs/b.md"), &installed), expected);
    }

    #[test]
    fn every_link_of_an_installed_document_leads_somewhere() -> Result<()> {
        let workspace = Workspace::locate()?;
        let tree = tempfile::tempdir()?;
        put(workspace.root(), tree.path())?;
        let documents = files::below(tree.path())?;
        assert!(documents.iter().any(|path| path.ends_with("docs/runbook.md")), "{documents:?}");
        for path in documents.iter().filter(|path| path.extension().is_some_and(|it| it == "md")) {
            for (line, target) in Document::parse(&fs::read_to_string(path)?).links {
                let file = target.split('#').next().unwrap_or_default();
                let leads =
                    target.contains("://") || file.is_empty() || path.with_file_name(file).exists();
                assert!(leads, "{}:{line}: {target}", path.display());
            }
        }
        Ok(())
    }
}
