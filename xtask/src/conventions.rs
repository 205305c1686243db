//! The conventions of the project that no lint knows: who may name what, how long a file may be, and what
//! documents may say.
//!
//! A rule looks at one source file and says, in one line for each breach, where it is, what is wrong,
//! and what to do.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::source::{Source, contains_word, word_positions};
use crate::{documents, files, vendored};

/// A file longer than this does more than one thing.
const MAX_LINES: usize = 400;

/// The places of the tests that need a system call no crate wraps.
const UNSAFE_IN_TESTS: [&str; 4] = [
    "tests/src/bpf_call.rs",
    "tests/src/empty_program.rs",
    "tests/src/map_reader.rs",
    "tests/src/tun.rs",
];

const AYA: [&str; 2] = ["aya", "aya_log"];

/// What the ledger may not name of std: I/O and the clock.
const OF_STD: [&str; 4] = ["fs", "io", "net", "time"];

const RULES: [fn(&Source) -> Vec<String>; 7] = [
    short_files,
    aya_in_kernel,
    unsafe_in_kernel,
    proc_in_procfs,
    names_in_metrics,
    pure_ledger,
    expect_not_allow,
];

/// The page with the table of promises.
const PROMISES: &str = "tcpstat-user/docs/how-it-stays-right.md";

/// The file that names every metric.
const METRIC_NAMES: &str = "tcpstat-user/src/metrics/names.rs";

/// What the table of promises begins with.
const PROMISES_HEADER: &str = "| state | promise | test";

/// The breaches in all Rust files of the workspace, in the order of their paths; then those in its other
/// files.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    let mut promised = promised_tests(&files::text(&root.join(PROMISES))?);
    if promised.is_empty() {
        breaches.push(format!("{PROMISES}: no table begins with `{PROMISES_HEADER}`"));
    }
    let mut metrics = Vec::new();
    for file in rust_files(root)? {
        let text = files::text(&file)?;
        let source = Source::parse(&files::relative(root, &file), &text);
        if source.path == METRIC_NAMES {
            metrics = metric_names(&source);
        }
        breaches.extend(RULES.iter().flat_map(|rule| rule(&source)));
        promised.retain(|test| !names_test(&text, test));
    }
    breaches.extend(vendored::check(&root.join("tcpstat-user/assets/vendor"))?);
    breaches.extend(promised.iter().map(|test| format!("{PROMISES}: no test is named `{test}`")));
    if metrics.is_empty() {
        breaches.push(format!("{METRIC_NAMES}: names no metric"));
    }
    breaches.extend(documents::check(root, &metrics)?);
    Ok(breaches)
}

/// The names of the metrics: the literals that are a name and no sentence.
fn metric_names(source: &Source) -> Vec<String> {
    let literals = source.lines.iter().flat_map(|line| &line.literals);
    literals
        .filter(|literal| literal.contains('_') && literal.chars().all(is_name))
        .cloned()
        .collect()
}

/// The tests that the table of promises names: what stands in backquotes in its last column.
fn promised_tests(page: &str) -> Vec<String> {
    let promises = page.lines().skip_while(|line| !line.starts_with(PROMISES_HEADER));
    let rows = promises.skip(2).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next())
        .flat_map(|tests| tests.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// Whether a test of that name is in a file: as a function, or by a string, with its formatted parts in
/// braces.
fn names_test(text: &str, test: &str) -> bool {
    text.contains(&format!("\"{test}\"")) || text.contains(&format!("fn {test}("))
}

fn short_files(source: &Source) -> Vec<String> {
    let lines = source.lines.len();
    if lines <= MAX_LINES {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines: split it by concern, {MAX_LINES} is the limit", source.path)]
}

fn aya_in_kernel(source: &Source) -> Vec<String> {
    if is_kernel_side(source) {
        return Vec::new();
    }
    let remedy = "names aya: only tcpstat-user/src/kernel/ may, go through it";
    let imports: Vec<usize> = source
        .uses()
        .into_iter()
        .filter(|(_, text)| AYA.iter().any(|name| contains_word(text, name)))
        .map(|(number, _)| number)
        .collect();
    source
        .numbered()
        .filter(|(number, line)| imports.contains(number) || has_path_into(&line.code, &AYA))
        .map(|(number, _)| format!("{}:{number}: {remedy}", source.path))
        .collect()
}

fn unsafe_in_kernel(source: &Source) -> Vec<String> {
    if is_kernel_side(source) || UNSAFE_IN_TESTS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    breaches(source, "unsafe code: only tcpstat-user/src/kernel/ may have it", |code| {
        contains_word(code, "unsafe")
    })
}

fn proc_in_procfs(source: &Source) -> Vec<String> {
    if !source.path.starts_with("tcpstat-user/src/") || is_module(source, "procfs") {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in source.numbered() {
        for literal in line.literals.iter().filter(|literal| literal.starts_with("/proc")) {
            found.push(format!(
                "{}:{number}: \"{literal}\": paths of /proc belong to tcpstat-user/src/procfs/",
                source.path
            ));
        }
    }
    let uses = source.uses();
    let own_module = uses.iter().any(|(_, text)| names_own_procfs(text))
        || source.lines.iter().any(|line| line.code.contains("mod procfs"));
    for (number, line) in source.numbered() {
        let foreign = word_positions(&line.code, "procfs").any(|at| {
            let before = line.code[..at].trim_end();
            let after = &line.code[at + "procfs".len()..];
            let path = before.ends_with("::") && !before.trim_end_matches("::").ends_with(is_name);
            let root = before.ends_with("use") || before.ends_with("extern crate") || path;
            root || (after.starts_with("::") && !before.ends_with("::") && !own_module)
        });
        if foreign {
            found.push(format!(
                "{}:{number}: uses the crate procfs: only tcpstat-user/src/procfs/ may",
                source.path
            ));
        }
    }
    found
}

fn names_in_metrics(source: &Source) -> Vec<String> {
    let shipped = source.path.starts_with("tcpstat-") && source.path.contains("/src/");
    // On the kernel's side such a literal names a BPF program.
    let exempt = is_module(source, "metrics") || is_kernel_side(source) || is_test_file(source);
    if !shipped || exempt {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (number, line) in source.numbered().filter(|(_, line)| !line.test) {
        for literal in line.literals.iter().filter(|literal| is_metric_name(literal)) {
            found.push(format!(
                "{}:{number}: \"{literal}\": metric names belong to tcpstat-user/src/metrics/",
                source.path
            ));
        }
    }
    found
}

fn pure_ledger(source: &Source) -> Vec<String> {
    if !is_module(source, "ledger") {
        return Vec::new();
    }
    let remedy = "the ledger is plain arithmetic, pass values in";
    let mut found = breaches(source, remedy, |code| {
        ["tokio", "aya", "axum"].iter().any(|name| contains_word(code, name))
            || OF_STD.iter().any(|module| contains_word(code, &format!("std::{module}")))
    });
    for (number, text) in source.uses() {
        let grouped = text.split_once("std::{").map_or("", |(_, group)| group);
        if OF_STD.iter().any(|module| contains_word(grouped, module)) {
            found.push(format!("{}:{number}: {remedy}", source.path));
        }
    }
    found
}

fn expect_not_allow(source: &Source) -> Vec<String> {
    breaches(source, "an `allow`: use #[expect(.., reason = \"..\")]", |code| {
        word_positions(code, "allow").any(|at| {
            let before = code[..at].trim_end();
            let attribute = before.is_empty() || before.ends_with('[') || before.ends_with(',');
            attribute && code[at + "allow".len()..].starts_with('(')
        })
    })
}

fn breaches(source: &Source, message: &str, wrong: impl Fn(&str) -> bool) -> Vec<String> {
    source
        .numbered()
        .filter(|(_, line)| wrong(&line.code))
        .map(|(number, _)| format!("{}:{number}: {message}", source.path))
        .collect()
}

/// Whether `code` has a path that goes on after one of `names`; a local name alone is none.
fn has_path_into(code: &str, names: &[&str]) -> bool {
    names
        .iter()
        .any(|name| word_positions(code, name).any(|at| code[at + name.len()..].starts_with("::")))
}

fn is_kernel_side(source: &Source) -> bool {
    source.path.starts_with("tcpstat-ebpf/src/") || is_module(source, "kernel")
}

/// Whether the file belongs to that module of tcpstat-user: `name.rs`, or anything in `name/`.
fn is_module(source: &Source, name: &str) -> bool {
    source
        .path
        .strip_prefix("tcpstat-user/src/")
        .and_then(|path| path.strip_prefix(name))
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn is_test_file(source: &Source) -> bool {
    source.path.ends_with("/tests.rs") || source.path.contains("/tests/")
}

/// A literal that begins like a metric, but for the names of the crates.
fn is_metric_name(literal: &str) -> bool {
    let ours = literal.starts_with("tcpstat_") || literal.starts_with("node_tcp_");
    let is_crate = ["tcpstat_ebpf", "tcpstat_user"]
        .iter()
        .any(|name| literal.strip_prefix(name).is_some_and(|rest| !rest.starts_with(is_name)));
    ours && !is_crate
}

fn names_own_procfs(text: &str) -> bool {
    ["use crate::", "use super::", "use self::", "use tcpstat_user::"]
        .iter()
        .any(|prefix| text.contains(prefix))
        && contains_word(text, "procfs")
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The Rust files of the workspace's members, sorted.
fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for dir in files::entries(root)?.into_iter().filter(|path| path.is_dir()) {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("tcpstat-") || name == "tests" || name == "xtask" {
            found.extend(files::with_extension(&dir, "rs")?);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
