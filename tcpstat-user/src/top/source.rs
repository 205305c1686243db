//! Where looks come from.

use std::time::Duration;

use nix::sys::utsname::uname;
use tokio::sync::watch;

use super::{
    Exporter,
    numbers::{Look, Status, Tracing},
};
use crate::{clock, history::Moment, procfs::Procfs, tracker::Published};

/// Whoever can be looked at.
#[derive(Debug)]
pub enum Source {
    /// The tracker of this process.
    Here(Here),
    /// Another one, over HTTP.
    Exporter(Exporter),
}

/// The tracker of this process.
#[derive(Debug)]
pub struct Here {
    /// What it tells.
    pub published: watch::Receiver<Published>,
    /// Where sockstat is.
    pub procfs: Procfs,
}

impl Source {
    /// What there is now.
    pub fn look(&mut self) -> Look {
        match self {
            Self::Here(here) => here.look(),
            Self::Exporter(exporter) => exporter.look(),
        }
    }

    /// Returns when there will be nothing new any more.
    pub async fn ended(&mut self) {
        match self {
            Self::Here(here) => while here.published.changed().await.is_ok() {},
            Self::Exporter(_) => std::future::pending().await,
        }
    }
}

impl Here {
    fn look(&self) -> Look {
        // The tracker waits while this is borrowed: some microseconds.
        let published = self.published.borrow();
        let sample = published.sample(&self.procfs, clock::now());
        Look { samples: sample.into_iter().collect(), status: status(&published) }
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
