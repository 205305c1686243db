//! The metrics of listening sockets.

use std::fmt::{self, Display};

use super::{
    names::{self, Metric},
    series_writer::SeriesWriter,
};
use crate::{
    listeners::{Listener, ShownListeners},
    tracker::Scope,
};

/// The address and the port of the listeners that are shown together.
const OTHER: &str = "other";

/// What is written of each listener.
struct Families {
    length: Metric,
    limit: Metric,
    fullest_ratio: Metric,
    half_open: Metric,
    drops: Metric,
}

const OWN: Families = Families {
    length: names::LISTENER_ACCEPT_QUEUE_LENGTH,
    limit: names::LISTENER_ACCEPT_QUEUE_LIMIT,
    fullest_ratio: names::LISTENER_ACCEPT_QUEUE_FULLEST_RATIO,
    half_open: names::LISTENER_HALF_OPEN,
    drops: names::LISTENER_DROPS,
};

const OF_NAMESPACES: Families = Families {
    length: names::NETNS_LISTENER_ACCEPT_QUEUE_LENGTH,
    limit: names::NETNS_LISTENER_ACCEPT_QUEUE_LIMIT,
    fullest_ratio: names::NETNS_LISTENER_ACCEPT_QUEUE_FULLEST_RATIO,
    half_open: names::NETNS_LISTENER_HALF_OPEN,
    drops: names::NETNS_LISTENER_DROPS,
};

/// One series of each family.
struct Series<'a> {
    /// Empty in a family without this label.
    netns: &'a str,
    address: String,
    port: String,
    listener: &'a Listener,
}

impl SeriesWriter<'_> {
    /// Writes the listeners of each address and port, then all others if there are or were some, or with details.
    pub(super) fn listeners(&mut self, listeners: Option<&ShownListeners>) -> fmt::Result {
        let Some(shown) = listeners else { return Ok(()) };
        let other = (self.details() || has_others(shown)).then(|| other("", shown));
        let all: Vec<_> = each("", shown).chain(other).collect();
        self.families(&OWN, &all)
    }

    /// Writes the same of each network namespace; the others of one only if there are or were some.
    pub(super) fn listeners_of_namespaces(&mut self, scopes: &[Scope]) -> fmt::Result {
        let shown = scopes
            .iter()
            .filter_map(|scope| Some((&*scope.name, scope.netns.as_ref()?.listeners.as_deref()?)));
        let all: Vec<_> = shown
            .flat_map(|(netns, shown)| {
                each(netns, shown).chain(has_others(shown).then(|| other(netns, shown)))
            })
            .collect();
        self.families(&OF_NAMESPACES, &all)
    }

    fn families(&mut self, families: &Families, all: &[Series<'_>]) -> fmt::Result {
        self.each(families.length, all, |it| it.queue_length)?;
        self.each(families.limit, all, |it| it.queue_limit)?;
        self.each(families.fullest_ratio, all, |it| it.fullest.ratio())?;
        self.each(families.half_open, all, |it| it.half_open)?;
        self.each(families.drops, all, |it| it.drops)
    }

    fn each<V: Display>(
        &mut self,
        metric: Metric,
        all: &[Series<'_>],
        value: impl Fn(&Listener) -> V,
    ) -> fmt::Result {
        self.family(metric, |samples| {
            all.iter().try_for_each(|Series { netns, address, port, listener }| {
                let netns = (!netns.is_empty()).then_some(("netns", *netns));
                let endpoint = [("address", address.as_str()), ("port", port)];
                samples.share(netns.into_iter().chain(endpoint));
                samples.sample([], value(listener))
            })
        })
    }
}

fn each<'a>(netns: &'a str, shown: &'a ShownListeners) -> impl Iterator<Item = Series<'a>> {
    shown.each.iter().map(move |(endpoint, listener)| Series {
        netns,
        address: endpoint.address.to_string(),
        port: endpoint.port.to_string(),
        listener,
    })
}

fn has_others(shown: &ShownListeners) -> bool {
    shown.other != Listener::default()
}

fn other<'a>(netns: &'a str, shown: &'a ShownListeners) -> Series<'a> {
    Series { netns, address: OTHER.to_owned(), port: OTHER.to_owned(), listener: &shown.other }
}
