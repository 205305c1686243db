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

/// Retired words, each with what to say instead. Each alternative is whole words. A space stands for any white
/// space, an underscore, or a line break in a comment.
const RETIRED: &str = r"
listings?|listers?|one pass|pass over all|what a pass|(last|next|first) pass => snapshot
tripwires?|trip wires? => sockstat check
(trips?|tripped) (a|an|any|no|the) wire|wires? trips?|tripped wires? => the sockstat check fails
the wire was|mismatches (a|no|the) wire|a wire (for each|mismatches|of their own) => sockstat check
witness(es|ed)? => sockstat check, or what it compares
rungs?|ladders?|climb(s|ed|ing)? => program
deeds? => action, or transition
(the|most|busiest|possible) moves|moves of|(a|any|each|every|no|one|that|this) move => transition
(a|each|every|first|last|next|one|second|single|this|two) looks?|the (last )?looks => check, reading, or sample
looks? at (the )?(wire|sockstat)|what a look|(is|are|was|were|be|been|not) looked at => check, or read
gainsa(y|ys|id) => contradict
reckon(s|ed|ing)? => compute, or count
likewise => also, or the same
shall|ought to => must, should or will
anew|afresh => again
(in the )?midst|amidst => during
mend(s|ed|ing)? => correct, or repair
amiss => wrong
lest => so that .. not
who(m|so)?ever => a process that, a client that, or who
for ever => forever, or without end
heed(s|ed|ing)? => respect, or read
(to|can|cannot|can not|could|may|might) be had|not had => available, or found
(it|that|what|which|why|but) (is|are|was) none => is not one
but for => except
and (its|his|their) kin => and others
(no|a) word (on|of) => nothing about
albeit|betwixt|forthwith|henceforth|heretofore|hereby|herein|hitherto|nought|naught|thrice|unto => plain words
notwithstanding|perchance|thence|thereby|therein|thereof|thereupon|whilst => plain words
whence|whereby|wherein|whereof|whereupon|how the numbers come about|ever after|never dark => plain words
anything doubtful|is taken again => is retried
when last it could|when it could last|could be told => at the last conclusive check
(tells?|told|telling) (of|nothing|no|it|so)|to be told => report, show, say, or know
(is|are|was|were|be|been) told (by|here|in|of|on|so) => reports, shows, or says
(became|becomes|become|comes) of => result
is no tcpstat => is not a tcpstat exporter
miss(es)? (that )?mount(ed|s)? => too many missed events
whose other side does not read => that the client does not read
least that is logged => minimum log level
0 {2,}well => 0 success
gives? cause => is a reason
the stead of|in (its|the) stead => instead of";

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
        let compile = |words: &str| {
            let pattern = format!(r"\b(?:{})\b", words.replace(' ', r"\s+"));
            let regex = RegexBuilder::new(&pattern).case_insensitive(true).unicode(false).build();
            regex.expect("the patterns are constant")
        };
        let rows: Vec<_> = RETIRED.lines().filter_map(|row| row.split_once(" => ")).collect();
        let any: Vec<_> = rows.iter().map(|(words, _)| *words).collect();
        let each = rows.into_iter().map(|(words, instead)| (compile(words), instead)).collect();
        Self { each, any: compile(&any.join("|")) }
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
