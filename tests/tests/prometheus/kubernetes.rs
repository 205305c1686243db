//! The manifests for Kubernetes, validated with its schemas. There is no cluster; `charts.rs` compares what kubectl
//! builds of them with the Helm chart.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use serde_json::{Value, json};
use tcpstat_tests::binary::{Run, output, path_from, printed, source};
use tcpstat_tests::harness::Test;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::{hermetic_tests, kernel_tests};
use tempfile::NamedTempFile;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![the_daemonset_grants_enough_for_either_program];
    tests.extend(hermetic_tests![
        kubernetes_accepts_the_manifests,
        a_manifest_with_an_unknown_field_is_refused,
        every_manifest_is_in_a_kustomization,
        the_rules_are_valid_in_a_prometheus_rule,
        the_daemonset_has_two_capabilities_and_a_read_only_root,
        the_pod_monitor_finds_the_pods_of_the_daemonset
    ]);
    tests
}

pub(crate) const KUBERNETES: &str = "tcpstat-user/assets/packaging/kubernetes";
const KUSTOMIZATION: &str = "kustomization.yaml";

fn folders() -> Result<[PathBuf; 2]> {
    Ok([source(KUBERNETES)?.join("base"), source(KUBERNETES)?.join("prometheus-operator")])
}

pub(crate) fn read(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}

fn manifest(path: &str) -> Result<Value> {
    read(&source(KUBERNETES)?.join(path))
}

/// The files that the kustomization of `folder` lists, including those of the folders that it lists.
fn listed(folder: &Path) -> Result<BTreeSet<PathBuf>> {
    let kustomization = read(&folder.join(KUSTOMIZATION))?;
    let mut files = BTreeSet::new();
    for resource in kustomization["resources"].as_array().context("no resources")? {
        let path = folder.join(resource.as_str().context("no path")?).canonicalize()?;
        if path.is_dir() {
            files.extend(listed(&path)?);
        } else {
            files.insert(path);
        }
    }
    Ok(files)
}

fn all_listed() -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for folder in folders()? {
        files.extend(listed(&folder)?);
    }
    Ok(files)
}

pub(crate) fn validate(files: impl IntoIterator<Item = PathBuf>) -> Result<Run> {
    let mut command = Command::new(path_from("TCPSTAT_SCHEMAS_PYTHON")?);
    output(command.arg(source("tests/schemas/kubernetes.py")?).args(files))
}

fn kubernetes_accepts_the_manifests() -> Result<()> {
    let run = validate(all_listed()?)?;
    ensure!(run.status == Some(0) && run.stdout.is_empty(), "{}{}", run.stdout, run.stderr);
    Ok(())
}

/// Without this, the test above could not fail.
fn a_manifest_with_an_unknown_field_is_refused() -> Result<()> {
    let mut files = Vec::new();
    for (path, right, wrong) in [
        ("base/daemonset.yaml", "readOnlyRootFilesystem", "readOnlyRootFileSystem"),
        ("base/daemonset.yaml", "hostNetwork: true", "hostNetwork: 'yes'"),
        ("prometheus-operator/podmonitor.yaml", "targetLabel", "targetlabel"),
        ("prometheus-operator/podmonitor.yaml", "port: metrics", "port: [metrics]"),
    ] {
        let text = fs::read_to_string(source(KUBERNETES)?.join(path))?;
        ensure!(text.contains(right), "{path} has no {right}");
        let file = NamedTempFile::with_suffix(".yaml")?;
        fs::write(file.path(), text.replace(right, wrong))?;
        files.push((file, wrong));
    }
    let run = validate(files.iter().map(|(file, _)| file.path().to_owned()))?;
    assert_eq!(run.status, Some(1), "{run:?}");
    for (file, wrong) in &files {
        let fault = format!("{}: ", file.path().display());
        assert!(run.stdout.contains(&fault), "{wrong} is accepted: {}", run.stdout);
    }
    Ok(())
}

fn every_manifest_is_in_a_kustomization() -> Result<()> {
    let listed = all_listed()?;
    for folder in folders()? {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path().canonicalize()?;
            assert!(path.ends_with(KUSTOMIZATION) || listed.contains(&path), "{}", path.display());
        }
    }
    Ok(())
}

/// Assembled as in the README.
fn the_rules_are_valid_in_a_prometheus_rule() -> Result<()> {
    let rules: Value = serde_saphyr::from_str(&printed(&["rules"])?)?;
    let manifest = json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "tcpstat", "namespace": "tcpstat"},
        "spec": rules,
    });
    let file = NamedTempFile::with_suffix(".json")?;
    fs::write(file.path(), manifest.to_string())?;
    let run = validate([file.path().to_owned()])?;
    ensure!(run.status == Some(0), "{}{}", run.stdout, run.stderr);
    Ok(())
}

fn the_daemonset_has_two_capabilities_and_a_read_only_root() -> Result<()> {
    let daemonset = manifest("base/daemonset.yaml")?;
    let pod = &daemonset["spec"]["template"]["spec"];
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["hostPID"], true);
    assert_eq!(pod["containers"][0]["args"], json!(["serve", "--netns", "all"]));
    assert_eq!(pod["containers"].as_array().map(Vec::len), Some(1));
    let context = &pod["containers"][0]["securityContext"];
    let capabilities = json!({"drop": ["ALL"], "add": ["BPF", "PERFMON"]});
    assert_eq!(context["capabilities"], capabilities);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["privileged"], false);
    for mount in pod["containers"][0]["volumeMounts"].as_array().context("no mounts")? {
        assert_eq!(mount["readOnly"], true, "{mount}");
    }
    let volumes = pod["volumes"].as_array().context("no volumes")?;
    let paths: Vec<_> = volumes.iter().map(|volume| &volume["hostPath"]["path"]).collect();
    assert_eq!(paths, ["/sys/kernel/tracing", "/var/log/pods"]);
    Ok(())
}

/// As a container runtime starts root, with the capabilities that the manifest adds and no way to gain any.
fn the_daemonset_grants_enough_for_either_program(_: &Namespace) -> Result<()> {
    let daemonset = manifest("base/daemonset.yaml")?;
    let container = &daemonset["spec"]["template"]["spec"]["containers"][0];
    let added = container["securityContext"]["capabilities"]["add"].as_array();
    // By number: an older setpriv does not know their names.
    let number = |name: &Value| match name.as_str() {
        Some("PERFMON") => Ok("+cap_38"),
        Some("BPF") => Ok("+cap_39"),
        _ => bail!("{name} is not one of the two"),
    };
    let added: Vec<_> = added.context("none")?.iter().map(number).collect::<Result<_>>()?;
    // Before 5.11 maps are charged to it.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=0", "--regid=0", "--clear-groups", "--no-new-privs", "--inh-caps=-all"])
        .arg(format!("--bounding-set=-all,{}", added.join(",")))
        .arg("--")
        .arg(path_from("TCPSTAT_BIN")?)
        .arg("check");
    let run = output(&mut command)?;
    ensure!(run.status == Some(0), "{run:?}");
    for program in ["tp_btf", "tracepoint"] {
        let line = run.stdout.lines().find(|line| line.starts_with(program));
        ensure!(line.is_some_and(|line| line.ends_with("runs")), "{}", run.stdout);
    }
    Ok(())
}

fn the_pod_monitor_finds_the_pods_of_the_daemonset() -> Result<()> {
    let daemonset = manifest("base/daemonset.yaml")?;
    let monitor = manifest("prometheus-operator/podmonitor.yaml")?;
    let template = &daemonset["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    assert_eq!(daemonset["spec"]["selector"]["matchLabels"], *labels);
    assert_eq!(monitor["spec"]["selector"]["matchLabels"], *labels);
    assert_eq!(monitor["metadata"]["namespace"], daemonset["metadata"]["namespace"]);
    let label = monitor["spec"]["jobLabel"].as_str().context("no jobLabel")?;
    assert_eq!(labels[label], "tcpstat");
    let container = &template["spec"]["containers"][0];
    let port = &monitor["spec"]["podMetricsEndpoints"][0]["port"];
    assert_eq!(container["ports"][0]["name"], *port);
    assert_eq!(container["ports"][0]["containerPort"], 10048);
    assert_eq!(container["env"][0]["value"], ":10048");
    Ok(())
}
