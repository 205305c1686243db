//! The source of the numbers that the view shows.

use std::{sync::Arc, time::Duration};

use nix::sys::utsname::uname;
use tokio::sync::watch;

use super::{
    LocalHolders, RemoteExporter,
    details::Details,
    holders::{Answer, Question},
    numbers::{Status, TracerStatus, Update},
    scopes::{ScopeTable, ScopesAnswer},
};
use crate::{
    api::{AgesJson, EphemeralPortsJson, ListenersJson, ScopesJson},
    clock,
    history::Moment,
    procfs::Procfs,
    tracker::Published,
};

/// Shown with `--connect`.
const NOT_OVER_HTTP: &str = "An exporter does not show processes over HTTP: run `tcpstat who` or `tcpstat top` \
     on its host.";

#[derive(Debug)]
pub(crate) enum Feed {
    OwnTracker(OwnTracker),
    RemoteExporter(RemoteExporter),
}

/// The tracker of this process.
#[derive(Debug)]
pub(crate) struct OwnTracker {
    /// What the tracker publishes.
    pub(crate) published: watch::Receiver<Arc<Published>>,
    /// Contains sockstat.
    pub(crate) procfs: Procfs,
    /// Who holds the sockets.
    pub(crate) holders: LocalHolders,
}

impl Feed {
    /// The samples since the last update, and the current status.
    pub(super) fn update(&mut self) -> Update {
        match self {
            Self::OwnTracker(tracker) => tracker.update(),
            Self::RemoteExporter(exporter) => exporter.update(),
        }
    }

    /// The current scopes; `None` if they are not `wanted`, and before they have been read.
    pub(super) fn scopes(&self, wanted: bool) -> Option<ScopesAnswer> {
        match self {
            Self::OwnTracker(tracker) => wanted.then(|| Ok(tracker.scopes())),
            Self::RemoteExporter(exporter) => exporter.scopes(wanted),
        }
    }

    /// The newest answer; `None` if nothing is `wanted`, and before it has arrived.
    pub(super) fn holders(&self, wanted: Option<Question>) -> Option<Answer> {
        match self {
            Self::OwnTracker(tracker) => tracker.holders.newest(wanted),
            Self::RemoteExporter(_) => {
                wanted.map(|question| Answer { question, holders: Err(NOT_OVER_HTTP.to_owned()) })
            }
        }
    }

    /// Returns when there will be no more samples.
    pub(super) async fn ended(&mut self) {
        match self {
            Self::OwnTracker(tracker) => while tracker.published.changed().await.is_ok() {},
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

    fn scopes(&self) -> Vec<ScopeTable> {
        let published = Arc::clone(&self.published.borrow());
        let scrape = published.scrape(&self.procfs);
        ScopeTable::all(&ScopesJson::new(&scrape.scopes, clock::now(), None))
    }
}

fn status(published: &Published) -> Status {
    Status {
        host: uname()
            .map(|uname| uname.nodename().to_string_lossy().into_owned())
            .unwrap_or_default(),
        exporter: None,
        tracer: published.live.as_ref().map(|live| TracerStatus {
            program: live.program.word().to_owned(),
            hooks: live.hooks.word().to_owned(),
            consistent: published.health.consistent,
            agreement_age: published.health.last_agreement.map(age),
            events_missed: published.events_missed,
        }),
        snapshot_age: published.snapshot.as_ref().map(|snapshot| age(snapshot.finished)),
        details: details(published),
        problem: None,
    }
}

fn details(published: &Published) -> Details {
    Details::new(
        clock::now().uptime_ms,
        published.detailed().as_ref().map(|detailed| Box::new(detailed.into())),
        published.close_wait_ages.map(AgesJson::from).as_ref(),
        published.listeners.as_deref().map(ListenersJson::from).as_ref(),
        published.snapshot.as_ref().and_then(EphemeralPortsJson::of).as_ref(),
    )
}

/// By the uptime, which does not step as the wall clock does.
fn age(moment: Moment) -> Duration {
    Duration::from_millis(clock::now().uptime_ms.saturating_sub(moment.uptime_ms))
}
