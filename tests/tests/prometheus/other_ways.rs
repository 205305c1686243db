//! The other ways to run tcpstat: the compose file, which runs what the DaemonSet runs, and the playbook of Ansible. There is
//! no Docker and no Ansible.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpstat_tests::binary::{fixture, output, path_from, source, tcpstat};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tempfile::NamedTempFile;

use crate::charts::{CHART, object, rendered};
use crate::kubernetes::{KUBERNETES, read};

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        the_compose_file_is_the_daemonset,
        a_compose_file_with_an_unknown_field_is_refused,
        the_playbook_knows_the_variables_paths_and_metrics_of_tcpstat,
        all_ways_have_the_image_and_the_version_of_the_chart
    ]
}

const COMPOSE: &str = "tcpstat-user/assets/packaging/compose.yaml";
const PLAYBOOK: &str = "tcpstat-user/assets/packaging/ansible/tcpstat.yml";

fn the_compose_file_is_the_daemonset() -> Result<()> {
    let mut python = Command::new(path_from("TCPSTAT_SCHEMAS_PYTHON")?);
    let run = output(python.arg(source("tests/schemas/compose.py")?).arg(source(COMPOSE)?))?;
    ensure!(run.status == Some(0), "{}{}", run.stdout, run.stderr);

    let compose = read(&source(COMPOSE)?)?;
    let service = &compose["services"]["tcpstat"];
    let daemonset = object(&rendered(&[])?, "DaemonSet")?;
    let pod = &daemonset["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let context = &container["securityContext"];
    assert_eq!(service["image"], container["image"]);
    assert_eq!(service["command"], container["args"]);
    let variables = container["env"].as_array().context("no env")?;
    let variables: Value = variables
        .iter()
        .map(|variable| Some((variable["name"].as_str()?.to_owned(), variable["value"].clone())))
        .collect::<Option<serde_json::Map<_, _>>>()
        .context("no name")?
        .into();
    assert_eq!(service["environment"], variables);
    assert_eq!((&service["network_mode"], &pod["hostNetwork"]), (&json!("host"), &json!(true)));
    assert_eq!((&service["pid"], &pod["hostPID"]), (&json!("host"), &json!(true)));
    assert_eq!(service["cap_add"], context["capabilities"]["add"]);
    assert_eq!(service["cap_drop"], context["capabilities"]["drop"]);
    assert_eq!(service["read_only"], context["readOnlyRootFilesystem"]);
    assert_eq!(service["user"], format!("{}:{}", context["runAsUser"], context["runAsGroup"]));
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]));
    assert_eq!(service.get("privileged"), None);
    let memory = container["resources"]["limits"]["memory"].as_str().context("no limit")?;
    assert_eq!(service["mem_limit"], memory.replace("Mi", "m"));

    let volumes = service["volumes"].as_array().context("no volumes")?;
    let found: Vec<_> = volumes
        .iter()
        .map(|volume| (&volume["source"], &volume["target"], &volume["read_only"]))
        .collect();
    let mounts = container["volumeMounts"].as_array().context("no mounts")?.iter();
    let paths = pod["volumes"].as_array().context("no volumes")?.iter();
    // The names of Kubernetes' pods, which are not on a host of Docker.
    let expected: Vec<_> = mounts
        .zip(paths)
        .filter(|(mount, _)| mount["name"] != "pods")
        .map(|(mount, path)| (&path["hostPath"]["path"], &mount["mountPath"], &mount["readOnly"]))
        .collect();
    assert_eq!(found, expected);
    Ok(())
}

/// Without this, the test above would not show that the compose file is valid.
fn a_compose_file_with_an_unknown_field_is_refused() -> Result<()> {
    let text = fs::read_to_string(source(COMPOSE)?)?;
    for (right, wrong) in [("cap_drop", "capdrop"), ("target:", "to:"), ("512m", "512q")] {
        ensure!(text.contains(right), "no {right}");
        let file = NamedTempFile::with_suffix(".yaml")?;
        fs::write(file.path(), text.replace(right, wrong))?;
        let mut python = Command::new(path_from("TCPSTAT_SCHEMAS_PYTHON")?);
        let run = output(python.arg(source("tests/schemas/compose.py")?).arg(file.path()))?;
        assert_eq!(run.status, Some(1), "{wrong}: {}{}", run.stdout, run.stderr);
    }
    Ok(())
}

fn the_playbook_knows_the_variables_paths_and_metrics_of_tcpstat() -> Result<()> {
    let help = tcpstat(["serve", "--help"])?.stdout;
    let playbook = read(&source(PLAYBOOK)?)?;
    let play = &playbook[0];
    let settings = play["vars"]["tcpstat_settings"].as_object().context("no settings")?;
    for name in settings.keys() {
        assert!(help.contains(&format!("[env: {name}]")), "{name}");
    }
    let tasks = play["tasks"].as_array().context("no tasks")?;
    let urls = tasks.iter().filter_map(|task| task["ansible.builtin.uri"]["url"].as_str());
    let urls: Vec<_> = urls.collect();
    assert_eq!(urls, ["{{ tcpstat_url }}/-/ready", "{{ tcpstat_url }}/metrics?collect[]=tracer"]);
    // Without them no host that is locked could be rolled out.
    for task in tasks.iter().map(|task| &task["ansible.builtin.uri"]).filter(|uri| uri.is_object())
    {
        for (field, variable) in [
            ("url_username", "user"),
            ("url_password", "password"),
            ("ca_path", "ca"),
            ("client_cert", "client_cert"),
            ("client_key", "client_key"),
        ] {
            assert_eq!(task[field], format!("{{{{ tcpstat_{variable} | default(omit) }}}}"));
        }
    }
    // The line that the last condition looks for; in the fixture no program counts.
    let mut conditions = tasks.iter().filter_map(|task| task["failed_when"].as_str());
    let condition = conditions.next_back().context("no condition")?;
    let line = condition.split_once("(?m)^").and_then(|(_, rest)| rest.split_once(" 1$"));
    let (name, _) = line.with_context(|| format!("{condition} looks for no value 1"))?;
    let metrics = fs::read_to_string(fixture("metrics/host-6.18.prom")?)?;
    assert!(metrics.lines().any(|metric| metric == format!("{name} 0")), "{name}");
    Ok(())
}

fn all_ways_have_the_image_and_the_version_of_the_chart() -> Result<()> {
    let chart = read(&source(CHART)?.join("Chart.yaml"))?;
    assert_eq!(chart["version"], chart["appVersion"]);
    let version = chart["version"].as_str().context("no version")?;
    assert_eq!(tcpstat(["--version"])?.stdout, format!("tcpstat {version}\n"));
    let image = format!("ghcr.io/tcpstat/tcpstat:{version}");
    let daemonset = read(&source(KUBERNETES)?.join("base/daemonset.yaml"))?;
    assert_eq!(daemonset["spec"]["template"]["spec"]["containers"][0]["image"], image);
    assert_eq!(read(&source(COMPOSE)?)?["services"]["tcpstat"]["image"], image);
    let playbook = read(&source(PLAYBOOK)?)?;
    assert_eq!(playbook[0]["vars"]["tcpstat_deb"], format!("tcpstat_{version}_amd64.deb"));
    Ok(())
}
