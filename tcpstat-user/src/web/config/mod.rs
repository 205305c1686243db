//! The web configuration: the file of `--web.config.file`, in the format of Prometheus' exporter-toolkit. Pure: the
//! text of the file comes in. docs/access.md describes every key.
//!
//! The order is that of the checks: YAML, keys, then values. An error has the line of the key or value.

mod error;
mod http;
mod limit;
mod section;
mod tls;
mod users;
mod yaml;

use std::path::Path;

pub(crate) use error::WebConfigError;
pub(super) use error::{Fault, Problem};
pub(super) use http::Headers;
pub(super) use limit::RateLimit;
use section::Section;
pub(super) use tls::{ClientAuth, Content, Source, TlsSettings, Version};
pub(super) use users::Users;

/// The settings of one file. Files that it names are not read yet.
#[derive(Debug, Default)]
pub(super) struct WebConfig {
    /// `None` for plain HTTP.
    pub(super) tls: Option<TlsSettings>,
    /// Added to every answer.
    pub(super) headers: Headers,
    pub(super) users: Users,
    /// `None` for no limit.
    pub(super) rate_limit: Option<RateLimit>,
}

impl WebConfig {
    /// The settings in `text`, whose relative paths are below `directory`.
    ///
    /// # Errors
    /// The first problem, with its line.
    pub(super) fn parse(text: &str, directory: &Path) -> Result<Self, Fault> {
        let mut file = Section::new(
            "the file",
            yaml::document(text)?,
            &["tls_server_config", "http_server_config", "basic_auth_users", "rate_limit"],
        )?;
        let tls = file.take("tls_server_config");
        let tls = tls.map(|node| TlsSettings::parse(node, directory)).transpose()?.flatten();
        let http = file.take("http_server_config");
        let headers = http.map(Headers::parse).transpose()?.unwrap_or_default();
        let users = file.take("basic_auth_users");
        let users = users.map(Users::parse).transpose()?.unwrap_or_default();
        let rate_limit = file.take("rate_limit");
        let rate_limit = rate_limit.map(RateLimit::parse).transpose()?.flatten();
        Ok(Self { tls, headers, users, rate_limit })
    }
}

impl Fault {
    /// The error for the web configuration at `path`.
    pub(super) fn in_file(self, path: &Path) -> WebConfigError {
        WebConfigError { path: path.to_owned(), line: self.line, problem: self.problem }
    }
}

/// Parses any bytes. Whatever is wrong is one line.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Err(fault) = WebConfig::parse(text, Path::new("/etc/tcpstat")) {
        let error = fault.in_file(Path::new("/etc/tcpstat/web.yml"));
        crate::fuzzing::assert_one_line(&error.to_string());
    }
}

#[cfg(test)]
mod tests;
