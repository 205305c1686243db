//! Just enough of Rust's lexical rules to tell code from comments and literals, line by line.

/// A source file, taken apart.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// One per line of the file.
    pub(crate) lines: Vec<Line>,
}

/// A line of a source file.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The code, without comments, and with nothing between the quotes of literals.
    pub(crate) code: String,
    /// The string literals that begin here, without quotes, escapes as written.
    pub(crate) literals: Vec<String>,
    /// Whether it lies in an item under `#[cfg(test)]`.
    pub(crate) test: bool,
}

impl Source {
    /// Takes `text` apart.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut lexer = Lexer { rest: text, lines: vec![Line::default()] };
        lexer.run();
        let mut lines = lexer.lines;
        if lines.last().is_some_and(|line| line.code.is_empty()) && text.ends_with('\n') {
            lines.pop();
        }
        mark_tests(&mut lines);
        Self { path: path.to_owned(), lines }
    }

    /// The lines with their numbers from 1.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The `use` statements, each with the number of the line it begins in, a grouped one in one piece.
    pub(crate) fn uses(&self) -> Vec<(usize, String)> {
        let mut uses: Vec<(usize, String)> = Vec::new();
        let mut open = false;
        for (number, line) in self.numbered() {
            if !open && contains_word(&line.code, "use") {
                uses.push((number, String::new()));
                open = true;
            }
            if open && let Some((_, text)) = uses.last_mut() {
                text.push_str(line.code.trim());
                open = !line.code.contains(';');
            }
        }
        uses
    }
}

/// Whether `word` stands in `code` with no letter, digit or `_` on either side.
pub(crate) fn contains_word(code: &str, word: &str) -> bool {
    word_positions(code, word).next().is_some()
}

/// Where `word` stands as a whole word.
pub(crate) fn word_positions<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

struct Lexer<'a> {
    rest: &'a str,
    lines: Vec<Line>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                self.skip(block_comment(self.rest));
            } else if let Some((open, close)) = raw_string(self.rest, self.last_code_char()) {
                self.literal(open, close.len(), self.rest[open..].find(&close));
            } else if c == '"' {
                self.literal(1, 1, closing_quote(&self.rest[1..], '"'));
            } else if c == '\''
                && let Some(length) = character(self.rest)
            {
                self.code("''");
                self.skip(length);
            } else {
                if c != '\n' {
                    self.code(c.encode_utf8(&mut [0; 4]));
                }
                self.skip(c.len_utf8());
            }
        }
    }

    fn last_code_char(&self) -> Option<char> {
        self.lines.last()?.code.chars().next_back()
    }

    fn code(&mut self, text: &str) {
        if let Some(line) = self.lines.last_mut() {
            line.code.push_str(text);
        }
    }

    /// A literal whose text begins at `open`, and is `length` long if it is closed at all.
    fn literal(&mut self, open: usize, close: usize, length: Option<usize>) {
        let end = open + length.unwrap_or(self.rest.len() - open);
        let text = self.rest[open..end].to_owned();
        if let Some(line) = self.lines.last_mut() {
            line.code.push_str("\"\"");
            line.literals.push(text);
        }
        self.skip((end + close).min(self.rest.len()));
    }

    /// Goes on by `length` bytes, and begins as many lines as they end.
    fn skip(&mut self, length: usize) {
        let (skipped, rest) = self.rest.split_at(length);
        for _ in skipped.matches('\n') {
            self.lines.push(Line::default());
        }
        self.rest = rest;
    }
}

/// The length of the block comment at the beginning of `text`; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// For `r"`, `r#"`, `br"` and the like: the length of the opening, and the closing.
fn raw_string(text: &str, before: Option<char>) -> Option<(usize, String)> {
    if before.is_some_and(is_word) {
        return None;
    }
    let unprefixed = text.strip_prefix(['b', 'c']).unwrap_or(text).strip_prefix('r')?;
    let body = unprefixed.trim_start_matches('#');
    let hashes = unprefixed.len() - body.len();
    let inner = body.strip_prefix('"')?;
    Some((text.len() - inner.len(), format!("\"{}", "#".repeat(hashes))))
}

/// Where the first `quote` stands that no backslash escapes.
fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(at);
        }
    }
    None
}

/// The length of the character literal at the beginning of `text`; nothing if it is a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text[1..].chars();
    let first = chars.next()?;
    if first == '\\' {
        return Some(closing_quote(&text[1..], '\'')? + 2);
    }
    (chars.next()? == '\'').then(|| 2 + first.len_utf8())
}

/// Marks what follows `#[cfg(test)]` up to the end of its item: the closing brace, or a `;` before any.
fn mark_tests(lines: &mut [Line]) {
    let mut item: Option<Nesting> = None;
    for line in lines {
        if item.is_none() && line.code.contains("#[cfg(test)]") {
            item = Some(Nesting::default());
        }
        let Some(nesting) = &mut item else { continue };
        line.test = true;
        if nesting.ends_in(&line.code) {
            item = None;
        }
    }
}

/// How deep in an item the reader is.
#[derive(Default)]
struct Nesting {
    braces: usize,
    brackets: usize,
}

impl Nesting {
    fn ends_in(&mut self, code: &str) -> bool {
        let mut ended = false;
        for c in code.chars() {
            match c {
                '{' => self.braces += 1,
                '[' | '(' => self.brackets += 1,
                ']' | ')' => self.brackets = self.brackets.saturating_sub(1),
                '}' => {
                    self.braces = self.braces.saturating_sub(1);
                    ended |= self.braces == 0;
                }
                ';' => ended |= self.braces == 0 && self.brackets == 0,
                _ => {}
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests;
