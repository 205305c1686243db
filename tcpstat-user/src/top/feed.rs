//! Where looks come from.

use std::{sync::Arc, time::Duration};

use nix::sys::utsname::uname;
use tokio::sync::watch;

use super::{
    RemoteExporter,
    numbers::{Status, Tracing, Update},
};
use crate::{clock, history::Moment, procfs::Procfs, tracker::Published};

/// Whoever can be looked at.
#[derive(Debug)]
pub enum Feed {
    /// The tracker of this process.
    OwnTracker(OwnTracker),
    /// Another one, over HTTP.
    RemoteExporter(RemoteExporter),
}

/// The tracker of this process.
#[derive(Debug)]
pub struct OwnTracker {
    /// What it tells.
    pub published: watch::Receiver<Arc<Published>>,
    /// Where sockstat is.
    pub procfs: Procfs,
}

impl Feed {
    /// What there is now.
    pub fn update(&mut self) -> Update {
        match self {
            Self::OwnTracker(here) => here.update(),
            Self::RemoteExporter(exporter) => exporter.update(),
        }
    }

    /// Returns when there will be nothing new any more.
    pub async fn ended(&mut self) {
        match self {
            Self::OwnTracker(here) => while here.published.changed().await.is_ok() {},
            Self::RemoteExporter(_) => std::future::pending().await,
        }
    }
}

impl OwnTracker {
    fn update(&self) -> Update {
        let published = Arc::clone(&self.published.borrow());
        let sample = published.sample(&self.procfs, clock::now());
        Update { samples: sample.into_iter().collect(), status: status(&published) }
    }
}

fn status(published: &Published) -> Status {
    Status {
        host: uname()
            .map(|uname| uname.nodename().to_string_lossy().into_owned())
            .unwrap_or_default(),
        exporter: None,
        tracing: published.live.as_ref().map(|live| Tracing {
            program: live.program.word().to_owned(),
            hooks: live.hooks.word().to_owned(),
            consistent: published.health.consistent,
            agreed: published.health.last_agreement.map(age),
            missed: published.events_missed,
        }),
        listed: published.snapshot.as_ref().map(|snapshot| age(snapshot.finished)),
        trouble: None,
    }
}

/// By the uptime, whatever the wall clock has done since.
fn age(moment: Moment) -> Duration {
    Duration::from_millis(clock::now().uptime_ms.saturating_sub(moment.uptime_ms))
}
