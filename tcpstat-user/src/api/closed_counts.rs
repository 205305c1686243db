//! Closed sockets by cause, as a JSON object.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tcpstat_ebpf::{CLOSED, Cause};

use super::Text;
use crate::{
    detailed::{DetailedTransitions, cause_word},
    states::{Family, State, family_word, state_word},
};

/// Sockets that closed since the tracer's start, by family, the state before, and cause. A reader takes what is
/// missing as 0, and ignores names that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClosedCounts([[u64; CLOSED.len()]; Family::ALL.len()]);

/// By family, the state before, and cause.
type Tree = BTreeMap<Text, BTreeMap<Text, BTreeMap<Text, u64>>>;

impl ClosedCounts {
    /// The state before, the cause, and the count of each family: all that are possible, in the order of the
    /// metrics.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (State, Cause, [u64; Family::ALL.len()])> {
        let counts = |index: usize| Family::ALL.map(|family| self.0[family as usize][index]);
        CLOSED
            .into_iter()
            .enumerate()
            .map(move |(index, (from, cause))| (from, cause, counts(index)))
    }

    fn from_fn(count: impl Fn(Family, State, Cause) -> u64) -> Self {
        Self(Family::ALL.map(|family| CLOSED.map(|(from, cause)| count(family, from, cause))))
    }
}

impl From<&DetailedTransitions> for ClosedCounts {
    fn from(detailed: &DetailedTransitions) -> Self {
        Self::from_fn(|family, from, cause| detailed.closed(family, from, cause))
    }
}

impl Serialize for ClosedCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tree = Tree::new();
        for family in Family::ALL {
            let of_family = tree.entry(family_word(family).into()).or_default();
            for (from, cause, counts) in self.iter() {
                let count = counts[family as usize];
                if count > 0 {
                    let of_state = of_family.entry(state_word(from).into()).or_default();
                    of_state.insert(cause_word(cause).into(), count);
                }
            }
        }
        tree.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClosedCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tree = Tree::deserialize(deserializer)?;
        let count = |family: &str, from: &str, cause: &str| tree.get(family)?.get(from)?.get(cause);
        Ok(Self::from_fn(|family, from, cause| {
            let found = count(family_word(family), state_word(from), cause_word(cause));
            found.copied().unwrap_or_default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_that_are_written_and_read_are_the_same_without_zeros() {
        let counts = ClosedCounts::from_fn(|family, from, cause| {
            100 * family as u64 + 10 * u64::from(from.number()) + cause as u64
        });
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(serde_json::from_str::<ClosedCounts>(&text).unwrap(), counts);

        let one = ClosedCounts::from_fn(|family, from, cause| {
            u64::from((family, from, cause) == (Family::Ipv6, State::CloseWait, Cause::Reset))
        });
        let json = json!({ "ipv4": {}, "ipv6": { "close_wait": { "reset": 1 } } });
        assert_eq!(serde_json::to_value(one).unwrap(), json);
        let seen: Vec<_> = one.iter().filter(|(.., counts)| *counts != [0, 0]).collect();
        assert_eq!(seen, [(State::CloseWait, Cause::Reset, [0, 1])]);
    }

    #[test]
    fn what_is_missing_is_0_and_unknown_names_are_ignored() {
        let text = r#"{"ipv4": {"syn_sent": {"refused": 3, "bored": 4}, "new": {}}, "ipv9": {}}"#;
        let counts: ClosedCounts = serde_json::from_str(text).unwrap();
        let sum: u64 = counts.iter().flat_map(|(.., counts)| counts).sum();
        assert_eq!(sum, 3);
    }
}
