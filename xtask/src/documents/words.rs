//! Words that are retired: one thing has one word, and the word is the field's.
//!
//! The patterns are over text without markup, with a space for each `_`: so they find a word in a
//! sentence, and in the name of a test or a metric. They take no notice of case.

use std::ops::Range;

use anyhow::{Context, Result};
use regex::{Regex, RegexBuilder};

use super::markdown::{Document, Passage};

/// Retired words, each with what to say instead.
const RETIRED: [(&str, &str); 29] = [
    // One thing, one word: the glossary in CONTRIBUTING.md.
    (r"\blistings?\b|\bone pass\b|\bpass over all\b", "snapshot"),
    (r"\btripwires?\b|\btrip wires?\b", "sockstat check"),
    (r"\b(trips?|tripped) (a|an|any|no|the) wire\b|\bwires? trips?\b", "the sockstat check fails"),
    (r"\bwitness(es|ed)?\b", "sockstat check, or what it compares"),
    (r"\brungs?\b|\bladders?\b|\bclimb(s|ed|ing)?\b", "program"),
    (r"\bdeeds?\b", "action, or transition"),
    (r"\bthe moves\b|\bmoves of\b|\bno move\b", "transition"),
    (r"\blook(s|ed)? at the wire\b|\bthe last looks\b", "check, or sample"),
    // Archaic.
    (r"\bgainsa(y|ys|id)\b", "contradict"),
    (r"\breckon(s|ed|ing)?\b", "compute, or count"),
    (r"\blikewise\b", "also, or the same"),
    (r"\bshall\b", "must, should or will"),
    (r"\banew\b", "again"),
    (r"\b(in the )?midst\b|\bamidst\b", "during"),
    (r"\bmend(s|ed|ing)?\b", "correct, or repair"),
    (r"\bnought\b|\bhitherto\b|\bthence\b|\bwhence\b|\bthereof\b|\bwhereof\b", "plain words"),
    (r"\b(to|can|cannot|could|can not) be had\b", "available"),
    // Riddles.
    (r"\banything doubtful\b|\bis taken again\b", "is retried"),
    (r"\bwhen last it could\b|\bwhen it could last\b", "at the last conclusive check"),
    (r"\b(tells?|told) of\b|\bis told by\b", "reports, shows, or says"),
    (r"\bis no tcpstat\b", "is not a tcpstat exporter"),
    (r"\bmiss(es)? (that )?mount(ed|s)?\b", "too many missed events"),
    (r"\bwhose other side does not read\b", "that the client does not read"),
    (r"\bleast that is logged\b", "minimum log level"),
    (r"^ *0 +well\b", "0 success"),
    (r"\bgives? cause\b", "is a reason"),
    (r"\bhow the numbers come about\b", "how tcpstat counts"),
    (r"\bever after\b|\bnever dark\b", "always"),
    (r"\bthe stead of\b|\bin its stead\b", "instead of"),
];

/// Names of code that have a retired word in them still: a page may quote them, alone in backquotes. A
/// name that no page quotes any more is to leave this list.
const STILL_NAMED: [&str; 3] = ["ledger/tripwire.rs", "ledger/witness.rs", "tracker/rungs.rs"];

/// The retired words, ready to be searched for.
pub(crate) struct Words(Vec<(Regex, &'static str)>);

impl Words {
    pub(crate) fn compile() -> Result<Self> {
        let compile = |&(pattern, instead): &(&str, &'static str)| {
            let regex = RegexBuilder::new(pattern).case_insensitive(true).multi_line(true).build();
            Ok((regex.with_context(|| format!("the pattern {pattern}"))?, instead))
        };
        RETIRED.iter().map(compile).collect::<Result<_>>().map(Self)
    }

    /// Where retired words are in `text` (a passage, a string literal, a comment), each with what to say
    /// instead.
    pub(crate) fn find(&self, text: &str) -> Vec<(Range<usize>, &'static str)> {
        let spaced = text.replace('_', " ");
        let found = self.0.iter().flat_map(|&(ref regex, instead)| {
            regex.find_iter(&spaced).map(move |found| (found.range(), instead))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|(place, _)| place.start);
        found
    }

    /// The retired words in `document`, each a line.
    pub(super) fn check(&self, path: &str, document: &Document) -> Vec<String> {
        let mut breaches = Vec::new();
        for passage in &document.passages {
            for (place, instead) in self.find(&passage.text) {
                if !is_still_named(passage, place.start) {
                    let (line, word) = (passage.line(place.start), &passage.text[place]);
                    breaches.push(format!("{path}:{line}: \"{word}\": say: {instead}"));
                }
            }
        }
        breaches
    }
}

/// The names of [`STILL_NAMED`] that none of `documents` quotes, each a line.
pub(super) fn unused<'a>(documents: impl Iterator<Item = &'a Document>) -> Vec<String> {
    let mut unused = STILL_NAMED.to_vec();
    for passage in documents.flat_map(|document| &document.passages) {
        unused.retain(|name| !passage.code.iter().any(|code| passage.text[code.clone()] == **name));
    }
    unused
        .iter()
        .map(|name| {
            format!("xtask/src/documents/words.rs: no page names `{name}`: take it out of the list")
        })
        .collect()
}

/// Whether the word at `at` is part of a name that the code still has.
fn is_still_named(passage: &Passage, at: usize) -> bool {
    passage
        .code
        .iter()
        .any(|code| code.contains(&at) && STILL_NAMED.contains(&&passage.text[code.clone()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        Words::compile().unwrap().check("page.md", &Document::parse(text))
    }

    #[test]
    fn a_retired_word_is_named_with_its_line_and_what_to_say_instead() {
        assert_eq!(
            found("# Good\n\nSockstat does not\ngainsay it. A Listing\n"),
            ["page.md:4: \"gainsay\": say: contradict", "page.md:4: \"Listing\": say: snapshot",]
        );
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
        ] {
            assert!(!found(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn ordinary_words_pass() {
        for text in [
            "`mount -t tracefs tracefs /sys/kernel/tracing`",
            "the process listens; `LISTEN`; enlisting; passes; wireless; recommend; the stepladder",
            "tell apart; hence; removes; the snapshot lists 10 sockets; rest; amended",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_name_that_the_code_still_has_passes_alone_in_backquotes() {
        let name = "ledger/tripwire.rs";
        assert_eq!(found(&format!("| `{name}` |")), Vec::<String>::new());
        assert_eq!(found(&format!("see {name}")).len(), 1);
        assert_eq!(found(&format!("`rate({name})`")).len(), 1);
    }

    #[test]
    fn a_name_that_no_page_quotes_is_to_leave_the_list() {
        let quoted = STILL_NAMED.map(|name| format!("`{name}`")).join(" ");
        assert_eq!(unused([Document::parse(&quoted)].iter()), Vec::<String>::new());
        assert_eq!(unused([Document::parse("none")].iter()).len(), STILL_NAMED.len());
    }
}
