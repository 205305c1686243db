//! The parameters of a request to the API.

use axum::{extract::Query, http::Uri};
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

use crate::text;

/// The parameters that a path takes.
pub(super) trait Parameters: DeserializeOwned {
    /// Their names.
    const NAMES: &[&str];
    /// What values they have.
    const VALUES: &str;
}

#[derive(Debug, Deserialize)]
pub(super) struct NoParameters {}

impl Parameters for NoParameters {
    const NAMES: &[&str] = &[];
    const VALUES: &str = "";
}

#[derive(Debug, Deserialize)]
pub(super) struct HistoryParameters {
    /// Milliseconds of the host's uptime: by the wall clock, which may step, samples could come twice.
    pub(super) since: Option<u64>,
}

impl Parameters for HistoryParameters {
    const NAMES: &[&str] = &["since"];
    const VALUES: &str = "milliseconds of the host's uptime, a whole number";
}

#[derive(Debug, Deserialize)]
pub(super) struct ScopesParameters {
    /// Whether the answer has the samples of the last ten minutes.
    #[serde(default = "yes")]
    pub(super) history: bool,
}

impl Parameters for ScopesParameters {
    const NAMES: &[&str] = &["history"];
    const VALUES: &str = "true or false";
}

fn yes() -> bool {
    true
}

/// Why a query is refused, in one line.
#[derive(Debug, Error)]
pub(super) enum ParametersError {
    #[error("the query cannot be parsed: it must be NAME=VALUE pairs with & between")]
    Malformed,
    #[error("unknown parameter {name}; {path} takes {}", takes(names))]
    Unknown { name: String, path: String, names: &'static [&'static str] },
    #[error("{name}={value}: it has to be {values}")]
    Value { name: String, value: String, values: &'static str },
    /// The reason names the parameter.
    #[error("{0}")]
    Invalid(String),
}

/// The parameters in the query of `uri`.
///
/// # Errors
/// [`ParametersError`]
pub(super) fn parameters<P: Parameters>(uri: &Uri) -> Result<P, ParametersError> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| ParametersError::Malformed)?;
    if let Some((name, _)) = pairs.iter().find(|(name, _)| !P::NAMES.contains(&name.as_str())) {
        let name = text::plain(name, text::VALUE).into_owned();
        return Err(ParametersError::Unknown {
            name,
            path: text::plain(uri.path(), text::VALUE).into_owned(),
            names: P::NAMES,
        });
    }
    let Query(parameters) = Query::try_from_uri(uri).map_err(|error| {
        let error = error.body_text();
        let reason = error.strip_prefix("Failed to deserialize query string: ").unwrap_or(&error);
        let plain = |text: &str| text::plain(text, text::VALUE).into_owned();
        // `NAME: why its value is refused`.
        let refused = reason.split_once(": ").map(|(name, _)| name);
        match pairs.iter().find(|(name, _)| Some(name.as_str()) == refused) {
            Some((name, value)) => ParametersError::Value {
                name: name.clone(),
                value: plain(value),
                values: P::VALUES,
            },
            None => ParametersError::Invalid(plain(reason)),
        }
    })?;
    Ok(parameters)
}

fn takes(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { format!("only: {}", names.join(", ")) }
}

/// The target of a request to the API, from any bytes. A refusal is one line.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_query(bytes: &[u8]) {
    fn check<P: Parameters>(uri: &Uri) {
        if let Err(error) = parameters::<P>(uri) {
            crate::fuzzing::assert_one_line(&error.to_string());
        }
    }
    let Ok(uri) = Uri::try_from(bytes) else { return };
    check::<NoParameters>(&uri);
    check::<HistoryParameters>(&uri);
    check::<ScopesParameters>(&uri);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<P: Parameters + std::fmt::Debug>(uri: &str) -> String {
        parameters::<P>(&uri.parse().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_refusal_names_the_parameter_and_what_the_path_takes() {
        assert_eq!(
            refusal::<NoParameters>("/api/v1/status?x"),
            "unknown parameter x; /api/v1/status takes none"
        );
        assert_eq!(
            refusal::<HistoryParameters>("/api/v1/history?since=1&%0aend=2"),
            "unknown parameter \\nend; /api/v1/history takes only: since"
        );
        assert_eq!(
            refusal::<NoParameters>("/api\u{97}?x"),
            "unknown parameter x; /api\\u{97} takes none"
        );
        assert_eq!(
            refusal::<HistoryParameters>("/api/v1/history?since=1&since=2"),
            "duplicate field `since`"
        );
        assert_eq!(
            refusal::<ScopesParameters>("/api/v1/scopes?history=a%0ab"),
            "history=a\\nb: it has to be true or false"
        );
        assert_eq!(
            refusal::<HistoryParameters>("/api/v1/history?since=yesterday"),
            "since=yesterday: it has to be milliseconds of the host's uptime, a whole number"
        );
    }

    #[test]
    fn a_parameter_that_is_not_given_has_its_default() {
        let uri = "/api/v1/scopes".parse().unwrap();
        assert!(parameters::<ScopesParameters>(&uri).unwrap().history);
        assert_eq!(parameters::<HistoryParameters>(&uri).unwrap().since, None);
    }
}
