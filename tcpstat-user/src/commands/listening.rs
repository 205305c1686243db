//! Flags that say where `serve` listens, and how many requests it answers at a time.

use clap::{ArgAction, Args, ValueHint};

use super::{contradiction, values};
use crate::web::{self, ListenAddress, Listener, PassedSockets, TelemetryPath};

#[derive(Args, Clone, Debug)]
pub(super) struct ListeningArgs {
    /// Address to listen on: HOST:PORT, :PORT for all addresses, or unix:/PATH for a Unix socket; can be repeated
    #[arg(
        long = "web.listen-address",
        default_value = ":10048",
        value_name = "ADDRESS",
        env = "TCPSTAT_WEB_LISTEN_ADDRESS",
        value_delimiter = ',',
        value_parser = values::parsed::<ListenAddress>,
        help_heading = "Listening"
    )]
    listen_address: Vec<ListenAddress>,

    /// Listen on the sockets that systemd passes (ListenStream= in a .socket unit), and on no other address
    #[arg(
        long = "web.systemd-socket",
        env = "TCPSTAT_WEB_SYSTEMD_SOCKET",
        value_name = "YES|NO",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        default_value = "no",
        default_missing_value = "yes",
        value_parser = values::switch,
        help_heading = "Listening"
    )]
    systemd_socket: bool,

    /// Path under which the metrics are served
    #[arg(
        long = "web.telemetry-path",
        default_value = "/metrics",
        value_name = "PATH",
        env = "TCPSTAT_WEB_TELEMETRY_PATH",
        value_parser = values::parsed::<TelemetryPath>,
        value_hint = ValueHint::Other,
        help_heading = "Listening"
    )]
    pub(super) telemetry_path: TelemetryPath,

    /// Most requests that are answered at a time, streams not counted; one more waits up to 1 s, then gets 503. 0 for as
    /// many as connections
    #[arg(
        long = "web.max-requests",
        default_value = "40",
        value_name = "NUMBER",
        env = "TCPSTAT_WEB_MAX_REQUESTS",
        value_parser = values::number::<u16>(0..=u16::MAX),
        help_heading = "Listening"
    )]
    max_requests: u16,
}

impl ListeningArgs {
    /// The sockets that systemd has passed, if they are to be used.
    pub(super) fn passed(&self) -> anyhow::Result<Option<PassedSockets>> {
        Ok(self.systemd_socket.then(PassedSockets::take).transpose()?)
    }

    /// Whether it listens at a name that the system resolves, or at the name of an interface.
    pub(super) fn has_name(&self) -> bool {
        self.listen_address.iter().any(ListenAddress::has_name)
    }

    /// Whether it listens on the file of a Unix socket.
    pub(super) fn has_unix_socket(&self) -> bool {
        self.listen_address.iter().any(|address| matches!(address, ListenAddress::Unix(_)))
    }

    /// The sockets of `passed`; without it, one or more for each address.
    pub(super) async fn listeners(
        &self,
        passed: Option<PassedSockets>,
    ) -> anyhow::Result<Vec<Listener>> {
        if let Some(passed) = passed {
            return Ok(passed.listeners()?);
        }
        let mut listeners = Vec::new();
        for (index, address) in self.listen_address.iter().enumerate() {
            let bound = web::bind(address).await;
            if bound.is_err() && self.listen_address[..index].contains(address) {
                let remedy =
                    format!("--web.listen-address {address}: it is given twice: leave one out");
                return Err(contradiction(&remedy).into());
            }
            listeners.extend(bound?);
        }
        Ok(listeners)
    }

    /// Maximum number of answers at a time; `None` for no limit but that of connections.
    pub(super) fn max_requests(&self) -> Option<usize> {
        (self.max_requests > 0).then(|| self.max_requests.into())
    }
}
