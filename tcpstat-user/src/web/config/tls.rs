//! `tls_server_config`: certificate and key, which clients need certificates, versions, suites, and curves.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use rustls::{CipherSuite, NamedGroup};

use super::{
    error::{Fault, Problem, is_pem},
    section::Section,
    yaml::{Node, Value},
};

/// All keys that the section can have.
const KEYS: [&str; 13] = [
    "cert",
    "cert_file",
    "key",
    "key_file",
    "client_ca",
    "client_ca_file",
    "client_auth_type",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
    "prefer_server_cipher_suites",
    "curve_preferences",
];

/// The suites of TLS 1.2, in Go's names, which are those of IANA.
const SUITES: [(&str, CipherSuite); 6] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

/// The suites of TLS 1.3. They can be listed, but are always allowed, as in Go.
const SUITES_OF_1_3: [&str; 3] =
    ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

const CURVES: [(&str, NamedGroup); 3] = [
    ("CurveP256", NamedGroup::secp256r1),
    ("CurveP384", NamedGroup::secp384r1),
    ("X25519", NamedGroup::X25519),
];

/// A file, or what is in it.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::web) enum Content {
    Inline(String),
    File(PathBuf),
}

/// Where something in PEM is, and the key that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::web) struct Source {
    pub(in crate::web) key: &'static str,
    pub(in crate::web) line: usize,
    pub(in crate::web) content: Content,
}

/// Which clients need a certificate: Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum ClientAuth {
    None,
    /// It is requested, and not verified.
    Request,
    /// It is required, and not verified.
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

impl ClientAuth {
    /// In the order of the documentation, with a name that exporter-toolkit had earlier.
    const WORDS: [(&'static str, Self); 6] = [
        ("NoClientCert", Self::None),
        ("RequestClientCert", Self::Request),
        ("RequireAnyClientCert", Self::RequireAny),
        ("VerifyClientCertIfGiven", Self::VerifyIfGiven),
        ("RequireAndVerifyClientCert", Self::RequireAndVerify),
        ("RequireClientCert", Self::RequireAny),
    ];

    /// Whether a client without a certificate is refused.
    pub(in crate::web) fn requires(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }

    /// Whether the certificate must come from one of the authorities.
    pub(in crate::web) fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::web) enum Version {
    Tls12,
    Tls13,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::web) struct TlsSettings {
    pub(in crate::web) certificate: Source,
    pub(in crate::web) key: Source,
    pub(in crate::web) client_auth: ClientAuth,
    /// Present if `client_auth` verifies.
    pub(in crate::web) client_ca: Option<Source>,
    /// Names of which a client certificate must have one; only if `client_auth` requires one.
    pub(in crate::web) allowed_sans: Option<Vec<String>>,
    pub(in crate::web) min: Version,
    pub(in crate::web) max: Version,
    /// The suites of TLS 1.2 in their order; `None` for all.
    pub(in crate::web) suites: Option<Vec<CipherSuite>>,
    /// Whether the order of `suites` decides, not the client's.
    pub(in crate::web) prefer_own_suites: bool,
    /// In their order; empty for all.
    pub(in crate::web) curves: Vec<NamedGroup>,
}

impl TlsSettings {
    /// `None` if the section is empty, which means plain HTTP.
    pub(super) fn parse(node: Node, directory: &Path) -> Result<Option<Self>, Fault> {
        let line = node.line;
        if matches!(&node.value, Value::Mapping(entries) if entries.is_empty()) {
            return Ok(None);
        }
        let mut section = Section::new("tls_server_config", node, &KEYS)?;
        let mut required = |inline, file| {
            source(&mut section, inline, file, directory)?
                .ok_or_else(|| Fault::new(line, Problem::Missing { inline, file }))
        };
        let certificate = required("cert", "cert_file")?;
        let key = required("key", "key_file")?;
        let client_ca = source(&mut section, "client_ca", "client_ca_file", directory)?;
        let client_auth = client_auth(&mut section, client_ca.as_ref())?;
        let allowed_sans = allowed_sans(&mut section, client_auth)?;
        let max = version(&mut section, "max_version", Version::Tls13)?;
        let min = version(&mut section, "min_version", Version::Tls12)?;
        if min > max {
            return Err(Fault::new(line, Problem::Versions { min: min.word(), max: max.word() }));
        }
        Ok(Some(Self {
            certificate,
            key,
            client_auth,
            client_ca,
            allowed_sans,
            min,
            max,
            suites: suites(&mut section)?,
            prefer_own_suites: section.boolean("prefer_server_cipher_suites", true)?,
            curves: curves(&mut section)?,
        }))
    }

    /// The files that it names.
    pub(in crate::web) fn files(&self) -> impl Iterator<Item = &Path> {
        let sources = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref()];
        sources.into_iter().flatten().filter_map(|source| match &source.content {
            Content::File(path) => Some(path.as_path()),
            Content::Inline(_) => None,
        })
    }
}

impl Version {
    fn word(self) -> &'static str {
        match self {
            Self::Tls12 => "TLS12",
            Self::Tls13 => "TLS13",
        }
    }
}

/// Without the text, which can be a private key.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The value of `inline` or of `file`.
fn source(
    section: &mut Section,
    inline: &'static str,
    file: &'static str,
    directory: &Path,
) -> Result<Option<Source>, Fault> {
    match (section.text(inline)?, section.text(file)?) {
        (None, None) => Ok(None),
        (Some((text, line)), None) => {
            Ok(Some(Source { key: inline, line, content: Content::Inline(text) }))
        }
        (None, Some((path, line))) if is_pem(&path) => {
            Err(Fault::new(line, Problem::TextForPath { inline, file }))
        }
        (None, Some((path, line))) => {
            Ok(Some(Source { key: file, line, content: Content::File(directory.join(path)) }))
        }
        (Some(_), Some((_, line))) => Err(Fault::new(line, Problem::Both { inline, file })),
    }
}

fn client_auth(section: &mut Section, ca: Option<&Source>) -> Result<ClientAuth, Fault> {
    const KEY: &str = "client_auth_type";
    let (word, auth, line) = match section.text(KEY)? {
        None => ("NoClientCert", ClientAuth::None, 0),
        Some((value, line)) => {
            let found = ClientAuth::WORDS.into_iter().find(|(word, _)| *word == value);
            let (word, auth) = found.ok_or_else(|| {
                let choices = ClientAuth::WORDS[..5].iter().map(|(word, _)| *word);
                let choices = choices.collect::<Vec<_>>().join(", ");
                Fault::new(line, Problem::NotAChoice { key: KEY, value, choices })
            })?;
            (word, auth, line)
        }
    };
    match ca {
        Some(ca) if auth == ClientAuth::None => {
            Err(Fault::new(ca.line, Problem::CaWithoutVerification { key: ca.key }))
        }
        None if auth.verifies() => {
            Err(Fault::new(line, Problem::VerificationWithoutCa { value: word }))
        }
        _ => Ok(auth),
    }
}

fn allowed_sans(section: &mut Section, auth: ClientAuth) -> Result<Option<Vec<String>>, Fault> {
    const KEY: &str = "client_allowed_sans";
    let line = section.line(KEY);
    let Some(sans) = section.texts(KEY)? else { return Ok(None) };
    if !auth.requires() {
        return Err(Fault::new(line, Problem::SansWithoutCertificate));
    }
    if sans.is_empty() {
        return Err(Fault::new(line, Problem::EmptyList { key: KEY }));
    }
    Ok(Some(sans.into_iter().map(|(san, _)| san).collect()))
}

fn version(section: &mut Section, key: &'static str, default: Version) -> Result<Version, Fault> {
    let Some((value, line)) = section.text(key)? else { return Ok(default) };
    match value.as_str() {
        "TLS12" => Ok(Version::Tls12),
        "TLS13" => Ok(Version::Tls13),
        "TLS10" | "TLS11" | "SSL30" => {
            let remedy = "write TLS12 or TLS13";
            Err(Fault::new(line, Problem::Refused { key, value, remedy }))
        }
        _ => {
            let choices = "TLS12, TLS13".to_owned();
            Err(Fault::new(line, Problem::NotAChoice { key, value, choices }))
        }
    }
}

fn suites(section: &mut Section) -> Result<Option<Vec<CipherSuite>>, Fault> {
    const KEY: &str = "cipher_suites";
    let Some(names) = section.texts(KEY)?.filter(|names| !names.is_empty()) else {
        return Ok(None);
    };
    let mut suites = Vec::new();
    for (value, line) in names {
        if SUITES_OF_1_3.contains(&value.as_str()) {
            continue;
        }
        let Some((_, suite)) = SUITES.into_iter().find(|(name, _)| *name == value) else {
            return Err(Fault::new(line, refused_suite(KEY, value)));
        };
        suites.push(suite);
    }
    Ok(Some(suites))
}

/// The problem with a suite that cannot be used. Go has suites with CBC, RC4, 3DES, or without ephemeral keys.
fn refused_suite(key: &'static str, value: String) -> Problem {
    let parts = ["_CBC_", "_RC4_", "_3DES_", "TLS_RSA_WITH_"];
    if value.starts_with("TLS_") && parts.iter().any(|part| value.contains(part)) {
        let remedy = "remove it; suites with ECDHE and GCM or CHACHA20 are available";
        return Problem::Refused { key, value, remedy };
    }
    let names = SUITES.iter().map(|(name, _)| *name).chain(SUITES_OF_1_3);
    Problem::NotAChoice { key, value, choices: names.collect::<Vec<_>>().join(", ") }
}

fn curves(section: &mut Section) -> Result<Vec<NamedGroup>, Fault> {
    const KEY: &str = "curve_preferences";
    let curve = |(value, line): (String, usize)| {
        let found = CURVES.into_iter().find(|(name, _)| *name == value);
        found.map(|(_, curve)| curve).ok_or_else(|| {
            let choices = CURVES.map(|(name, _)| name).join(", ");
            Fault::new(line, Problem::NotAChoice { key: KEY, value, choices })
        })
    };
    section.texts(KEY)?.unwrap_or_default().into_iter().map(curve).collect()
}
