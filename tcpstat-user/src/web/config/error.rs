//! What is wrong with a web configuration: file, line, key, value, and what to do.

use std::{borrow::Cow, io, path::PathBuf};

use thiserror::Error;

use crate::text::{self, plain};

/// Why a web configuration cannot be used: one line, whatever is in the file.
#[derive(Debug, Error)]
#[error("{}", plain(&format!("--web.config.file {}: {}{problem}", path.display(), place(*line)), text::MESSAGE))]
pub(crate) struct WebConfigError {
    pub(super) path: PathBuf,
    /// 0 if the error has no line.
    pub(super) line: usize,
    pub(super) problem: Problem,
}

fn place(line: usize) -> String {
    if line == 0 { String::new() } else { format!("line {line}: ") }
}

/// A problem and its line, without the path of the file.
#[derive(Debug)]
pub(in crate::web) struct Fault {
    /// 0 if the problem has no line.
    pub(super) line: usize,
    pub(super) problem: Problem,
}

impl Fault {
    pub(in crate::web) fn new(line: usize, problem: Problem) -> Self {
        Self { line, problem }
    }
}

/// What is wrong. Passwords, hashes, and keys are never quoted.
#[derive(Debug, Error)]
pub(in crate::web) enum Problem {
    #[error("{cause}: {}", remedy(cause.kind()))]
    Unreadable { cause: io::Error },
    #[error("{bytes} bytes: a web configuration has at most {most}")]
    TooLarge { bytes: u64, most: u64 },
    #[error("it is not UTF-8: write it as plain text")]
    NotUtf8,
    #[error("it is not YAML: {}", plain(cause, text::MESSAGE))]
    Syntax { cause: String },
    #[error("a second document begins here: one file has one document; remove the line ---")]
    SecondDocument,
    #[error(
        "anchors (&), aliases (*), and tags (!) are not read here: write each value out, in quotes if it begins with one of these"
    )]
    Reference,
    #[error("a key must be text")]
    KeyIsNoText,
    #[error("values are nested too deeply: no key needs that")]
    TooDeep,
    #[error("{}: no such key in {section}: it has {known}", shown(key))]
    UnknownKey { section: &'static str, key: String, known: String },
    #[error("{}: this key is already on line {first}: remove one of them", shown(key))]
    DuplicateKey { key: String, first: usize },
    #[error("{}: this must be {wanted}, not {found}", shown(key))]
    WrongKind { key: String, wanted: &'static str, found: &'static str },
    #[error("{key}: {}: write true or false", shown(value))]
    NotABoolean { key: &'static str, value: String },
    #[error("{key}: {}: write one of {choices}", shown(value))]
    NotAChoice { key: &'static str, value: String, choices: String },
    #[error(
        "{key}: {}: rustls does not implement it, because it is not safe: {remedy}",
        shown(value)
    )]
    Refused { key: &'static str, value: String, remedy: &'static str },
    #[error(
        "min_version {min} is above max_version {max}: no client could connect; remove one of them"
    )]
    Versions { min: &'static str, max: &'static str },
    #[error(
        "tls_server_config has neither {inline} nor {file}: add one of them, or remove tls_server_config for plain HTTP"
    )]
    Missing { inline: &'static str, file: &'static str },
    #[error("both {inline} and {file} are set: remove one of them")]
    Both { inline: &'static str, file: &'static str },
    #[error("{file}: this is a text in PEM, not a path: write it as {inline}")]
    TextForPath { inline: &'static str, file: &'static str },
    #[error(
        "{key}: client_auth_type is NoClientCert, so no client certificate is requested: set it to RequireAndVerifyClientCert, or remove {key}"
    )]
    CaWithoutVerification { key: &'static str },
    #[error(
        "client_auth_type: {value} needs client_ca_file or client_ca: certificates of clients are not compared with the system's authorities"
    )]
    VerificationWithoutCa { value: &'static str },
    #[error(
        "client_allowed_sans needs client_auth_type RequireAndVerifyClientCert or RequireAnyClientCert: with the others a client may connect without a certificate"
    )]
    SansWithoutCertificate,
    #[error("{key}: the list is empty, so no client could connect: add a value, or remove the key")]
    EmptyList { key: &'static str },
    #[error("headers: {}: this header cannot be set; the headers are {known}", shown(header))]
    UnknownHeader { header: String, known: String },
    #[error(
        "headers: {header}: {}: not a value of a header: only printable ASCII is sent",
        shown(value)
    )]
    HeaderValue { header: String, value: String },
    #[error(
        "basic_auth_users: {}: a user name is not empty and has no colon: write NAME: HASH, with a space after the colon",
        // A password can follow.
        shown(user.split(':').next().unwrap_or_default())
    )]
    UserName { user: String },
    #[error(
        "basic_auth_users: {}: this is not a bcrypt hash: make one with `htpasswd -nBC 10 USER`, and write what comes after the colon",
        shown(user)
    )]
    NotBcrypt { user: String },
    #[error(
        "basic_auth_users: {}: the bcrypt cost {cost} is above {most}, and would take longer than clients wait: make a hash with `htpasswd -nBC 10 USER`",
        shown(user)
    )]
    Cost { user: String, cost: u32, most: u32 },
    #[error(
        "{key}: {}: write a duration with units, such as 100ms, 1s, or 1m30s, of at most 100 years; 0 for no limit",
        shown(value)
    )]
    Duration { key: &'static str, value: String },
    #[error(
        "burst: {}: write a whole number of requests from 1 to 1000000; 0 would refuse every request",
        shown(value)
    )]
    Burst { value: String },
    #[error(
        "rate_limit has an interval but no burst: add how many requests may come at once, such as burst: 20"
    )]
    NoBurst,
    #[error("{key}: {}: {cause}: {}", path.display(), remedy(cause.kind()))]
    File { key: &'static str, path: PathBuf, cause: io::Error },
    #[error("{key}: {from}: {cause}")]
    Pem { key: &'static str, from: String, cause: String },
    #[error(
        "{key}: {from}: it does not belong to the certificate of {certificate}: replace both together"
    )]
    OtherKey { key: &'static str, from: String, certificate: &'static str },
    #[error("tls_server_config: {0}")]
    Tls(String),
    #[error(
        "{what} while tcpstat runs: a half-written file must not unlock it; restart tcpstat to apply this"
    )]
    Unlocks { what: &'static str },
}

/// Empty if none is known.
fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => {
            "create it, or correct the path; paths in the file are relative to its directory"
        }
        io::ErrorKind::PermissionDenied => {
            "let the user that runs tcpstat read it (LoadCredential= of systemd, or a group)"
        }
        _ => "correct the path",
    }
}

/// As [`plain`]; a hash, and a text that can be a private key, are left out, wherever they were written.
fn shown(value: &str) -> Cow<'_, str> {
    if value.starts_with("$2") {
        return Cow::Borrowed("(a bcrypt hash)");
    }
    if is_pem(value) {
        return Cow::Borrowed("(a text in PEM)");
    }
    plain(value, text::VALUE)
}

pub(super) fn is_pem(value: &str) -> bool {
    value.contains("-----BEGIN")
}
