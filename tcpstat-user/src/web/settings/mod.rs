//! The settings that are in force: those of the web configuration, with the files that it names.

mod config_file;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use config_file::ConfigFile;
use rustls::ServerConfig;

use super::{
    access::Limiter,
    config::{Fault, Headers, Problem, TlsSettings, Users, WebConfig},
    tls,
};
use crate::bounded_file;

/// Built once for all requests and connections that come while they are in force. The default serves plain HTTP to
/// everybody.
#[derive(Default)]
pub(crate) struct Settings {
    /// `None` for plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Whether each client must have a certificate.
    requires_certificates: bool,
    /// Whether each client must have one from an authority.
    verifies_clients: bool,
    /// Whether the certificate must have one of some names.
    checks_names: bool,
    pub(super) headers: Headers,
    pub(super) users: Users,
    pub(super) limiter: Option<Arc<Limiter>>,
}

/// A web configuration, and the files that it names.
struct Parsed {
    config: WebConfig,
    files: Vec<PathBuf>,
}

impl Parsed {
    /// Reads the file at `path`.
    fn read(path: &Path) -> Result<Self, Fault> {
        let unreadable = |cause| Fault::new(0, Problem::Unreadable { cause });
        let bytes = bounded_file::read_regular(path).map_err(unreadable)?;
        let length = bytes.len() as u64;
        if length > bounded_file::MAX_BYTES {
            let (bytes, most) = (length, bounded_file::MAX_BYTES);
            return Err(Fault::new(0, Problem::TooLarge { bytes, most }));
        }
        let text = String::from_utf8(bytes).map_err(|_| Fault::new(0, Problem::NotUtf8))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        let config = WebConfig::parse(&text, directory)?;
        let files = config.tls.iter().flat_map(TlsSettings::files).map(Path::to_owned).collect();
        Ok(Self { config, files })
    }
}

impl Settings {
    /// Reads the files that `config` names. A limit that is the same as `before` goes on.
    fn new(config: WebConfig, before: Option<&Arc<Limiter>>) -> Result<Self, Fault> {
        let WebConfig { tls, headers, users, rate_limit } = config;
        let limiter = rate_limit.map(|limit| {
            let same = before.filter(|limiter| limiter.limit() == limit);
            same.cloned().unwrap_or_else(|| Arc::new(Limiter::new(limit)))
        });
        Ok(Self {
            requires_certificates: tls.as_ref().is_some_and(|tls| tls.client_auth.requires()),
            verifies_clients: tls
                .as_ref()
                .is_some_and(|tls| tls.client_auth.verifies() && tls.client_auth.requires()),
            checks_names: tls.as_ref().is_some_and(|tls| tls.allowed_sans.is_some()),
            tls: tls.as_ref().map(tls::server_config).transpose()?,
            headers,
            users,
            limiter,
        })
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Refuses settings that take away a lock that these have: a file that is being written can be empty, or end
    /// anywhere.
    fn check_locks(&self, next: &Self) -> Result<(), Fault> {
        let what = if self.tls.is_some() && next.tls.is_none() {
            "TLS cannot be turned off"
        } else if !self.users.is_empty() && next.users.is_empty() {
            "authentication cannot be turned off"
        } else if self.verifies_clients && !next.verifies_clients {
            "the check of client certificates cannot be turned off"
        } else if self.requires_certificates && !next.requires_certificates {
            "client certificates cannot be made optional"
        } else if self.checks_names && !next.checks_names {
            "the check of the names in client certificates cannot be turned off"
        } else {
            return Ok(());
        };
        Err(Fault::new(0, Problem::Unlocks { what }))
    }
}

/// In one line, for the log.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls.is_some() { "TLS" } else { "plain HTTP" })?;
        if self.verifies_clients {
            f.write_str(", client certificates required")?;
        } else if self.requires_certificates {
            f.write_str(", client certificates of any issuer required")?;
        }
        match self.users.hashes().len() {
            0 => f.write_str(", no authentication")?,
            1 => f.write_str(", 1 user")?,
            users => write!(f, ", {users} users")?,
        }
        if let Some(limiter) = &self.limiter {
            let limit = limiter.limit();
            write!(f, ", a request per {:?} with a burst of {}", limit.interval, limit.burst)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({self})")
    }
}

#[cfg(test)]
mod tests;
