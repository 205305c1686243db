//! The fullest listeners.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::at_most::at_most;
use crate::listeners::{Endpoint, Listener, ShownListeners};

/// So many listeners are written.
const FULLEST: usize = 10;

/// A reader takes at most this many.
const MAX_LISTENERS: usize = 1_000;

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(crate) struct ListenersJson {
    /// Addresses and ports that are counted each.
    #[serde(default)]
    pub(crate) count: u64,
    /// Packets that all listeners dropped since the start, those of closed and unlisted ones included.
    #[serde(default)]
    pub(crate) drops: u64,
    /// The fullest first, at most [`FULLEST`].
    #[serde(deserialize_with = "at_most::<MAX_LISTENERS, _, _>")]
    pub(crate) fullest: Vec<ListenerJson>,
}

/// The sockets that listen at one address and port.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct ListenerJson {
    pub(crate) address: String,
    pub(crate) port: u16,
    /// Connections that wait to be accepted.
    pub(crate) queue_length: u64,
    /// Above so many the kernel drops connections.
    pub(crate) queue_limit: u64,
    /// How full the fullest queue is: 1 if the kernel drops connections.
    pub(crate) fullest_ratio: f64,
    /// Half-open connections.
    #[serde(default)]
    pub(crate) half_open: u64,
    /// Packets that the kernel dropped since the start.
    #[serde(default)]
    pub(crate) drops: u64,
}

impl From<&ShownListeners> for ListenersJson {
    fn from(ShownListeners { each, other }: &ShownListeners) -> Self {
        let mut ranked: Vec<_> = each.iter().collect();
        ranked.sort_by_key(|(endpoint, listener)| {
            (Reverse((listener.fullest, listener.half_open, listener.drops)), *endpoint)
        });
        ranked.truncate(FULLEST);
        Self {
            count: each.len() as u64,
            drops: other.drops + each.iter().map(|(_, listener)| listener.drops).sum::<u64>(),
            fullest: ranked.into_iter().map(ListenerJson::new).collect(),
        }
    }
}

impl ListenerJson {
    fn new((endpoint, listener): &(Endpoint, Listener)) -> Self {
        Self {
            address: endpoint.address.to_string(),
            port: endpoint.port,
            queue_length: listener.queue_length,
            queue_limit: listener.queue_limit,
            fullest_ratio: listener.fullest.ratio(),
            half_open: listener.half_open,
            drops: listener.drops,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use serde_json::json;

    use super::*;
    use crate::listeners::Fill;

    fn listener(port: u16, length: u32, drops: u64) -> (Endpoint, Listener) {
        let endpoint = Endpoint { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), port };
        let fullest = Fill { length, limit: 4 };
        let listener =
            Listener { queue_length: length.into(), queue_limit: 4, fullest, half_open: 2, drops };
        (endpoint, listener)
    }

    #[test]
    fn the_fullest_come_first_then_those_with_more_drops_and_no_more_than_ten() {
        let each = (1..=20).map(|port| listener(port, u32::from(port == 15), u64::from(port == 9)));
        let other = Listener { drops: 5, ..Listener::default() };
        let json = ListenersJson::from(&ShownListeners { each: each.collect(), other });
        let ports: Vec<_> = json.fullest.iter().map(|listener| listener.port).collect();
        assert_eq!(ports, [15, 9, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((json.count, json.drops), (20, 6));
    }

    #[test]
    fn a_listener_has_its_queue_its_fill_and_its_drops() {
        let shown = ShownListeners { each: vec![listener(443, 5, 7)], other: Listener::default() };
        let json = serde_json::to_value(ListenersJson::from(&shown)).unwrap();
        let listener = json!({ "address": "::", "port": 443, "queue_length": 5, "queue_limit": 4,
            "fullest_ratio": 1.0, "half_open": 2, "drops": 7 });
        assert_eq!(json, json!({ "count": 1, "drops": 7, "fullest": [listener] }));
        assert_eq!(
            serde_json::from_value::<ListenersJson>(json).unwrap(),
            ListenersJson::from(&shown)
        );
    }
}
