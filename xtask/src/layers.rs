//! The order of the modules of `tcpstat-user`: each imports only modules that the list in the documentation of
//! lib.rs names after it. So imports run one way, without a circle.

use std::sync::LazyLock;

use regex::Regex;

/// The file whose documentation has the list, and whose modules must be in it.
pub(crate) const LIST: &str = "tcpstat-user/src/lib.rs";

/// The folder of the modules.
const SOURCES: &str = "tcpstat-user/src/";

/// Passes bytes to modules of all layers, and is in no binary but that of the fuzzer.
const FUZZING: &str = "fuzzing";

/// An item of the list.
static ITEM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^//! - (.+(?:\n//!   .+)*)$").expect("the pattern is constant")
});

/// A module in an item.
static NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"`(\w+)`").expect("the pattern is constant"));

/// A declaration of a module.
static DECLARED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^(?:pub )?mod (\w+);").expect("the pattern is constant"));

/// What follows `crate::`.
static IMPORT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bcrate::(\w+|\{)").expect("the pattern is constant"));

/// A name, and what divides a list in braces.
static TOKEN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\w+|[{},]").expect("the pattern is constant"));

/// The modules, in the order of the list.
pub(crate) struct Layers(Vec<String>);

impl Layers {
    /// Reads the list in the text of lib.rs.
    pub(crate) fn parse(text: &str) -> Self {
        let items = ITEM.captures_iter(text).map(|found| found.extract::<1>().1[0]);
        let names = items.flat_map(|item| NAME.captures_iter(item));
        Self(names.map(|found| found[1].to_owned()).collect())
    }

    /// The modules that lib.rs has and its list does not, and those of which it is the other way round; each a
    /// breach.
    pub(crate) fn incomplete(&self, text: &str) -> Vec<String> {
        let declared: Vec<_> =
            DECLARED.captures_iter(text).map(|found| found.extract::<1>().1[0]).collect();
        let unlisted =
            declared.iter().filter(|name| **name != FUZZING && self.place(name).is_none());
        let unlisted = unlisted.map(|name| format!("{LIST}: the list of modules lacks `{name}`"));
        let gone = self.0.iter().filter(|name| !declared.contains(&name.as_str()));
        unlisted.chain(gone.map(|name| format!("{LIST}: there is no module `{name}`"))).collect()
    }

    /// The imports in a file that run the wrong way: the byte in its code, and what is wrong.
    pub(crate) fn breaches(&self, path: &str, code: &str) -> Vec<(usize, String)> {
        let module = path.strip_prefix(SOURCES).and_then(|path| path.split(['/', '.']).next());
        let Some((module, place)) = module.and_then(|name| Some((name, self.place(name)?))) else {
            return Vec::new();
        };
        let is_wrong = |name: &str| self.place(name).is_some_and(|imported| imported < place);
        let wrong = imports(code).into_iter().filter(|(_, name)| is_wrong(name));
        let breach = |(at, name)| {
            (
                at,
                format!(
                    "`{module}` imports `{name}`, which {LIST} names before it: pass a plain value up"
                ),
            )
        };
        wrong.map(breach).collect()
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|module| module == name)
    }
}

/// The modules that code names below `crate::`, each with the byte where its name begins.
fn imports(code: &str) -> Vec<(usize, &str)> {
    let imported = IMPORT.captures_iter(code).filter_map(|import| import.get(1));
    let names = imported.flat_map(|name| match name.as_str() {
        "{" => in_braces(code, name.end()),
        module => vec![(name.start(), module)],
    });
    names.collect()
}

/// The name that each path begins with, in braces that were opened before byte `from`.
fn in_braces(code: &str, from: usize) -> Vec<(usize, &str)> {
    let (mut found, mut depth, mut begins) = (Vec::new(), 1, true);
    for token in TOKEN.find_iter(&code[from..]) {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," => begins = depth == 1,
            name if begins => {
                found.push((from + token.start(), name));
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! - `web`: pages\n//! - `tracker`, `ledger`\n//! `no`\npub mod web;\n\
        mod ledger;\npub mod tracker;\npub mod fuzzing;\n";

    /// The code of a file from each breach on.
    fn breaches<'a>(path: &str, code: &'a str) -> Vec<&'a str> {
        let breaches = Layers::parse(LIB).breaches(&format!("{SOURCES}{path}"), code);
        breaches.into_iter().map(|(at, _)| &code[at..]).collect()
    }

    #[test]
    fn an_import_of_a_module_that_is_named_before_is_a_breach() {
        let tracker = "tracker::x);";
        let web = format!("web,\n}};\nf(crate::{tracker}");
        let code = format!("use crate::{{\n    ledger::{{web, Rules}},\n    text, {web}");
        assert_eq!(breaches("web/mod.rs", &code), [""; 0]);
        assert_eq!(breaches("tracker.rs", &code), [&web]);
        assert_eq!(breaches("ledger/rules.rs", &code), [&web, tracker]);
        assert_eq!(breaches("fuzzing.rs", &code), [""; 0]);
        let others = "use super::web; use crates::web; use crate::webs;";
        assert_eq!(breaches("ledger.rs", others), [""; 0]);
    }

    #[test]
    fn a_module_that_the_list_lacks_and_one_that_is_gone_are_breaches() {
        assert_eq!(Layers::parse(LIB).incomplete(LIB), [""; 0]);
        let changed = LIB.replace("mod ledger", "mod books");
        let expected = ["the list of modules lacks `books`", "there is no module `ledger`"];
        assert_eq!(
            Layers::parse(&changed).incomplete(&changed),
            expected.map(|text| format!("{LIST}: {text}"))
        );
    }
}
