//! A Prometheus that scrapes through TLS with a client certificate and a password.

use anyhow::{Context, Result};
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::prometheus::Prometheus;
use tcpstat_tests::web_config::{TLS, USER, authority, write};

use crate::scene::DEADLINE;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![prometheus_scrapes_over_mutual_tls_with_a_password_and_is_refused_without]
}

fn prometheus_scrapes_over_mutual_tls_with_a_password_and_is_refused_without(
    _: &Namespace,
) -> Result<()> {
    let authority = authority()?;
    authority.issue("client", "DNS:prometheus")?;
    let text = format!(
        "{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: \
         [prometheus]\n{USER}"
    );
    let file = format!("--web.config.file={}", write(&authority, &text)?.display());
    let exporter = Options::default().args([file]).start_locked()?;
    let [ca, certificate, key] = ["ca.crt", "client.crt", "client.key"]
        .map(|file| authority.path(file).display().to_string());
    let own = format!("cert_file: {certificate}, key_file: {key}");
    let user = "basic_auth: {username: alice, password: secret}";
    let job = |name: &str, tls: &str, user: &str| {
        format!(
            "
  - job_name: {name}
    scheme: https
    tls_config: {{ca_file: {ca}, {tls}}}
    static_configs:
      - targets: ['{}']
    {user}",
            exporter.address()
        )
    };
    let config = format!(
        "\
global: {{scrape_interval: 500ms, scrape_timeout: 500ms}}
scrape_configs:{}{}{}
",
        job("both", &own, user),
        job("certificate", &own, ""),
        job("password", "insecure_skip_verify: false", user)
    );
    let prometheus = Prometheus::start(&config, "")?;
    let up = prometheus.await_query("up", DEADLINE, |answer| {
        let is_up = answer.iter().any(|series| series.value > 0.0);
        is_up && answer.len() == 3
    });
    for series in up.with_context(|| prometheus.log())? {
        let job = &series.labels["job"];
        assert_eq!(series.value > 0.0, job == "both", "{job}: {}", exporter.log());
    }
    Ok(())
}
