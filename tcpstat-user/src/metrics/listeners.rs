//! The metrics of listening sockets.

use std::fmt::{self, Display};

use super::{
    names::{self, Metric},
    series_writer::SeriesWriter,
};
use crate::listeners::{Listener, ShownListeners};

/// The address and the port of the listeners that are shown together.
const OTHER: &str = "other";

impl SeriesWriter<'_> {
    /// Writes the listeners of each address and port, then all others.
    pub(super) fn listeners(&mut self, listeners: Option<&ShownListeners>) -> fmt::Result {
        let Some(ShownListeners { each, other }) = listeners else { return Ok(()) };
        let each = each.iter().map(|(endpoint, listener)| {
            ([endpoint.address.to_string(), endpoint.port.to_string()], listener)
        });
        let other = ([OTHER.to_owned(), OTHER.to_owned()], other);
        let all: Vec<_> = each.chain(std::iter::once(other)).collect();
        self.each(names::LISTENER_ACCEPT_QUEUE_LENGTH, &all, |it| it.queue_length)?;
        self.each(names::LISTENER_ACCEPT_QUEUE_LIMIT, &all, |it| it.queue_limit)?;
        self.each(names::LISTENER_ACCEPT_QUEUE_FULLEST_RATIO, &all, |it| it.fullest.ratio())?;
        self.each(names::LISTENER_HALF_OPEN, &all, |it| it.half_open)?;
        self.each(names::LISTENER_DROPS, &all, |it| it.drops)
    }

    fn each<V: Display>(
        &mut self,
        metric: Metric,
        listeners: &[([String; 2], &Listener)],
        value: impl Fn(&Listener) -> V,
    ) -> fmt::Result {
        self.family(metric, |samples| {
            listeners.iter().try_for_each(|([address, port], listener)| {
                samples.share([("address", address.as_str()), ("port", port)]);
                samples.sample([], value(listener))
            })
        })
    }
}
