//! Requests for a reading, and the answers that one reading gives to many of them.

use std::{collections::HashMap, sync::Arc};

use axum::body::Bytes;
use tokio::sync::oneshot;

use super::coding::{Coded, Coding};
use crate::{
    history::Sample,
    metrics::{Format, Values},
    tracker::Scopes,
};

/// A request, with the channel for its answer.
#[derive(Debug)]
pub(super) enum Request {
    Exposition(Format, Coding, oneshot::Sender<Coded>),
    Sample(oneshot::Sender<Option<Sample>>),
    Scopes(oneshot::Sender<Arc<[Scopes]>>),
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
    pub(super) values: Option<Values>,
}

impl Reading {
    /// Encodes each format and coding once.
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
                Request::Exposition(format, coding, reply) => {
                    let Some(values) = &values else { continue };
                    let coded = coded.entry((format, coding)).or_insert_with(|| {
                        let encode = || values.clone().encode(format).into();
                        Coded::new(texts.entry(format).or_insert_with(encode).clone(), coding)
                    });
                    drop(reply.send(coded.clone()));
                }
            }
        }
    }
}
