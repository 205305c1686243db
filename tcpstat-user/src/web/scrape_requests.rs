//! Requests for a reading, and the answers that one reading gives to many of them.

use std::{collections::HashMap, sync::Arc};

use axum::body::Bytes;
use tokio::sync::oneshot;

use super::coding::{Coded, Coding};
use crate::{
    history::Sample,
    metrics::{Format, Groups, Values},
    tracker::Scopes,
};

/// A request, with the channel for its answer.
#[derive(Debug)]
pub(super) enum Request {
    Exposition(Wanted, oneshot::Sender<Coded>),
    Sample(oneshot::Sender<Option<Sample>>),
    Scopes(oneshot::Sender<Arc<[Scopes]>>),
}

/// The exposition that a client asks for. Requests that want the same share one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) format: Format,
    pub(super) groups: Groups,
    pub(super) coding: Coding,
}

/// The values that requests need.
#[derive(Clone, Copy)]
pub(super) struct Needed {
    pub(super) exposition: bool,
    pub(super) sample: bool,
    pub(super) scopes: bool,
}

impl Needed {
    pub(super) fn by(requests: &[Request]) -> Self {
        let any = |is: fn(&Request) -> bool| requests.iter().any(is);
        Self {
            exposition: any(|request| matches!(request, Request::Exposition(..))),
            sample: any(|request| matches!(request, Request::Sample(_))),
            scopes: any(|request| matches!(request, Request::Scopes(_))),
        }
    }

    /// Whether the values of a scrape are needed.
    pub(super) fn scrape(self) -> bool {
        self.exposition || self.scopes
    }
}

/// Values that were read at one moment.
pub(super) struct Reading {
    pub(super) sample: Option<Sample>,
    pub(super) scopes: Option<Arc<[Scopes]>>,
    pub(super) values: Option<Arc<Values>>,
}

impl Reading {
    /// Encodes each exposition once.
    pub(super) fn answer(self, requests: Vec<Request>) {
        let Self { sample, scopes, values } = self;
        let mut texts: HashMap<_, Bytes> = HashMap::new();
        let mut coded: HashMap<_, Coded> = HashMap::new();
        for request in requests {
            // Sending fails if the client has gone.
            match request {
                Request::Sample(reply) => drop(reply.send(sample.clone())),
                Request::Scopes(reply) => {
                    let Some(scopes) = &scopes else { continue };
                    drop(reply.send(Arc::clone(scopes)));
                }
                Request::Exposition(wanted, reply) => {
                    let Some(values) = &values else { continue };
                    let Wanted { format, groups, coding } = wanted;
                    let coded = coded.entry(wanted).or_insert_with(|| {
                        let encode = || values.encode_groups(format, groups).into();
                        let text = texts.entry((format, groups)).or_insert_with(encode);
                        Coded::new(text.clone(), coding)
                    });
                    drop(reply.send(coded.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Group;

    /// What one reading answers to these requests.
    fn answers<const N: usize>(wanted: [Wanted; N]) -> [Coded; N] {
        let channels = wanted.map(|wanted| (wanted, oneshot::channel()));
        let (requests, answers): (Vec<_>, Vec<_>) = channels
            .into_iter()
            .map(|(wanted, (reply, answer))| (Request::Exposition(wanted, reply), answer))
            .unzip();
        Reading { sample: None, scopes: None, values: Some(Arc::default()) }.answer(requests);
        let answers: Vec<_> =
            answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect();
        answers.try_into().unwrap()
    }

    fn classic(groups: Groups) -> Wanted {
        Wanted { format: Format::Classic, groups, coding: Coding::Identity }
    }

    #[test]
    fn requests_for_the_same_groups_share_one_text() {
        let tracer = classic(Groups::NONE.with(Group::Tracer));
        let [first, all, second] = answers([tracer, classic(Groups::ALL), tracer]);
        assert!(std::ptr::eq(first.text().as_ptr(), second.text().as_ptr()));
        assert!(!std::ptr::eq(first.text().as_ptr(), all.text().as_ptr()));
    }

    #[test]
    fn each_request_is_answered_with_the_groups_and_in_the_format_it_asks_for() {
        let snapshot = classic(Groups::NONE.with(Group::Snapshot));
        let build = classic(Groups::NONE.with(Group::Build));
        let openmetrics = Wanted { format: Format::OpenMetrics, ..build };
        let [snapshot, build, openmetrics] = answers([snapshot, build, openmetrics]);
        let begins = |coded: &Coded, name: &str| {
            let text = String::from_utf8_lossy(coded.text());
            assert!(text.starts_with(&format!("# HELP {name} ")), "{text}");
            text.ends_with("# EOF\n")
        };
        assert!(!begins(&snapshot, "tcpstat_snapshot_errors_total"));
        assert!(!begins(&build, "tcpstat_build_info"));
        assert!(begins(&openmetrics, "tcpstat_build_info"));
    }
}
