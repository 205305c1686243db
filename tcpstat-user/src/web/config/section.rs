//! Reads the keys of one mapping: each at most once, and none that it does not know.

use std::collections::HashMap;

use super::{
    error::{Fault, Problem},
    yaml::{Entry, Node, Value},
};

/// A mapping whose keys are all known.
#[derive(Debug)]
pub(super) struct Section(Vec<Entry>);

impl Section {
    /// The mapping `node`, called `name` in errors. Null is an empty mapping.
    ///
    /// # Errors
    /// If it is not a mapping, a key is not in `known`, or a key is there twice.
    pub(super) fn new(name: &'static str, node: Node, known: &[&str]) -> Result<Self, Fault> {
        let entries = entries(name, node)?;
        let unknown = entries.iter().find(|entry| !known.contains(&entry.key.as_str()));
        if let Some(Entry { key, line, .. }) = unknown {
            let (key, known) = (key.clone(), known.join(", "));
            return Err(Fault::new(*line, Problem::UnknownKey { section: name, key, known }));
        }
        Ok(Self(entries))
    }

    /// The line of `key`; 0 if it is not there.
    pub(super) fn line(&self, key: &str) -> usize {
        self.0.iter().find(|entry| entry.key == key).map_or(0, |entry| entry.line)
    }

    /// The value of `key`; `None` if the key is not there, or has no value.
    pub(super) fn take(&mut self, key: &str) -> Option<Node> {
        let at = self.0.iter().position(|entry| entry.key == key)?;
        let node = self.0.swap_remove(at).node;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// The text of `key`, with its line; `None` if the key is not there, or the text is empty.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<(String, usize)>, Fault> {
        let Some(node) = self.take(key) else { return Ok(None) };
        let line = node.line;
        let text = node.text(key)?;
        Ok((!text.is_empty()).then_some((text, line)))
    }

    /// The boolean of `key`, also in the words of YAML 1.1.
    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> Result<bool, Fault> {
        let Some((value, line)) = self.text(key)? else { return Ok(default) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err(Fault::new(line, Problem::NotABoolean { key, value })),
        }
    }

    /// The texts of the list `key`, each with its line; `None` if the key is not there.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Vec<(String, usize)>>, Fault> {
        let Some(node) = self.take(key) else { return Ok(None) };
        match node.value {
            Value::List(nodes) => {
                let text = |node: Node| {
                    let line = node.line;
                    Ok((node.text(key)?, line))
                };
                nodes.into_iter().map(text).collect::<Result<_, Fault>>().map(Some)
            }
            value => Err(wrong_kind(key, node.line, "a list", &value)),
        }
    }
}

/// The entries of a mapping whose keys the user chooses; each key is there once.
pub(super) fn entries(name: &str, node: Node) -> Result<Vec<Entry>, Fault> {
    let entries = match node.value {
        Value::Null => return Ok(Vec::new()),
        Value::Mapping(entries) => entries,
        value => return Err(wrong_kind(name, node.line, "a mapping of keys and values", &value)),
    };
    let mut lines = HashMap::new();
    for Entry { key, line, .. } in &entries {
        if let Some(first) = lines.insert(key, *line) {
            return Err(Fault::new(*line, Problem::DuplicateKey { key: key.clone(), first }));
        }
    }
    Ok(entries)
}

impl Node {
    /// The text of the value of `key`.
    pub(super) fn text(self, key: &str) -> Result<String, Fault> {
        match self.value {
            Value::Null => Ok(String::new()),
            Value::Text(text) => Ok(text),
            value => Err(wrong_kind(key, self.line, "one value", &value)),
        }
    }
}

fn wrong_kind(key: &str, line: usize, wanted: &'static str, value: &Value) -> Fault {
    let found = match value {
        Value::Null => "nothing",
        Value::Text(_) => "text",
        Value::List(_) => "a list",
        Value::Mapping(_) => "a mapping",
    };
    Fault::new(line, Problem::WrongKind { key: key.to_owned(), wanted, found })
}
