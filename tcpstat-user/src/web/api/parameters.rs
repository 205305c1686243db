//! The parameters of a request to the API.

use axum::{extract::Query, http::Uri};
use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

use crate::text;

/// The parameters that a path takes.
pub(super) trait Parameters: DeserializeOwned {
    /// Their names.
    const NAMES: &[&str];
}

#[derive(Debug, Deserialize)]
pub(super) struct NoParameters {}

impl Parameters for NoParameters {
    const NAMES: &[&str] = &[];
}

#[derive(Debug, Deserialize)]
pub(super) struct HistoryParameters {
    /// Milliseconds of the host's uptime: by the wall clock, which may step, samples could come twice.
    pub(super) since: Option<u64>,
}

impl Parameters for HistoryParameters {
    const NAMES: &[&str] = &["since"];
}

#[derive(Debug, Deserialize)]
pub(super) struct ScopesParameters {
    /// Whether the answer has the samples of the last ten minutes.
    #[serde(default = "yes")]
    pub(super) history: bool,
}

impl Parameters for ScopesParameters {
    const NAMES: &[&str] = &["history"];
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
        ParametersError::Invalid(text::plain(reason, text::VALUE).into_owned())
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
        let refusal = refusal::<HistoryParameters>("/api/v1/history?since=yesterday");
        assert_eq!(refusal, "since: invalid digit found in string");
    }

    #[test]
    fn a_parameter_that_is_not_given_has_its_default() {
        let uri = "/api/v1/scopes".parse().unwrap();
        assert!(parameters::<ScopesParameters>(&uri).unwrap().history);
        assert_eq!(parameters::<HistoryParameters>(&uri).unwrap().since, None);
    }
}
