//! Requests by the curl command, which speaks TLS.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::binary::output;

/// A request. Without a certificate authority no certificate of a server is accepted.
#[derive(Clone, Debug, Default)]
pub struct Curl {
    args: Vec<OsString>,
}

/// What curl reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The exit status of curl: 0 if there is an answer.
    pub exit: Option<i32>,
    /// The status code of the answer; 0 if there is none.
    pub status: u16,
    /// Head and body.
    pub text: String,
}

impl Curl {
    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Accepts the certificates that the authority in `file` has issued.
    #[must_use]
    pub fn authority(self, file: &Path) -> Self {
        self.args(["--cacert".into(), file.as_os_str().to_owned()])
    }

    /// Sends a certificate, and proves that it has the key.
    #[must_use]
    pub fn certificate(self, certificate: &Path, key: &Path) -> Self {
        let [certificate, key] = [certificate, key].map(|path| path.as_os_str().to_owned());
        self.args(["--cert".into(), certificate, "--key".into(), key])
    }

    /// Sends a user name and a password.
    #[must_use]
    pub fn user(self, user: &str, password: &str) -> Self {
        self.args(["--user".to_owned(), format!("{user}:{password}")])
    }

    /// `GET url`.
    ///
    /// # Errors
    /// Fails if there is no curl, or the answer is not text.
    pub fn get(&self, url: &str) -> Result<Answer> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--include", "--max-time", "60", "--noproxy", "*"]);
        curl.args(["--write-out", "\n%{http_code}"]).args(&self.args).arg(url);
        let run = output(&mut curl)?;
        let (text, status) = run.stdout.rsplit_once('\n').with_context(|| format!("{run:?}"))?;
        let text = if run.status == Some(0) { text } else { &run.stderr };
        Ok(Answer { exit: run.status, status: status.parse()?, text: text.to_owned() })
    }
}
