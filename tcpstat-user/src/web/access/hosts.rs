//! The host names under which a browser may open the page and use the API.
//!
//! A site can let its own name point to this host (DNS rebinding), and then read answers with a browser that
//! reaches this port. Such a request has the site's name in its header `Host`.

use std::{net::IpAddr, str::FromStr};

use axum::http::{HeaderMap, Uri, header};
use thiserror::Error;

use crate::text::{self, plain};

/// The names in `--web.allowed-hosts`; without any, every name is allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedHosts {
    names: Vec<HostName>,
    /// What scrapers and orchestrators request, by any name.
    exempt: Vec<String>,
}

/// A host name without a port, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostName(String);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum HostNameError {
    #[error("write a host name without scheme, port, and path, such as web-3 or web-3.example.org")]
    Form,
}

/// Why a request is refused, in one line.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum HostRefused {
    #[error("this host does not serve {}: add the name to --web.allowed-hosts, or use an IP address", plain(.0, text::VALUE))]
    Name(String),
}

impl AllowedHosts {
    /// Paths in `exempt` are served under every name.
    pub(crate) fn new(names: Vec<HostName>, exempt: Vec<String>) -> Self {
        Self { names, exempt }
    }

    /// Why a request for `uri` is refused.
    pub(super) fn refused(&self, uri: &Uri, headers: &HeaderMap) -> Option<HostRefused> {
        if self.names.is_empty() || self.exempt.iter().any(|path| path == uri.path()) {
            return None;
        }
        // A browser always sends one; only other clients send none, or a URI with a host.
        let hosts = headers.get_all(header::HOST).iter();
        let hosts = hosts.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        let hosts = hosts.chain(uri.authority().map(ToString::to_string));
        hosts.into_iter().find(|host| !self.allows(host)).map(HostRefused::Name)
    }

    /// `host` is a name or an address, with or without a port.
    fn allows(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        name == "localhost"
            || name.ends_with(".localhost")
            || address.unwrap_or(&name).parse::<IpAddr>().is_ok()
            || self.names.iter().any(|HostName(allowed)| *allowed == name)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // In an IPv6 address without a port the last colon is inside the brackets.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

impl FromStr for HostName {
    type Err = HostNameError;

    fn from_str(text: &str) -> Result<Self, HostNameError> {
        let name = text.trim_end_matches('.');
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(HostNameError::Form);
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn hosts(names: &[&str]) -> AllowedHosts {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        AllowedHosts::new(names, vec!["/metrics".to_owned(), "/-/healthy".to_owned()])
    }

    fn is_served(hosts: &AllowedHosts, path: &str, host: &str) -> bool {
        let host = HeaderValue::from_str(host).unwrap();
        let headers = HeaderMap::from_iter([(header::HOST, host)]);
        hosts.refused(&path.parse().unwrap(), &headers).is_none()
    }

    #[test]
    fn without_names_every_host_is_served() {
        assert!(is_served(&AllowedHosts::default(), "/", "attacker.example"));
    }

    #[test]
    fn addresses_localhost_and_the_names_are_served() {
        let hosts = hosts(&["web-3", "Web-3.Example.org."]);
        for host in [
            "web-3",
            "WEB-3:10048",
            "web-3.example.org:10048",
            "web-3.example.org.",
            "localhost",
            "localhost:10048",
            "a.localhost:1",
            "127.0.0.1:10048",
            "192.0.2.1",
            "[::1]:10048",
            "[2001:db8::1]",
        ] {
            assert!(is_served(&hosts, "/", host), "{host}");
        }
        for host in [
            "attacker.example",
            "attacker.example:10048",
            "web-3.attacker.example",
            "notlocalhost",
            "127.0.0.1.attacker.example",
            "web-3:x",
            "",
        ] {
            assert!(!is_served(&hosts, "/api/v1/status", host), "{host}");
        }
    }

    #[test]
    fn metrics_and_health_are_served_under_every_name() {
        let hosts = hosts(&["web-3"]);
        assert!(is_served(&hosts, "/metrics", "attacker.example"));
        assert!(is_served(&hosts, "/metrics?collect[]=health", "attacker.example"));
        assert!(is_served(&hosts, "/-/healthy", "attacker.example"));
        assert!(!is_served(&hosts, "/metrics/", "attacker.example"));
    }

    #[test]
    fn a_uri_with_a_host_and_a_second_header_are_compared_too() {
        let hosts = hosts(&["web-3"]);
        let uri = "http://attacker.example/".parse().unwrap();
        assert!(hosts.refused(&uri, &HeaderMap::new()).is_some());
        let mut headers = HeaderMap::new();
        assert_eq!(hosts.refused(&"/".parse().unwrap(), &headers), None);
        headers.append(header::HOST, HeaderValue::from_static("web-3"));
        headers.append(header::HOST, HeaderValue::from_static("attacker.example"));
        assert!(hosts.refused(&"/".parse().unwrap(), &headers).is_some());
    }

    #[test]
    fn a_name_has_no_scheme_port_or_path() {
        for text in ["", ".", "http://web-3", "web-3:10048", "web-3/", "*", "a b"] {
            assert_eq!(text.parse::<HostName>(), Err(HostNameError::Form), "{text}");
        }
    }
}
