//! Certificates of an authority that lives as long as a test, made by the openssl command.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::binary::output;

/// Without it, openssl adds the extensions of an authority to every certificate.
const CONFIG: &str = "[req]\ndistinguished_name = names\n[names]\n";

/// An authority, and a directory for certificates `NAME.crt` and keys `NAME.key`; its own are `ca.crt` and `ca.key`.
#[derive(Debug)]
pub struct Authority(TempDir);

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// Fails with what openssl writes.
    pub fn new() -> Result<Self> {
        let authority = Self(tempfile::tempdir()?);
        fs::write(authority.path("openssl.cnf"), CONFIG)?;
        authority.request("ca", &["-addext", "basicConstraints=critical,CA:TRUE"])?;
        Ok(authority)
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.0.path()
    }

    /// The path of a file in the directory.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Issues a certificate to `name` with the alternative names `names`, such as `DNS:localhost,IP:127.0.0.1`.
    ///
    /// # Errors
    /// Fails with what openssl writes.
    pub fn issue(&self, name: &str, names: &str) -> Result<()> {
        let [ca, key] = ["ca.crt", "ca.key"].map(|file| self.path(file).into_os_string());
        let names = format!("subjectAltName={names}");
        let args =
            ["-CA".as_ref(), &*ca, "-CAkey".as_ref(), &*key, "-addext".as_ref(), names.as_ref()];
        self.request(name, &args)
    }

    /// Makes a certificate of `name` that no authority has issued.
    ///
    /// # Errors
    /// Fails with what openssl writes.
    pub fn self_signed(&self, name: &str) -> Result<()> {
        self.request(name, &["-addext", &format!("subjectAltName=DNS:{name}")])
    }

    /// Issues a certificate of X.509 version 1 to `name`, as `openssl x509 -req` does without extensions.
    ///
    /// # Errors
    /// Fails with what openssl writes.
    pub fn issue_version_1(&self, name: &str) -> Result<()> {
        let request = self.path(&format!("{name}.csr"));
        self.make(name, "csr", &[] as &[&str])?;
        let mut openssl = Command::new("openssl");
        openssl.args(["x509", "-req", "-CAcreateserial", "-days", "2", "-in"]).arg(request);
        openssl.arg("-CA").arg(self.path("ca.crt")).arg("-CAkey").arg(self.path("ca.key"));
        openssl.arg("-out").arg(self.path(&format!("{name}.crt")));
        run(&mut openssl)
    }

    fn request(&self, name: &str, args: &[impl AsRef<OsStr>]) -> Result<()> {
        let args: Vec<_> = args.iter().map(AsRef::as_ref).collect();
        self.make(
            name,
            "crt",
            &[&[OsStr::new("-x509"), OsStr::new("-days"), OsStr::new("2")], &*args].concat(),
        )
    }

    /// Makes a key and `NAME.KIND`: without `-x509` a request for a certificate.
    fn make(&self, name: &str, kind: &str, args: &[impl AsRef<OsStr>]) -> Result<()> {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        openssl.args(["-nodes", "-subj", &format!("/CN={name}"), "-config"]);
        openssl.arg(self.path("openssl.cnf"));
        openssl.arg("-keyout").arg(self.path(&format!("{name}.key")));
        openssl.arg("-out").arg(self.path(&format!("{name}.{kind}")));
        run(openssl.args(args))
    }
}

fn run(openssl: &mut Command) -> Result<()> {
    let run = output(openssl)?;
    ensure!(run.status == Some(0), "{openssl:?}: {run:?}");
    Ok(())
}
