//! Which requests are answered: the rate limit, the host names, and basic authentication; and the headers that every
//! answer carries. The order is that of exporter-toolkit: limit, headers, authentication.

mod authorization;
mod hosts;
mod limiter;
mod passwords;
mod recent;

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, Request, Response, StatusCode, header},
    response::IntoResponse,
};
use tokio::{sync::watch, time::timeout};
use tracing::warn;

pub(crate) use hosts::{AllowedHosts, HostName};
pub(super) use limiter::Limiter;
use passwords::Passwords;

use super::{
    server::{Client, LogLimit},
    settings::Settings,
};

/// The value of `WWW-Authenticate` (RFC 7617, section 2).
const CHALLENGE: &str = "Basic realm=\"tcpstat\", charset=\"UTF-8\"";

/// How long a request waits for the check of its password: less than a request may take, and than most clients wait. The
/// result of a check that has begun is kept all the same.
const MAX_CHECK: Duration = Duration::from_secs(8);

/// Decides about requests, by the settings that are in force.
#[derive(Debug)]
pub(crate) struct Access {
    settings: watch::Receiver<Arc<Settings>>,
    hosts: AllowedHosts,
    passwords: Passwords,
    refusals: LogLimit,
}

impl Access {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>, hosts: AllowedHosts) -> Self {
        let (passwords, refusals) = (Passwords::new(), LogLimit::default());
        Self { settings, hosts, passwords, refusals }
    }

    /// The settings that are in force.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.borrow().clone()
    }

    /// The answer to a request that is refused before it gets a slot for its answer.
    pub(super) fn refuse_early<B>(
        &self,
        settings: &Settings,
        request: &Request<B>,
    ) -> Option<Response<Body>> {
        if let Some(wait) = settings.limiter.as_ref().and_then(|limiter| limiter.take()) {
            let line = "too many requests (rate_limit of --web.config.file): try again later\n";
            let retry = [(header::RETRY_AFTER, retry_after(wait).to_string())];
            return Some((StatusCode::TOO_MANY_REQUESTS, retry, line).into_response());
        }
        let refused = self.hosts.refused(request.uri(), request.headers())?;
        let line = format!("{refused}\n");
        Some((StatusCode::MISDIRECTED_REQUEST, line).into_response())
    }

    /// The answer to a request that lacks the user name and password of a user, if there are users. A password that is
    /// not known yet is checked after `turn`.
    pub(super) async fn refuse_stranger<T: Send + 'static>(
        &self,
        settings: &Settings,
        headers: &HeaderMap,
        client: Client,
        turn: impl Future<Output = T>,
    ) -> Option<Response<Body>> {
        if settings.users.is_empty() {
            return None;
        }
        // A browser's first request has no credentials, so that is no failed attempt.
        if let Some(credentials) = authorization::credentials(headers) {
            let check = self.passwords.are_right(&settings.users, credentials, turn);
            match timeout(MAX_CHECK, check).await {
                Ok(true) => return None,
                Ok(false) => {
                    if let Some(times) = self.refusals.count() {
                        warn!(times, %client, "a request had a wrong user name or password");
                    }
                }
                Err(_) => {
                    let line =
                        "the password is not checked yet, because others are: try again later\n";
                    let retry = [(header::RETRY_AFTER, "1")];
                    return Some((StatusCode::SERVICE_UNAVAILABLE, retry, line).into_response());
                }
            }
        }
        let line = "user name and password are required (basic_auth_users of --web.config.file)\n";
        let challenge = [(header::WWW_AUTHENTICATE, CHALLENGE)];
        Some((StatusCode::UNAUTHORIZED, challenge, line).into_response())
    }
}

impl Settings {
    /// Sets the configured headers, also those that the page has set.
    pub(super) fn add_headers<B>(&self, response: &mut Response<B>) {
        for (name, value) in &self.headers.0 {
            response.headers_mut().insert(name, value.clone());
        }
    }
}

/// The whole seconds after which a client that has to `wait` is not refused again.
fn retry_after(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_waits_as_long_as_retry_after_says_has_waited_long_enough() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_900, 2), (59_001, 60)] {
            assert_eq!(retry_after(Duration::from_millis(millis)), seconds, "{millis} ms");
        }
    }
}
