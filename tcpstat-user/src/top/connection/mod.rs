//! How to reach a running exporter: over HTTP, HTTPS, or a Unix socket.

mod credentials;
mod failure;
mod unix;

use std::{fmt, io, path::PathBuf, str::FromStr, time::Duration};

use thiserror::Error;
use ureq::{
    Agent,
    config::Config,
    http::Uri,
    tls::TlsConfig,
    unversioned::{
        resolver::DefaultResolver,
        transport::{Connector as _, RustlsConnector},
    },
};

pub(super) use self::failure::with_remedy;
use self::{credentials::Contents, unix::UnixConnector};
use crate::unix_path;

const MAX_URL_BYTES: usize = 2_000;

/// Where an exporter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExporterAddress {
    /// Without a slash at the end.
    Url { url: String, tls: bool },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum AddressError {
    #[error(
        "write it like http://web-1:10048, https://web-1:10048, or unix:/run/tcpstat/tcpstat.sock"
    )]
    Form,
    #[error("write a port from 1 to 65535 after the colon, or no colon")]
    Port,
    #[error(
        "every user of this host can see a password in the list of processes: use --connect.user and \
         --connect.password-file"
    )]
    Password,
}

/// What `--connect` and the flags below it say.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) address: ExporterAddress,
    /// A user name, and the file with the password.
    pub(crate) user: Option<(String, PathBuf)>,
    /// Certificates of authorities; `None` for those of the system.
    pub(crate) authorities: Option<PathBuf>,
    /// Files with a certificate and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, Error)]
pub(crate) enum ConnectionError {
    #[error("{flag} {}: {cause}", path.display())]
    File { flag: &'static str, path: PathBuf, cause: io::Error },
    #[error("{flag} {}: {problem}", path.display())]
    Contents { flag: &'static str, path: PathBuf, problem: Contents },
    #[error("the system has no certificates of authorities: name a file with --connect.ca-file")]
    NoAuthorities,
    #[error("{0}: they are for https:// addresses")]
    PlainHttp(&'static str),
}

/// What requests need.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) agent: Agent,
    /// Begins every URL.
    pub(super) url: String,
    /// The value of the header `Authorization`.
    pub(super) authorization: Option<String>,
}

impl Connection {
    /// Whether requests use TLS. On a Unix socket they do if there is something to check a certificate by.
    fn tls(&self) -> bool {
        match &self.address {
            ExporterAddress::Url { tls, .. } => *tls,
            ExporterAddress::Unix(_) => self.authorities.is_some(),
        }
    }

    /// Reads the files. Each attempt to connect may take `timeout`.
    pub(super) fn prepare(&self, timeout: Duration) -> Result<Prepared, ConnectionError> {
        let tls = self.tls();
        if !tls && self.certificate.is_some() {
            return Err(ConnectionError::PlainHttp("--connect.cert-file and --connect.key-file"));
        }
        if !tls && self.authorities.is_some() {
            return Err(ConnectionError::PlainHttp("--connect.ca-file"));
        }
        let settings = if tls { credentials::tls(self)? } else { TlsConfig::default() };
        let authorization = self.user.as_ref().map(credentials::authorization).transpose()?;
        let config = config(timeout, settings);
        let (agent, url) = match &self.address {
            ExporterAddress::Url { url, .. } => (config.new_agent(), url.clone()),
            ExporterAddress::Unix(path) => {
                let socket = UnixConnector::new(path.clone()).chain(RustlsConnector::default());
                let agent = Agent::with_parts(config, socket, DefaultResolver::default());
                let scheme = if tls { "https" } else { "http" };
                (agent, format!("{scheme}://localhost"))
            }
        };
        Ok(Prepared { agent, url, authorization })
    }
}

fn config(timeout: Duration, tls: TlsConfig) -> Config {
    Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(Some(timeout))
        .timeout_connect(Some(timeout))
        .timeout_send_request(Some(timeout))
        .timeout_recv_response(Some(timeout))
        // An exporter never redirects.
        .max_redirects(0)
        // A proxy could cache the numbers.
        .proxy(None)
        .tls_config(tls)
        .build()
}

impl FromStr for ExporterAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = unix_path::of(text) {
            let unix = path.is_absolute().then(|| Self::Unix(path.to_owned()));
            return unix.ok_or(AddressError::Form);
        }
        if text.contains('@') {
            return Err(AddressError::Password);
        }
        let url = text.trim_end_matches('/');
        let uri: Uri = url.parse().map_err(|_| AddressError::Form)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(AddressError::Form),
        };
        let is_base = uri.query().is_none() && uri.host().is_some_and(|host| !host.is_empty());
        if !is_base || !url.is_ascii() || url.len() > MAX_URL_BYTES || url.contains('#') {
            return Err(AddressError::Form);
        }
        // A URI can have a port that is no number of a port; requests would go to the port of the scheme.
        let has_colon = uri.authority().zip(uri.host()).is_some_and(|(all, host)| all != host);
        if has_colon && !matches!(uri.port_u16(), Some(1..)) {
            return Err(AddressError::Port);
        }
        Ok(Self::Url { url: url.to_owned(), tls })
    }
}

impl fmt::Display for ExporterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { url, .. } => f.write_str(url),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_paths_are_addresses_and_passwords_are_refused() {
        let url = |url: &str, tls| Ok(ExporterAddress::Url { url: url.to_owned(), tls });
        assert_eq!("http://web-1:10048/".parse(), url("http://web-1:10048", false));
        assert_eq!("https://[::1]:1/base".parse(), url("https://[::1]:1/base", true));
        for text in ["unix:/run/a", "unix:///run/a", "/run/a"] {
            assert_eq!(text.parse(), Ok(ExporterAddress::Unix("/run/a".into())));
        }
        for text in ["web-1", "web-1:1", "ftp://a", "http://", "http://a?b", "http://a#b", "unix:a"]
        {
            assert_eq!(text.parse::<ExporterAddress>(), Err(AddressError::Form), "{text}");
        }
        let secret = "https://me:sesame@web-1".parse::<ExporterAddress>();
        assert_eq!(secret, Err(AddressError::Password));
    }

    #[test]
    fn a_wrong_port_is_refused_and_not_replaced_by_that_of_the_scheme() {
        for port in ["", "0", "65536", "100480", "99999999999999999999", "x", "-1"] {
            for start in ["http://web-1", "https://web-1", "http://10.0.0.7", "https://[::1]"] {
                for path in ["", "/", "/base"] {
                    let text = format!("{start}:{port}{path}");
                    let refused = text.parse::<ExporterAddress>();
                    assert_eq!(refused, Err(AddressError::Port), "{text}");
                }
            }
        }
    }
}
