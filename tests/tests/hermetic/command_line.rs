//! What the command line takes, and what it says to what it does not take.

use anyhow::Result;
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::{Test, hermetic_test};

use crate::web::anywhere;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        hermetic_test("a_flag_that_makes_no_sense_stops_the_start_and_is_named", nonsense_is_named),
        hermetic_test("every_flag_has_an_environment_variable", flags_have_variables),
        hermetic_test("an_address_in_use_is_named", an_address_in_use_is_named),
        hermetic_test("the_version_is_told", the_version_is_told),
    ]
}

fn nonsense_is_named() -> Result<()> {
    let cases: [(&[&str], &str); 9] = [
        (&["serve", "--snapshot-interval=often"], "--snapshot-interval"),
        (&["--snapshot-interval=often"], "--snapshot-interval"),
        (&["serve", "--snapshot-interval=1ms"], "at least 100ms"),
        (&["serve", "--snapshot-interval=1year"], "at most 1day"),
        (&["serve", "--web.listen-address=10048"], "HOST:PORT"),
        (&["serve", "--web.telemetry-path=metrics"], "begins with /"),
        (&["serve", "--web.telemetry-path=/-/ready"], "are taken"),
        (&["serve", "--tracer=kprobe"], "auto, btf, tracepoint, off"),
        (&["count"], "count"),
    ];
    for (args, remedy) in cases {
        let run = tcpstat(args)?;
        assert_eq!(run.status, Some(2), "{args:?}: {run:?}");
        assert!(run.stderr.starts_with("error: "), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(remedy), "{args:?}: {}", run.stderr);
    }
    Ok(())
}

fn flags_have_variables() -> Result<()> {
    let help = tcpstat(["serve", "--help"])?.stdout;
    let own_flags = help
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with("--") || line.starts_with("-h") || line.starts_with("-V"));
    let flags: Vec<_> = own_flags.filter(|line| !line.contains("--help")).collect();
    assert!(flags.len() >= 7, "{flags:?}");
    for flag in flags {
        let name = flag.split_whitespace().next().unwrap_or_default().trim_start_matches("--");
        let variable = format!("TCPSTAT_{}", name.to_uppercase().replace(['.', '-'], "_"));
        assert!(help.contains(&format!("[env: {variable}=")), "{flag}: no {variable} in {help}");
    }

    let mut exporter = anywhere("debian-7.2")?
        .env("TCPSTAT_WEB_TELEMETRY_PATH", "/numbers")
        .env("TCPSTAT_NO_COMPAT_NODE_EXPORTER", "true")
        .start()?;
    assert_eq!(exporter.get("/metrics")?.status, 404);
    let body = exporter.get("/numbers")?.body;
    assert!(body.contains("tcpstat_connections{"));
    assert!(!body.contains("node_tcp_connection_states"));
    Ok(())
}

fn an_address_in_use_is_named() -> Result<()> {
    let exporter = anywhere("empty")?.start()?;
    let address = exporter.address().to_string();
    let run = tcpstat(["serve", "--tracer=off", "--web.listen-address", &address])?;
    assert_eq!(run.status, Some(1));
    let line = format!("tcpstat: listening on {address}: Address already in use (os error 98)\n");
    assert_eq!(run.stderr, line);
    Ok(())
}

fn the_version_is_told() -> Result<()> {
    let version = tcpstat(["--version"])?.stdout;
    assert_eq!(version, format!("tcpstat {}\n", env!("CARGO_PKG_VERSION")));
    // `Options` starts `serve`; without a command it is the same.
    let _: Options = anywhere("empty")?;
    Ok(())
}
