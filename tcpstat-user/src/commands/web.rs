//! Flags that say who may use the port of `serve`, and what it serves.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};
use tokio::sync::watch;

use super::{restrictions::Restrictions, values};
use crate::kernel::Kept;
use crate::web::{self, Access, AllowedHosts, ConfigFile, HostName, TelemetryPath};

#[derive(Args, Clone, Debug)]
pub(super) struct WebArgs {
    /// File with TLS, basic authentication, headers, and a rate limit, in the format of Prometheus' exporter-toolkit.
    /// It is read again when it changes
    #[arg(
        long = "web.config.file",
        value_name = "PATH",
        env = "TCPSTAT_WEB_CONFIG_FILE",
        value_parser = values::path(),
        value_hint = ValueHint::FilePath,
        help_heading = "Access"
    )]
    config_file: Option<PathBuf>,

    /// Host names under which page and API are served, besides IP addresses and localhost; can be repeated. Without it,
    /// under every name
    #[arg(
        long = "web.allowed-hosts",
        value_name = "NAME",
        env = "TCPSTAT_WEB_ALLOWED_HOSTS",
        value_delimiter = ',',
        value_parser = values::parsed::<HostName>,
        value_hint = ValueHint::Hostname,
        help_heading = "Access"
    )]
    allowed_hosts: Vec<HostName>,

    /// Serve metrics and health only: no page, no runbook, no API
    #[arg(
        long = "no-web.page",
        env = "TCPSTAT_NO_WEB_PAGE",
        value_name = "YES|NO",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        default_value = "no",
        default_missing_value = "yes",
        value_parser = values::switch,
        help_heading = "Access"
    )]
    no_page: bool,
}

impl WebArgs {
    /// Whether SIGHUP asks for a file to be read again.
    pub(super) fn has_config(&self) -> bool {
        self.config_file.is_some()
    }

    pub(super) fn page(&self) -> bool {
        !self.no_page
    }

    /// Reads the configuration, if there is one, with the capabilities with which it can be read again later.
    pub(super) fn config(
        &self,
        restrictions: &mut Restrictions,
    ) -> anyhow::Result<Option<ConfigFile>> {
        let Some(path) = &self.config_file else { return Ok(None) };
        let (more, what) = (Kept::DAC_READ_SEARCH, "the files of --web.config.file");
        Ok(Some(restrictions.attempt(more, what, || ConfigFile::open(path.clone()))?))
    }

    /// Lets requests pass by the settings of `config`.
    pub(super) fn access(&self, config: Option<&ConfigFile>, path: &TelemetryPath) -> Access {
        let exempt = web::paths_of_machines(path);
        let hosts = AllowedHosts::new(self.allowed_hosts.clone(), exempt);
        // Without a sender the settings stay the default ones.
        let settings = config
            .map_or_else(|| watch::channel(std::sync::Arc::default()).1, ConfigFile::settings);
        Access::new(settings, hosts)
    }
}
