//! A fleet that is simulated: what thousands of exporters answer, made of what a real exporter answers, and served on one
//! port. Prometheus and Alertmanager then have as many targets, series, and alerts as those of a real fleet.

mod host;
mod plan;
mod profile;
mod served;
mod template;

pub use host::Host;
pub use plan::{Fleet, RollOut};
pub use profile::{LEAKING_SCOPE, Profile, Shape};
pub use served::{Served, Shard};
pub use template::Template;
