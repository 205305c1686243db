//! The conventions of the project that no lint knows: who may name what, how long a file may be, and what
//! documents may say. A breach is a line: where it is, what is wrong, and what to do.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use fs_err as fs;
use regex::Regex;

use crate::documents::{self, Document, Documents};
use crate::files;
use crate::layers::{self, Layers};
use crate::source;
use crate::words::{self, Words};

/// A file longer than this does more than one thing.
const MAX_LINES: usize = 400;

/// The places of the tests that need a system call no crate wraps.
const UNSAFE_IN_TESTS: [&str; 4] = [
    "tests/src/bpf_call.rs",
    "tests/src/empty_program.rs",
    "tests/src/map_reader.rs",
    "tests/src/tun.rs",
];

/// The page with the table of promises.
const PROMISES: &str = "tcpstat-user/docs/how-it-stays-right.md";

/// Files taken from elsewhere, a folder each.
const VENDORED: &str = "tcpstat-user/assets/vendor";

/// The file that names every metric.
const METRIC_NAMES: &str = "tcpstat-user/src/metrics/names.rs";

/// What the table of promises begins with.
const PROMISES_HEADER: &str = "| state | promise | test";

/// The modules that compute: no I/O, no clock, no thread.
const PURE_MODULES: [&str; 14] = [
    "ages",
    "destinations",
    "detailed",
    "dwell",
    "frequent",
    "history",
    "holders",
    "ledger",
    "listeners",
    "scopes",
    "snapshot",
    "states",
    "stream",
    "transitions",
];

/// What may not stand in the code of some files.
struct Rule {
    pattern: &'static str,
    /// Whether it holds for the file of that path.
    holds: fn(&str) -> bool,
    message: &'static str,
}

/// The lint `unsafe_code` denies unsafe code except where code expects it; clippy sees no inner `allow`.
const RULES: [Rule; 5] = [
    Rule {
        pattern: r"\baya(_log)?::|\buse\b[^;]*\baya(_log)?\b",
        holds: |path| !is_kernel_side(path),
        message: "names aya: only tcpstat-user/src/kernel/ may, go through it",
    },
    Rule {
        pattern: r"\bunsafe_code\b",
        holds: |path| !is_kernel_side(path) && !UNSAFE_IN_TESTS.contains(&path),
        message: "unsafe code: only tcpstat-user/src/kernel/ may have it",
    },
    Rule {
        pattern: r"#!?\[[^\]]*\ballow\(",
        holds: |_| true,
        message: "an `allow`: use #[expect(.., reason = \"..\")]",
    },
    Rule {
        pattern: r"\b(tokio|aya|axum)\b|\bstd::(\{[^;]*\b)?(env|fs|io|process|thread|time)\b|\b(Tcp|Udp|Unix)(Datagram|Listener|Socket|Stream)\b",
        holds: |path| PURE_MODULES.iter().any(|module| is_module(path, module)),
        message: "this module only computes: pass values in",
    },
    Rule {
        pattern: r"\bprocfs_crate\b",
        holds: is_outside_procfs,
        message: "uses the crate procfs: only tcpstat-user/src/procfs/ may",
    },
];

/// The rules for Rust files, ready to be applied.
struct Checker {
    rules: Vec<(Regex, &'static Rule)>,
    layers: Layers,
    metric: Regex,
    tests: Regex,
}

impl Checker {
    fn new(layers: Layers) -> Result<Self> {
        let rules = RULES.iter().map(|rule| Ok((Regex::new(rule.pattern)?, rule)));
        Ok(Self {
            rules: rules.collect::<Result<_>>()?,
            layers,
            metric: Regex::new(r"^(tcpstat|node_tcp|container_network)_\w*")?,
            tests: Regex::new(r"#\[cfg\(test\)\]\s*(pub(\(\w+\))? )?mod\b")?,
        })
    }

    /// The breaches in the file of that path.
    fn check(&self, path: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let lines = text.lines().count();
        if lines > MAX_LINES {
            found.push(format!(
                "{path}: {lines} lines: split it by concern, {MAX_LINES} is the limit"
            ));
        }
        let code = source::code(text);
        for (pattern, rule) in self.rules.iter().filter(|(_, rule)| (rule.holds)(path)) {
            let lines = pattern.find_iter(&code).map(|place| line(&code, place.end()));
            found.extend(lines.map(|line| format!("{path}:{line}: {}", rule.message)));
        }
        for (at, message) in self.layers.breaches(path, &code) {
            found.push(format!("{path}:{}: {message}", line(&code, at)));
        }
        let tests = self.tests.find(&code).map_or(usize::MAX, |tests| line(&code, tests.start()));
        for (line, text) in source::literals(text) {
            let belongs = if is_outside_procfs(path) && text.starts_with("/proc") {
                "paths of /proc belong to tcpstat-user/src/procfs/"
            } else if names_no_metric(path) && line < tests && self.is_metric(text) {
                "metric names belong to tcpstat-user/src/metrics/"
            } else {
                continue;
            };
            found.push(format!("{path}:{line}: \"{text}\": {belongs}"));
        }
        found
    }

    /// Whether a literal begins like a metric; the names of the crates do, too.
    fn is_metric(&self, literal: &str) -> bool {
        let name = self.metric.find(literal).map(|name| name.as_str());
        name.is_some_and(|name| name != "tcpstat_ebpf" && name != "tcpstat_user")
    }
}

/// The breaches in all files of the workspace: those in Rust files and of words, in the order of their paths;
/// then those of vendored files, of promises, and of documents.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let library = fs::read_to_string(root.join(layers::LIST))?;
    let layers = Layers::parse(&library);
    let unlisted = layers.incomplete(&library);
    let (checker, words) = (Checker::new(layers)?, Words::compile());
    let (mut breaches, mut documents, mut metrics) = (Vec::new(), Documents::new(), Vec::new());
    breaches.extend(unlisted);
    let mut promised = promised_tests(&fs::read_to_string(root.join(PROMISES))?);
    if promised.is_empty() {
        breaches.push(format!("{PROMISES}: no table begins with `{PROMISES_HEADER}`"));
    }
    let files: Vec<_> =
        files::below(root)?.iter().map(|file| files::relative(root, file)).collect();
    for path in &files {
        let ending = path.rsplit('.').next().unwrap_or_default();
        if !words::ENDINGS.contains(&ending) || path.starts_with(VENDORED) && ending != "md" {
            continue;
        }
        let text = fs::read_to_string(root.join(path))?;
        breaches.extend(words.check(path, &text));
        if ending == "rs" {
            breaches.extend(checker.check(path, &text));
            promised.retain(|test| !names_test(&text, test));
        }
        if path == METRIC_NAMES {
            metrics = metric_names(&text);
        }
        if ending == "md" {
            documents.insert(path.clone(), Document::parse(&text));
        }
    }
    for folder in files::entries(&root.join(VENDORED)).unwrap_or_default() {
        breaches.extend(changed_vendored_files(&folder)?);
    }
    breaches.extend(promised.iter().map(|test| format!("{PROMISES}: no test is named `{test}`")));
    if metrics.is_empty() {
        breaches.push(format!("{METRIC_NAMES}: names no metric"));
    }
    breaches.extend(documents::check(root, &documents, &files, &metrics));
    Ok(breaches)
}

/// The files of a vendored folder that are not what its `SHA512SUMS` says, and those that it does not list.
fn changed_vendored_files(folder: &Path) -> Result<Vec<String>> {
    const SUMS: &str = "SHA512SUMS";
    let sums = fs::read_to_string(folder.join(SUMS))?;
    let mut command = Command::new("sha512sum");
    command.args(["--check", "--strict", "--quiet", SUMS]).current_dir(folder).env("LC_ALL", "C");
    let output = command.output().context("cannot run sha512sum (coreutils)")?;
    let changed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut breaches: Vec<_> = changed.lines().map(str::to_owned).collect();
    for file in files::entries(folder)? {
        let name = files::relative(folder, &file);
        let is_ours = name == SUMS || name == "README.md";
        if !is_ours && !sums.lines().any(|line| line.ends_with(&format!("  {name}"))) {
            breaches.push(format!("{name} has no sum in {SUMS}"));
        }
    }
    Ok(breaches.iter().map(|breach| format!("{}: {breach}", folder.display())).collect())
}

/// The names of the metrics: the literals that are a name and no sentence.
fn metric_names(text: &str) -> Vec<String> {
    let is_name =
        |text: &str| text.contains('_') && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    let literals = source::literals(text).map(|(_, text)| text.to_owned());
    literals.filter(|text| is_name(text)).collect()
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

fn is_kernel_side(path: &str) -> bool {
    path.starts_with("tcpstat-ebpf/src/") || is_module(path, "kernel")
}

/// Whether the file ships, and belongs to no module that names metrics. On the kernel's side such a literal
/// names a BPF program.
fn names_no_metric(path: &str) -> bool {
    let shipped = path.starts_with("tcpstat-") && path.contains("/src/");
    let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
    shipped && !is_test && !is_module(path, "metrics") && !is_kernel_side(path)
}

fn is_outside_procfs(path: &str) -> bool {
    path.starts_with("tcpstat-user/src/") && !is_module(path, "procfs")
}

/// Whether the file belongs to that module of tcpstat-user: `name.rs`, or anything in `name/`.
fn is_module(path: &str, name: &str) -> bool {
    path.strip_prefix("tcpstat-user/src/")
        .and_then(|path| path.strip_prefix(name))
        .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// The line that byte `at` of `text` is in, from 1.
fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests;
