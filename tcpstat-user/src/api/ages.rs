//! The ages of the sockets in CLOSE_WAIT.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Text;
use crate::ages::{CloseWaitAges, OLDER_THAN, TickRate};

/// At the last reading.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct AgesJson {
    /// The highest age in milliseconds; 0 without a socket.
    pub(crate) oldest_ms: u64,
    /// Sockets that are older than each of the ages `1m`, `5m`, `1h`.
    #[serde(default)]
    older_than: BTreeMap<Text, u64>,
}

impl AgesJson {
    /// The word of each age, and the number of older sockets; 0 if it is missing.
    pub(crate) fn older_than(&self) -> [(&'static str, u64); OLDER_THAN.len()] {
        OLDER_THAN.map(|(_, word)| (word, self.older_than.get(word).copied().unwrap_or_default()))
    }
}

impl From<(CloseWaitAges, TickRate)> for AgesJson {
    fn from((ages, rate): (CloseWaitAges, TickRate)) -> Self {
        let words = OLDER_THAN.map(|(_, word)| Text::from(word));
        Self {
            oldest_ms: ages.oldest.saturating_mul(1_000) / u64::from(rate.0.get()),
            older_than: words.into_iter().zip(ages.older_than).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use serde_json::json;

    use super::*;

    #[test]
    fn ticks_become_milliseconds_and_each_age_has_its_count() {
        let rate = TickRate(NonZeroU32::new(250).unwrap());
        let ages = AgesJson::from((CloseWaitAges { oldest: 75_001, older_than: [3, 2, 1] }, rate));
        let json = serde_json::to_value(&ages).unwrap();
        let older_than = json!({ "1m": 3, "5m": 2, "1h": 1 });
        assert_eq!(json, json!({ "oldest_ms": 300_004, "older_than": older_than }));
        assert_eq!(serde_json::from_value::<AgesJson>(json).unwrap(), ages);
        assert_eq!(ages.older_than(), [("1m", 3), ("5m", 2), ("1h", 1)]);
        let few: AgesJson = serde_json::from_str(r#"{"oldest_ms": 5}"#).unwrap();
        assert_eq!(few.older_than(), [("1m", 0), ("5m", 0), ("1h", 0)]);
    }
}
