//! Sockets by state, as a JSON object.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

use crate::states::{PerState, State, state_word};

/// Sockets in each of [`State::ALL`], of both families. A reader takes a state that is missing as 0, and ignores
/// names that it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StateCounts([u64; State::ALL.len()]);

impl StateCounts {
    /// Sockets in `state`; 0 if it is not in [`State::ALL`].
    pub(crate) fn get(&self, state: State) -> u64 {
        State::ALL.iter().position(|&one| one == state).map_or(0, |place| self.0[place])
    }

    /// Sockets in any state.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl From<&PerState<u64>> for StateCounts {
    fn from(connections: &PerState<u64>) -> Self {
        let mut counts = Self::default();
        for (_, state, count) in connections.shown() {
            if let Some(place) = State::ALL.iter().position(|&one| one == state) {
                counts.0[place] += count;
            }
        }
        counts
    }
}

impl Serialize for StateCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(State::ALL.map(state_word).into_iter().zip(&self.0))
    }
}

impl<'de> Deserialize<'de> for StateCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Counts)
    }
}

struct Counts;

impl<'de> Visitor<'de> for Counts {
    type Value = StateCounts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a number for each state")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StateCounts, A::Error> {
        let mut counts = StateCounts::default();
        while let Some((word, count)) = map.next_entry::<Cow<'de, str>, u64>()? {
            if let Some(place) = State::ALL.iter().position(|&state| state_word(state) == word) {
                counts.0[place] = count;
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::Family;

    #[test]
    fn every_state_has_its_count_of_both_families() {
        let mut connections =
            PerState::from_fn(|family, state| 100 * family as u64 + u64::from(state.number()));
        connections = connections.merged();
        let counts = StateCounts::from(&connections);
        for state in State::ALL {
            let both = Family::ALL.map(|family| connections[(family, state)]);
            assert_eq!(counts.get(state), both[0] + both[1]);
        }
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(serde_json::from_str::<StateCounts>(&text).unwrap(), counts);
        assert_eq!(text.matches(':').count(), State::ALL.len());
    }

    #[test]
    fn a_missing_state_is_0_and_an_unknown_one_is_ignored() {
        let counts: StateCounts = serde_json::from_str(r#"{"listen": 3, "other": 4}"#).unwrap();
        assert_eq!((counts.get(State::Listen), counts.total()), (3, 3));
    }

    #[test]
    fn a_total_that_is_too_large_is_the_maximum() {
        let text = format!(r#"{{"listen": {0}, "close": {0}}}"#, u64::MAX);
        let counts: StateCounts = serde_json::from_str(&text).unwrap();
        assert_eq!(counts.total(), u64::MAX);
    }
}
