//! `--web.config.file`: how changes of the file, and of certificates, take effect.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tcpstat_tests::certificates::Authority;
use tcpstat_tests::curl::Curl;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tcpstat_tests::web_config::{TLS, USER, USER_WITH_OTHER_PASSWORD, authority, write};

use crate::web::anywhere;
use crate::web_config::{curl, exporter, flag, url};

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        a_changed_file_is_read_again_and_a_bad_one_changes_nothing,
        a_changed_certificate_is_served,
        a_secret_of_kubernetes_that_changes_is_read_again_as_a_whole
    ]
}

/// The sample of that name in an exposition.
fn value(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok())
}

const SUCCESSFUL: &str = "tcpstat_web_config_last_reload_successful";
const SUCCESS_TIME: &str = "tcpstat_web_config_last_reload_success_timestamp_seconds";

fn a_changed_file_is_read_again_and_a_bad_one_changes_nothing() -> Result<()> {
    let authority = authority()?;
    let exporter = exporter(&authority, USER)?;
    let metrics = |password: &str| {
        Curl::default().user("alice", password).get(&url("http", &exporter, "/metrics"))
    };
    let wait_for = |password: &str, successful: f64| {
        wait_until("the new settings", DEADLINE, || {
            let answer = metrics(password)?;
            let is_done = value(&answer.text, SUCCESSFUL) == Some(successful);
            Ok(if is_done { Progress::Done(answer.text) } else { Progress::NotYet(answer.text) })
        })
    };
    let first = value(&wait_for("secret", 1.0)?, SUCCESS_TIME);
    ensure!(first.is_some_and(|time| time > 1e9), "{first:?}");

    write(&authority, "basic_auth_users:\n  alice: secret\n")?;
    let text = wait_for("secret", 0.0)?;
    assert_eq!(value(&text, SUCCESS_TIME), first);
    exporter.wait_log("the settings before stay in force")?;

    write(&authority, USER_WITH_OTHER_PASSWORD)?;
    let second = value(&wait_for("other", 1.0)?, SUCCESS_TIME);
    ensure!(second > first, "{first:?} {second:?}");
    assert_eq!(metrics("secret")?.status, 401);

    // A file that is being written can be empty for a moment.
    write(&authority, "")?;
    wait_for("other", 0.0)?;
    exporter.wait_log("authentication cannot be turned off")?;
    assert_eq!(metrics("secret")?.status, 401);

    // At once, without waiting for a check.
    write(&authority, USER)?;
    exporter.signal(Signal::SIGHUP)?;
    exporter.wait_log("SIGHUP: reading --web.config.file again")?;
    wait_for("secret", 1.0)?;
    assert_eq!(metrics("other")?.status, 401);
    Ok(())
}

fn a_changed_certificate_is_served() -> Result<()> {
    let (first, second) = (authority()?, authority()?);
    let exporter = exporter(&first, TLS)?;
    let url = url("https", &exporter, "/-/healthy");
    assert_eq!(curl(&first).get(&url)?.status, 200);
    assert_eq!(curl(&second).get(&url)?.status, 0);
    for file in ["server.crt", "server.key"] {
        // As tools that renew certificates replace them.
        fs::copy(second.path(file), first.path("new"))?;
        fs::rename(first.path("new"), first.path(file))?;
    }
    wait_until("the new certificate", DEADLINE, || {
        let answer = curl(&second).get(&url)?;
        Ok(if answer.status == 200 { Progress::Done(()) } else { Progress::NotYet(answer.text) })
    })
}

/// A volume of Kubernetes: each file is a link through `..data`, a link to a folder that is replaced at once.
fn a_secret_of_kubernetes_that_changes_is_read_again_as_a_whole() -> Result<()> {
    let authorities = [authority()?, authority()?];
    let volume = tempfile::tempdir()?;
    let files = ["web.yml", "server.crt", "server.key"];
    let show = |version: usize| -> Result<()> {
        write(&authorities[version], &format!("{TLS}{USER}"))?;
        let folder = volume.path().join(format!("..{version}"));
        fs::create_dir(&folder)?;
        for file in files {
            fs::copy(authorities[version].path(file), folder.join(file))?;
        }
        symlink(&folder, volume.path().join("..data_tmp"))?;
        Ok(fs::rename(volume.path().join("..data_tmp"), volume.path().join("..data"))?)
    };
    show(0)?;
    for file in files {
        symlink(Path::new("..data").join(file), volume.path().join(file))?;
    }
    let exporter =
        anywhere("debian-6.1")?.args([flag(&volume.path().join("web.yml"))]).start_locked()?;
    let status = |authority: &Authority| -> Result<u16> {
        let curl = curl(authority).user("alice", "secret");
        Ok(curl.get(&url("https", &exporter, "/metrics"))?.status)
    };
    assert_eq!((status(&authorities[0])?, status(&authorities[1])?), (200, 0));
    show(1)?;
    fs::remove_dir_all(volume.path().join("..0"))?;
    wait_until("the new certificate", DEADLINE, || {
        let status = status(&authorities[1])?;
        Ok(if status == 200 { Progress::Done(()) } else { Progress::NotYet(status.to_string()) })
    })?;
    let log = exporter.log();
    ensure!(!log.contains("the settings before stay in force"), "{log}");
    Ok(())
}
