//! Web configurations for `--web.config.file`, with the certificates and users of a test.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::certificates::Authority;

/// The user `alice` with the password `secret`, at the lowest cost of bcrypt.
pub const USER: &str =
    "basic_auth_users:\n  alice: $2b$04$CCCCCCCCCCCCCCCCCCCCC.4K7lyz.nKATbsiu/RcZjqWyDNnj87qG\n";

/// The same user with the password `other`.
pub const USER_WITH_OTHER_PASSWORD: &str =
    "basic_auth_users:\n  alice: $2b$04$DDDDDDDDDDDDDDDDDDDDDOQA16Brg4ePtC94Yb98o8p8yuqUVpWb6\n";

/// The user `alice` with the password `secret`, and a hash that takes a processor for a few tenths of a second.
pub const USER_OF_SLOW_HASH: &str =
    "basic_auth_users:\n  alice: $2b$12$CCCCCCCCCCCCCCCCCCCCC.a1EUcOw0CgFYsXsu36AAoUgQuzw6ore\n";

/// Certificate and key of `server`, relative to the file. More keys of the section can follow.
pub const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

/// An authority with a certificate for a server on the loopback: `server.crt` and `server.key`.
///
/// # Errors
/// As [`Authority::issue`].
pub fn authority() -> Result<Authority> {
    let authority = Authority::new()?;
    authority.issue("server", "DNS:localhost,IP:127.0.0.1")?;
    Ok(authority)
}

/// Writes `text` to `web.yml` beside the certificates, and returns its path.
///
/// # Errors
/// Fails if it cannot be written.
pub fn write(authority: &Authority, text: &str) -> Result<PathBuf> {
    let path = authority.path("web.yml");
    fs::write(&path, text)?;
    Ok(path)
}
