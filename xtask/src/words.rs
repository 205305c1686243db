//! Retired words: one thing has one word, and the word is the field's. They are looked for in the text of
//! documents, in the comments, literals and declared names of Rust code, and in the other files that ship or
//! describe the tests.

use std::path::Path;
use std::sync::LazyLock;

use regex::{Regex, RegexBuilder};

use crate::source;

/// The file with the patterns, which are retired words themselves.
const OWN: &str = "xtask/src/words.rs";

/// The document whose table of renamed things, alone, may have old words.
const CHANGELOG: &str = "CHANGELOG.md";

/// The endings of the files that are read.
pub(crate) const ENDINGS: [&str; 12] =
    ["css", "html", "js", "json", "md", "py", "rs", "service", "sh", "toml", "yaml", "yml"];

/// Retired words, each with what to say instead. A space stands for any white space, an underscore, or a line
/// break in a comment.
const RETIRED: [(&str, &str); 39] = [
    // One thing, one word: the glossary in CONTRIBUTING.md.
    (
        r"\b(listings?|listers?|one pass|pass over all|what a pass|(last|next|first) pass)\b",
        "snapshot",
    ),
    (r"\b(tripwires?|trip wires?)\b", "sockstat check"),
    (
        r"\b(trips?|tripped) (a|an|any|no|the) wire\b|\bwires? trips?\b|\btripped wires?\b",
        "the sockstat check fails",
    ),
    (
        r"\bthe wire was\b|\bmismatches (a|no|the) wire\b|\ba wire (for each|mismatches|of their own)\b",
        "sockstat check",
    ),
    (r"\bwitness(es|ed)?\b", "sockstat check, or what it compares"),
    (r"\brungs?\b|\bladders?\b|\bclimb(s|ed|ing)?\b", "program"),
    (r"\bdeeds?\b", "action, or transition"),
    (
        r"\b(the|most|busiest|possible) moves\b|\bmoves of\b|\b(a|any|each|every|no|one|that|this) move\b",
        "transition",
    ),
    (
        r"\b(a|each|every|first|last|next|one|second|single|this|two) looks?\b|\blooks? at (the )?(wire|sockstat)\b|\bthe (last )?looks\b|\bwhat a look\b",
        "check, reading, or sample",
    ),
    // Archaic.
    (r"\bgainsa(y|ys|id)\b", "contradict"),
    (r"\breckon(s|ed|ing)?\b", "compute, or count"),
    (r"\blikewise\b", "also, or the same"),
    (r"\bshall\b|\bought to\b", "must, should or will"),
    (r"\banew\b|\bafresh\b", "again"),
    (r"\b(in the )?midst\b|\bamidst\b", "during"),
    (r"\bmend(s|ed|ing)?\b", "correct, or repair"),
    (r"\bamiss\b", "wrong"),
    (r"\blest\b", "so that .. not"),
    (r"\bwho(m|so)?ever\b", "a process that, a client that, or who"),
    (r"\bfor ever\b", "forever, or without end"),
    (
        r"\b(albeit|betwixt|forthwith|henceforth|heretofore|hereby|herein|hitherto|nought|naught|notwithstanding|perchance|thence|thereby|therein|thereof|thereupon|thrice|unto|whence|whereby|wherein|whereof|whereupon|whilst)\b",
        "plain words",
    ),
    (r"\bheed(s|ed|ing)?\b", "respect, or read"),
    (r"\b(to|can|cannot|can not|could|may|might) be had\b|\bnot had\b", "available, or found"),
    (r"\b(it|that|what|which|why|but) (is|are|was) none\b", "is not one"),
    (r"\bbut for\b", "except"),
    (r"\band (its|his|their) kin\b", "and others"),
    (r"\b(no|a) word (on|of)\b", "nothing about"),
    // Riddles.
    (r"\banything doubtful\b|\bis taken again\b", "is retried"),
    (
        r"\bwhen last it could\b|\bwhen it could last\b|\bcould be told\b",
        "at the last conclusive check",
    ),
    (
        r"\b(tells?|told|telling) (of|nothing|no|it|so)\b|\b(is|are|was|were|be|been) told (by|here|in|of|on|so)\b|\bto be told\b",
        "report, show, say, or know",
    ),
    (r"\b(became|becomes|become|comes) of\b", "result"),
    (r"\bis no tcpstat\b", "is not a tcpstat exporter"),
    (r"\bmiss(es)? (that )?mount(ed|s)?\b", "too many missed events"),
    (r"\bwhose other side does not read\b", "that the client does not read"),
    (r"\bleast that is logged\b", "minimum log level"),
    (r"(^|\n) *0 {2,}well\b", "0 success"),
    (r"\bgives? cause\b", "is a reason"),
    (r"\bhow the numbers come about\b|\bever after\b|\bnever dark\b", "plain words"),
    (r"\bthe stead of\b|\bin (its|the) stead\b", "instead of"),
];

/// What opens a line of a comment, and an escaped line break.
static MARKS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^[ \t]*(#|//|/?\*+)|\\n").expect("the pattern is constant"));

/// The retired words, ready to be searched for.
pub(crate) struct Words {
    each: Vec<(Regex, &'static str)>,
    /// Any of them: a single pattern is much faster where nothing is found.
    any: Regex,
}

impl Words {
    pub(crate) fn compile() -> Self {
        let compile = |pattern: &str| {
            let spaced = pattern.replace(' ', r"\s+");
            let regex = RegexBuilder::new(&spaced).case_insensitive(true).unicode(false).build();
            regex.expect("the patterns are constant")
        };
        Self {
            each: RETIRED.iter().map(|&(pattern, instead)| (compile(pattern), instead)).collect(),
            any: compile(&RETIRED.map(|(pattern, _)| pattern).join("|")),
        }
    }

    /// The retired words in a file, each a line.
    pub(crate) fn check(&self, path: &str, text: &str) -> Vec<String> {
        if path == OWN {
            return Vec::new();
        }
        let words = if Path::new(path).extension() == Some("rs".as_ref()) {
            source::words(text)
        } else {
            MARKS.replace_all(text, "").into_owned()
        };
        let lines: Vec<_> = text.lines().collect();
        let line = |at| words[..at].matches('\n').count() + 1;
        let found = self.find(&words).into_iter().map(|(at, word)| (line(at), word));
        let renames = |line: usize| path == CHANGELOG && lines[line - 1].starts_with('|');
        let found = found.filter(|(line, _)| !renames(*line));
        found.map(|(line, word)| format!("{path}:{line}: {word}")).collect()
    }

    /// Where retired words are, each with what to say instead.
    fn find(&self, text: &str) -> Vec<(usize, String)> {
        let spaced = text.replace('_', " ");
        if !self.any.is_match(&spaced) {
            return Vec::new();
        }
        let found = self.each.iter().flat_map(|(regex, instead)| {
            regex.find_iter(&spaced).map(move |found| {
                let word = found.as_str().split_whitespace().collect::<Vec<_>>().join(" ");
                (found.start(), format!("\"{word}\": say: {instead}"))
            })
        });
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        Words::compile().check(path, text)
    }

    #[test]
    fn what_the_project_has_renamed_is_found() {
        for text in [
            "sockstat does not gainsay it",
            "Anything doubtful is taken again",
            "ledger/ reckons; tracker/ decides",
            "this is no tcpstat, or one of another kind",
            "misses mount, and it cannot be changed",
            "connections whose other side does not read are cut off",
            "1 when it agreed when last\nit could be told",
            "Least that is logged",
            "```\n  0  well\n```",
            "`misses_that_mount_keep_a_tracer`",
            "| x |\n| --- |\n| the ladder |",
            "# Whoever reads",
        ] {
            assert!(!found("page.md", text).is_empty(), "{text}");
        }
    }

    #[test]
    fn ordinary_words_pass() {
        for text in [
            "`mount -t tracefs tracefs /sys/kernel/tracing`",
            "the process listens; `LISTEN`; enlisting; passes; wireless; recommend; the stepladder",
            "tell apart; hence; removes; the snapshot lists 10 sockets; rest; amended; heedless",
            "it looks at the file; tests pass; move it; there is none; the program is told to stop",
        ] {
            assert_eq!(found("page.yml", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn comments_literals_and_names_are_read_and_other_code_is_not() {
        let text = "/// Seeds\n/// anew.\nfn to_mend() {\n    let mend = move |x| x.reckon();\n    \
            f(\"x\\nshall\");\n}\nstruct LastListing;\n";
        assert_eq!(
            found("a.rs", text),
            [
                "a.rs:2: \"anew\": say: again",
                "a.rs:3: \"mend\": say: correct, or repair",
                "a.rs:5: \"shall\": say: must, should or will",
                "a.rs:7: \"Listing\": say: snapshot",
            ]
        );
        let text = "# What cannot be\n# had is left out.\nx: the tripwire\n";
        let found = found("rules.yml", text);
        assert!(found[0].starts_with("rules.yml:1: \"cannot be had\""), "{found:?}");
        assert!(found[1].starts_with("rules.yml:3: \"tripwire\""), "{found:?}");
    }

    #[test]
    fn only_the_table_of_the_changelog_may_have_old_words() {
        let text = "| old |\n| --- |\n| tripwire |\n\nA tripwire.\n";
        assert_eq!(found(CHANGELOG, text), ["CHANGELOG.md:5: \"tripwire\": say: sockstat check"]);
        assert_eq!(found("README.md", text).len(), 2);
    }
}
