//! Which metrics the hosts of a fleet have, taken from a real exporter.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::template::Template;
use crate::deadline::{DEADLINE, Progress, poll};
use crate::exporter::Exporter;
use crate::exposition::Scrape;
use crate::loopback::{Churn, Pairs};
use crate::netns::current_inum;
use crate::resident::{Order, Resident};
use crate::scopes::HOST;
use crate::server::REQUEST_INTERVAL;
use crate::tcp::Family;

/// The network namespace of [`Profile::Scopes`] that leaks, where a host leaks. It has this name on each of them.
pub const LEAKING_SCOPE: &str = "shop";

/// Namespaces of [`Profile::Scopes`], beside that of the host.
const NAMESPACES: usize = 20;

/// Connections of each of them; one is two sockets.
const CONNECTIONS: usize = 10;

/// Connections of each family that come and go. A host with ten times as many sockets in TIME_WAIT is not near its limit.
const CHURN: usize = 30;

/// What the hosts of a fleet export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The states as node_exporter has them, and whether the host counts.
    Minimal,
    /// The default.
    Standard,
    /// The default with 20 network namespaces.
    Scopes,
}

/// What one host exports.
#[derive(Clone, Debug)]
pub struct Shape {
    /// With a program that counts in the kernel.
    pub counting: Template,
    /// Without one.
    pub blind: Template,
}

impl Profile {
    /// From the smallest to the largest.
    pub const ALL: [Self; 3] = [Self::Minimal, Self::Standard, Self::Scopes];

    /// Its name, which is the first part of the paths of its hosts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Standard => "standard",
            Self::Scopes => "scopes",
        }
    }

    /// What a real exporter answers in the network namespace of the calling thread, with traffic.
    ///
    /// # Errors
    /// Fails without the rights of a kernel test, and without the binary.
    pub fn shape(self) -> Result<Shape> {
        let mut namespaces = Vec::new();
        for _ in 0..if self == Self::Scopes { NAMESPACES } else { 0 } {
            let mut namespace = Resident::in_new_namespace()?;
            namespace.order(&Order::Connect(CONNECTIONS))?;
            namespaces.push(namespace);
        }
        let _pairs = Pairs::connect(200, Family::Ipv4)?;
        let [counting, blind] = ["auto", "off"].map(|tracer| self.answer(tracer, &namespaces));
        Ok(Shape { counting: Template::parse(&counting?)?, blind: Template::parse(&blind?)? })
    }

    fn answer(self, tracer: &str, namespaces: &[Resident]) -> Result<String> {
        let (netns, path) = match self {
            Self::Minimal => {
                ("self", "/metrics?collect[]=node_exporter&collect[]=build&collect[]=tracer")
            }
            Self::Standard => ("self", "/metrics"),
            Self::Scopes => ("all", "/metrics"),
        };
        let tracer = format!("--tracer={tracer}");
        let netns = format!("--netns={netns}");
        let mut exporter = Exporter::start(&["--snapshot-interval=1s", &tracer, &netns])?;
        for family in Family::ALL {
            Churn { threads: 1, connections: CHURN, family, resets: true }.run()?;
        }
        let mut names = BTreeMap::from([(current_inum()?.to_string(), HOST.to_owned())]);
        let own = ["shop", "search", "cart", "mail"].map(str::to_owned);
        let more = (1..).map(|number| format!("service-{number}"));
        for (namespace, name) in namespaces.iter().zip(own.into_iter().chain(more)) {
            names.insert(namespace.inum()?.to_string(), name);
        }
        let inums = namespaces.iter().map(Resident::inum).collect::<Result<Vec<_>>>()?;
        let has_sockets = |scrape: &Scrape, inum: &u64| {
            let labels = [("netns", inum.to_string()), ("state", "established".to_owned())];
            let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            scrape.value("tcpstat_netns_connections", &labels).is_ok_and(|sockets| sockets > 0.0)
        };
        poll("sockets in all namespaces", DEADLINE, REQUEST_INTERVAL, || {
            let body = exporter.get(path)?.body;
            let scrape = Scrape::parse(&body)?;
            Ok(match inums.iter().find(|inum| !has_sockets(&scrape, inum)) {
                Some(inum) => Progress::NotYet(format!("namespace {inum} has none")),
                None => Progress::Done(renamed(&body, &names)?),
            })
        })
    }
}

/// The text with other names of namespaces, and without the namespaces that `names` has not.
fn renamed(text: &str, names: &BTreeMap<String, String>) -> Result<String> {
    let mut result = String::with_capacity(text.len());
    for line in text.lines() {
        if let Some((before, rest)) = line.split_once("netns=\"")
            && !line.starts_with('#')
        {
            let (name, after) = rest.split_once('"').with_context(|| line.to_owned())?;
            let Some(name) = names.get(name) else { continue };
            result.extend([before, "netns=\"", name, "\"", after]);
        } else {
            result.push_str(line);
        }
        result.push('\n');
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_get_names_and_those_of_others_are_left_out() {
        let names = BTreeMap::from([("7".to_owned(), "shop".to_owned())]);
        let text = "# HELP a A network namespace.\na{netns=\"7\",x=\"1\"} 1\na{netns=\"8\",x=\"1\"} 1\nb 2\n";
        let expected = "# HELP a A network namespace.\na{netns=\"shop\",x=\"1\"} 1\nb 2\n";
        assert_eq!(renamed(text, &names).unwrap(), expected);
    }
}
