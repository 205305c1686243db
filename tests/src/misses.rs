//! Events that the kernel skips for a classic tracepoint, until another program replaces it.

use anyhow::Result;

use crate::corrections::missed;
use crate::deadline::{DEADLINE, Progress, wait_until};
use crate::exporter::Exporter;
use crate::exposition::Scrape;
use crate::loopback::Churn;
use crate::map_reader::MapReader;
use crate::netns::Namespace;
use crate::receive_processor::receive_on;
use crate::tcp::Family;

/// The connections of one round. Half of them end in order.
pub const CHURN: Churn = Churn { threads: 4, connections: 100, family: Family::Ipv4, resets: true };

/// Makes connections whose packets interrupt the reading of a BPF map, until a scrape satisfies `enough`.
///
/// # Errors
/// Fails if `enough` does, and with the number of missed events after [`DEADLINE`].
pub fn churn_under_misses(
    namespace: &Namespace,
    exporter: &mut Exporter,
    mut enough: impl FnMut(&Scrape) -> Result<bool>,
) -> Result<Scrape> {
    receive_on(namespace, 0)?;
    let _reader = MapReader::start(0)?;
    wait_until("missed events", DEADLINE, || {
        CHURN.run()?;
        let scrape = exporter.scrape()?;
        let missed = missed(&scrape)?;
        Ok(if enough(&scrape)? {
            Progress::Done(scrape)
        } else {
            Progress::NotYet(missed.to_string())
        })
    })
}

/// The program that counts, as the metrics name it.
#[must_use]
pub fn program(scrape: &Scrape) -> String {
    let info = scrape.family("tcpstat_tracer_info");
    info.iter().filter_map(|sample| sample.labels.get("program")).cloned().collect()
}
