//! `tcpstat print`: the files that are part of the binary.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{values, write_out};

pub(super) const EXAMPLES: &str = "Examples:
  tcpstat print unit > /etc/systemd/system/tcpstat.service
  tcpstat print dashboard > tcpstat.json
  tcpstat print dashboard --fleet > tcpstat-fleet.json
  tcpstat print rules --runbook-url https://runbooks/tcpstat > /etc/prometheus/tcpstat.rules.yml
  tcpstat print alertmanager > /etc/prometheus/alertmanager.yml
  tcpstat print alertmanager --template > /etc/prometheus/tcpstat.tmpl";

const UNIT_EXAMPLES: &str = "Examples:
  tcpstat print unit > /etc/systemd/system/tcpstat.service";

const DASHBOARD_EXAMPLES: &str = "Examples:
  tcpstat print dashboard > tcpstat.json
  tcpstat print dashboard --fleet > tcpstat-fleet.json";

const RULES_EXAMPLES: &str = "Examples:
  tcpstat print rules > /etc/prometheus/tcpstat.rules.yml
  tcpstat print rules --runbook-url https://runbooks/tcpstat > /etc/prometheus/tcpstat.rules.yml";

const ALERTMANAGER_EXAMPLES: &str = "Examples:
  tcpstat print alertmanager > /etc/prometheus/alertmanager.yml
  tcpstat print alertmanager --template > /etc/prometheus/tcpstat.tmpl";

const RUNBOOK_EXAMPLES: &str = "Examples:
  tcpstat print runbook > tcpstat-runbook.md";

/// Flags of `tcpstat print`.
#[derive(Args, Debug)]
pub(super) struct PrintArgs {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// A systemd unit: an unprivileged service with two capabilities
    #[command(after_long_help = UNIT_EXAMPLES)]
    Unit,
    /// A dashboard for Grafana 10 or later, to import or to provision
    #[command(after_long_help = DASHBOARD_EXAMPLES)]
    Dashboard(DashboardArgs),
    /// Recording and alerting rules for Prometheus
    #[command(after_long_help = RULES_EXAMPLES)]
    Rules(RulesArgs),
    /// A configuration for Alertmanager: one message for one fault on many hosts
    #[command(after_long_help = ALERTMANAGER_EXAMPLES)]
    Alertmanager(AlertmanagerArgs),
    /// The runbook: what each alert means, how to confirm it, and what to do
    #[command(after_long_help = RUNBOOK_EXAMPLES)]
    Runbook,
}

#[derive(Args, Debug)]
struct DashboardArgs {
    /// The dashboard of all hosts together, whose tables lead to that of each host
    #[arg(long)]
    fleet: bool,
}

#[derive(Args, Debug)]
struct AlertmanagerArgs {
    /// The template of the messages, which the configuration reads from tcpstat.tmpl
    #[arg(long)]
    template: bool,
}

#[derive(Args, Debug)]
struct RulesArgs {
    /// URL of the runbook; the runbook_url of an alert is this URL, #, and the name of the alert in lower
    /// case [default: the path /runbook of the tcpstat that the alert is about]
    #[arg(
        long = "runbook-url",
        value_name = "URL",
        env = "TCPSTAT_RUNBOOK_URL",
        value_parser = values::runbook_url
    )]
    runbook_url: Option<String>,
}

const UNIT: &str = include_str!("../../assets/packaging/tcpstat.service");
const DASHBOARD: &str = include_str!("../../assets/dashboard.json");
const FLEET_DASHBOARD: &str = include_str!("../../assets/fleet-dashboard.json");
const ALERTMANAGER: &str = include_str!("../../assets/alertmanager.yml");
const ALERTMANAGER_TEMPLATE: &str = include_str!("../../assets/alertmanager.tmpl");
const RULES: &str = include_str!("../../assets/rules.yml");
const RUNBOOK: &str = include_str!("../../docs/runbook.md");

/// The key before the URL of the runbook.
const RUNBOOK_KEY: &str = "runbook_url: ";
/// The character before the section in it.
const SECTION: char = '#';

pub(super) fn run(args: &PrintArgs) -> anyhow::Result<ExitCode> {
    let text = match &args.kind {
        Kind::Unit => UNIT,
        Kind::Dashboard(DashboardArgs { fleet: false }) => DASHBOARD,
        Kind::Dashboard(DashboardArgs { fleet: true }) => FLEET_DASHBOARD,
        Kind::Alertmanager(AlertmanagerArgs { template: false }) => ALERTMANAGER,
        Kind::Alertmanager(AlertmanagerArgs { template: true }) => ALERTMANAGER_TEMPLATE,
        Kind::Rules(RulesArgs { runbook_url: Some(url) }) => &with_runbook(RULES, url),
        Kind::Rules(RulesArgs { runbook_url: None }) => RULES,
        Kind::Runbook => RUNBOOK,
    };
    write_out(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Replaces each URL of the runbook in `rules` by `url`.
fn with_runbook(rules: &str, url: &str) -> String {
    let mut result = String::with_capacity(rules.len());
    for line in rules.lines() {
        let parts = line.split_once(RUNBOOK_KEY).zip(line.rsplit_once(SECTION));
        match parts {
            Some(((indent, _), (_, section))) => {
                let section = section.trim_end_matches('\'');
                result.extend([indent, RUNBOOK_KEY, url, "#", section, "\n"]);
            }
            None => result.extend([line, "\n"]),
        }
    }
    result
}
