//! Flags that say how `top` reaches a running exporter.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, ValueHint, parser::ValueSource};

use super::{contradiction, counting::CountingArgs, incomplete, values};
use crate::top::{Connection, ExporterAddress};

#[derive(Args, Clone, Debug)]
pub(super) struct ConnectArgs {
    /// Show a running exporter instead of counting on this host: http://HOST:PORT, https://HOST:PORT, or unix:/PATH
    #[arg(
        long = "connect",
        value_name = "URL",
        env = "TCPSTAT_CONNECT",
        value_parser = values::parsed::<ExporterAddress>,
        help_heading = "Running exporter"
    )]
    connect: Option<ExporterAddress>,

    /// User name for --connect; its password is in --connect.password-file
    #[arg(
        long = "connect.user",
        value_name = "NAME",
        env = "TCPSTAT_CONNECT_USER",
        value_parser = user,
        help_heading = "Running exporter"
    )]
    user: Option<String>,

    /// File whose first line is the password of --connect.user
    #[arg(
        long = "connect.password-file",
        value_name = "PATH",
        env = "TCPSTAT_CONNECT_PASSWORD_FILE",
        value_parser = values::path(),
        value_hint = ValueHint::FilePath,
        help_heading = "Running exporter"
    )]
    password_file: Option<PathBuf>,

    /// File with the certificates of the authorities that the exporter's certificate may come from, in PEM; without it
    /// those of the system
    #[arg(
        long = "connect.ca-file",
        value_name = "PATH",
        env = "TCPSTAT_CONNECT_CA_FILE",
        value_parser = values::path(),
        value_hint = ValueHint::FilePath,
        help_heading = "Running exporter"
    )]
    ca_file: Option<PathBuf>,

    /// File with the client certificate for an exporter that asks for one, in PEM
    #[arg(
        long = "connect.cert-file",
        value_name = "PATH",
        env = "TCPSTAT_CONNECT_CERT_FILE",
        value_parser = values::path(),
        value_hint = ValueHint::FilePath,
        help_heading = "Running exporter"
    )]
    cert_file: Option<PathBuf>,

    /// File with the private key of --connect.cert-file, in PEM
    #[arg(
        long = "connect.key-file",
        value_name = "PATH",
        env = "TCPSTAT_CONNECT_KEY_FILE",
        value_parser = values::path(),
        value_hint = ValueHint::FilePath,
        help_heading = "Running exporter"
    )]
    key_file: Option<PathBuf>,
}

/// Checks the arguments of `top`: with `--connect` it does not count. Variables may be those of an exporter beside it, and
/// have no effect then.
///
/// # Errors
/// If the command line has a flag of [`CountingArgs`] too.
pub(super) fn refuse_counting(top: &ArgMatches) -> Result<(), clap::Error> {
    let connect = match top.value_source("connect") {
        None => return Ok(()),
        Some(ValueSource::EnvVariable) => "TCPSTAT_CONNECT",
        Some(_) => "--connect",
    };
    let counting = CountingArgs::augment_args(Command::new("top"));
    let is_given =
        |arg: &&Arg| top.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    match counting.get_arguments().find(is_given).and_then(Arg::get_long) {
        Some(flag) => Err(contradiction(&format!(
            "--{flag}: no effect with {connect}, which shows what that exporter counts: start the exporter with it, or leave \
             one of the two out"
        ))),
        None => Ok(()),
    }
}

impl ConnectArgs {
    /// `None` without `--connect`.
    ///
    /// # Errors
    /// If a flag lacks the one that it belongs to.
    pub(super) fn connection(&self) -> Result<Option<Connection>, clap::Error> {
        let Self { connect, user, password_file, ca_file, cert_file, key_file } = self;
        let given = [
            ("--connect.user", user.is_some(), "--connect.password-file", password_file.is_some()),
            ("--connect.password-file", password_file.is_some(), "--connect.user", user.is_some()),
            ("--connect.cert-file", cert_file.is_some(), "--connect.key-file", key_file.is_some()),
            ("--connect.key-file", key_file.is_some(), "--connect.cert-file", cert_file.is_some()),
            ("--connect.user", user.is_some(), "--connect", connect.is_some()),
            ("--connect.cert-file", cert_file.is_some(), "--connect", connect.is_some()),
            ("--connect.ca-file", ca_file.is_some(), "--connect", connect.is_some()),
        ];
        if let Some((flag, _, other, _)) = given.iter().find(|(_, has, _, other)| *has && !other) {
            let remedy = format!("{flag}: needs {other} too: give both, or none of them");
            return Err(incomplete(&remedy));
        }
        Ok(connect.clone().map(|address| Connection {
            address,
            user: user.clone().zip(password_file.clone()),
            authorities: ca_file.clone(),
            certificate: cert_file.clone().zip(key_file.clone()),
        }))
    }
}

/// RFC 7617 allows no colon.
fn user(text: &str) -> Result<String, String> {
    if text.contains(':') {
        return Err(
            "a user name has no colon; the password is in --connect.password-file".to_owned()
        );
    }
    Ok(text.to_owned())
}
