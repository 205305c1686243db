//! The destination that takes the most ephemeral ports.

use serde::{Deserialize, Serialize};

use super::Text;
use crate::{destinations::FullestDestination, tracker::LastSnapshot};

/// At the last snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct EphemeralPortsJson {
    /// How many ports the range has; `None` if it cannot be read.
    pub(crate) count: Option<u64>,
    pub(crate) fullest_destination: FullestDestinationJson,
}

/// The addresses are `None` if there is no such socket, or if they are not to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct FullestDestinationJson {
    pub(crate) sockets: u64,
    pub(crate) local_address: Option<Text>,
    pub(crate) remote_address: Option<Text>,
    pub(crate) remote_port: Option<u16>,
}

impl EphemeralPortsJson {
    /// `None` if destinations are not counted.
    pub(crate) fn of(snapshot: &LastSnapshot) -> Option<Self> {
        let fullest_destination = snapshot.fullest.as_ref()?.into();
        Some(Self { count: snapshot.limits.ephemeral_ports, fullest_destination })
    }
}

impl From<&FullestDestination> for FullestDestinationJson {
    fn from(fullest: &FullestDestination) -> Self {
        let destination = fullest.destination;
        Self {
            sockets: fullest.sockets,
            local_address: destination.map(|it| it.local.to_string().into()),
            remote_address: destination.map(|it| it.remote.to_string().into()),
            remote_port: destination.map(|it| it.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::destinations::Destination;

    #[test]
    fn a_destination_has_its_addresses_if_they_are_shown() {
        let address = |last: u8| [10, 0, 0, last].into();
        let destination = Destination { local: address(1), remote: address(7), port: 443 };
        let fullest = FullestDestination { sockets: 9, destination: Some(destination) };
        let shown = FullestDestinationJson::from(&fullest);
        assert_eq!(
            serde_json::to_value(&shown).unwrap(),
            json!({ "sockets": 9, "local_address": "10.0.0.1", "remote_address": "10.0.0.7",
                "remote_port": 443 })
        );
        let hidden =
            FullestDestinationJson::from(&FullestDestination { destination: None, ..fullest });
        assert_eq!(
            serde_json::to_value(&hidden).unwrap(),
            json!({ "sockets": 9, "local_address": null, "remote_address": null, "remote_port": null })
        );
        let few: FullestDestinationJson = serde_json::from_str(r#"{"sockets": 9}"#).unwrap();
        assert_eq!(few, hidden);
    }
}
