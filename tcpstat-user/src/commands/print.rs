//! `tcpstat print`: the files that go with the binary, which carries them.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::write_out;

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat print unit > /etc/systemd/system/tcpstat.service
  tcpstat print dashboard > tcpstat.json
  tcpstat print rules --runbook-url https://runbooks/tcpstat > /etc/prometheus/tcpstat.rules.yml";

/// Flags of `tcpstat print`.
#[derive(Args, Debug)]
pub(super) struct PrintArgs {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// The systemd unit: an unprivileged service with two capabilities
    Unit,
    /// The dashboard for Grafana 10 or later, to be imported or provisioned
    Dashboard,
    /// Recording and alerting rules for Prometheus
    Rules(RulesArgs),
    /// The runbook: what each alert means, how to confirm it, what to do
    Runbook,
}

#[derive(Args, Debug)]
struct RulesArgs {
    /// Where people find the runbook: each alert's runbook_url is this, # and the alert's name
    #[arg(
        long = "runbook-url",
        default_value = RUNBOOK_PATH,
        value_name = "URL",
        env = "TCPSTAT_RUNBOOK_URL"
    )]
    runbook_url: String,
}

const UNIT: &str = include_str!("../../assets/packaging/tcpstat.service");
const DASHBOARD: &str = include_str!("../../assets/dashboard.json");
const RULES: &str = include_str!("../../assets/rules.yml");
const RUNBOOK: &str = include_str!("../../docs/runbook.md");

/// The runbook's path in the repository, which [`RULES`] names.
const RUNBOOK_PATH: &str = "tcpstat-user/docs/runbook.md";

/// Prints to standard output.
pub(super) fn run(args: &PrintArgs) -> anyhow::Result<ExitCode> {
    let text = match &args.kind {
        Kind::Unit => UNIT,
        Kind::Dashboard => DASHBOARD,
        Kind::Rules(args) => &RULES.replace(RUNBOOK_PATH, &args.runbook_url),
        Kind::Runbook => RUNBOOK,
    };
    write_out(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
