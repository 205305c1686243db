//! The Helm chart, rendered by helm. With its default values it is the manifests that kubectl builds. There is no cluster.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpstat_tests::binary::{Run, fixture, output, path_from, printed, source, tcpstat};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tempfile::{NamedTempFile, TempDir};

use crate::kubernetes::{KUBERNETES, read, validate};

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        the_chart_is_the_manifests,
        kubernetes_accepts_the_chart_with_every_value,
        the_fixture_has_another_value_for_each_key_of_the_chart,
        the_chart_refuses_what_makes_no_sense,
        tcpstat_takes_the_arguments_of_the_chart,
        the_podmonitor_asks_where_tcpstat_serves_the_metrics,
        the_memory_limit_has_room_for_the_counters_of_512_cpus_twice,
        the_chart_has_both_dashboards_where_the_sidecar_of_grafana_looks,
        the_rules_of_the_chart_link_to_the_port_of_the_node,
        the_command_of_the_readme_makes_the_same_rules
    ]
}

pub(crate) const CHART: &str = "tcpstat-user/assets/packaging/helm/tcpstat";

/// Below the fixtures.
const EVERY_VALUE: &str = "chart/every-value.yaml";

/// The labels by which Helm finds its own objects.
const OF_HELM: [&str; 4] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];

fn helm(command: &str, args: &[&str]) -> Result<Run> {
    let home = TempDir::new()?;
    let name: &[&str] = if command == "template" { &["tcpstat"] } else { &[] };
    output(
        Command::new(path_from("TCPSTAT_HELM")?)
            .env("HELM_CACHE_HOME", home.path())
            .env("HELM_CONFIG_HOME", home.path())
            .env("HELM_DATA_HOME", home.path())
            .arg(command)
            .args(name)
            .arg(source(CHART)?)
            .args(["--namespace", "tcpstat"])
            .args(args),
    )
}

pub(crate) fn rendered(args: &[&str]) -> Result<String> {
    let run = helm("template", args)?;
    ensure!(run.status == Some(0), "{args:?}: {}", run.stderr);
    Ok(run.stdout)
}

fn with_every_value() -> Result<String> {
    let values = fixture(EVERY_VALUE)?.display().to_string();
    rendered(&["--values", &values])
}

/// The objects in `text`, by kind and name, without Helm's labels.
fn objects(text: &str) -> Result<BTreeMap<String, Value>> {
    let mut objects = BTreeMap::new();
    for mut object in serde_saphyr::from_multiple::<Value>(text)? {
        remove_labels(&mut object);
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        ensure!(objects.insert(name.clone(), object).is_none(), "twice: {name}");
    }
    Ok(objects)
}

fn remove_labels(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OF_HELM.contains(&name.as_str()));
            fields.values_mut().for_each(remove_labels);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_labels),
        _ => {}
    }
}

/// The object of this kind in `text`.
pub(crate) fn object(text: &str, kind: &str) -> Result<Value> {
    let mut objects = objects(text)?.into_values();
    objects.find(|object| object["kind"] == kind).with_context(|| format!("no {kind}"))
}

/// What `kubectl apply -k` applies.
fn built(folder: &str) -> Result<BTreeMap<String, Value>> {
    let mut kubectl = Command::new(path_from("TCPSTAT_KUBECTL")?);
    let run = output(kubectl.arg("kustomize").arg(source(KUBERNETES)?.join(folder)))?;
    ensure!(run.status == Some(0), "{folder}: {}", run.stderr);
    objects(&run.stdout)
}

fn the_chart_is_the_manifests() -> Result<()> {
    for (args, folder) in
        [(&[][..], "base"), (&["--set", "podMonitor.enabled=true"], "prometheus-operator")]
    {
        let mut manifests = built(folder)?;
        // Helm makes the namespace itself, and the notes of the chart name the label.
        let namespace = manifests.remove(r#""Namespace" "tcpstat""#);
        ensure!(namespace.is_some(), "{folder} has no namespace");
        assert_eq!(objects(&rendered(args)?)?, manifests, "{folder}");
    }
    Ok(())
}

fn kubernetes_accepts_the_chart_with_every_value() -> Result<()> {
    let values = fixture(EVERY_VALUE)?.display().to_string();
    let lint = helm("lint", &["--strict", "--values", &values])?;
    ensure!(lint.status == Some(0), "{}{}", lint.stdout, lint.stderr);
    let every_value = with_every_value()?;
    let mut files = Vec::new();
    for text in [&every_value, &rendered(&["--set", "web.existingSecret=web"])?] {
        let file = NamedTempFile::with_suffix(".yaml")?;
        fs::write(file.path(), text)?;
        files.push(file);
    }
    let run = validate(files.iter().map(|file| file.path().to_owned()))?;
    ensure!(run.status == Some(0) && run.stdout.is_empty(), "{}{}", run.stdout, run.stderr);
    let objects = objects(&every_value)?.into_values();
    let kinds: Vec<_> = objects.map(|object| object["kind"].clone()).collect();
    assert_eq!(
        kinds,
        [
            "ConfigMap",
            "ConfigMap",
            "DaemonSet",
            "NetworkPolicy",
            "PodMonitor",
            "PrometheusRule",
            "Secret",
            "Service",
            "ServiceAccount"
        ]
    );
    Ok(())
}

/// Without this, a value could be missing in the tests with every value. In what the chart passes on as it is
/// (resources, say), any difference will do.
fn the_fixture_has_another_value_for_each_key_of_the_chart() -> Result<()> {
    let values = read(&source(CHART)?.join("values.yaml"))?;
    let others = read(&fixture(EVERY_VALUE)?)?;
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(source(CHART)?.join("values.schema.json"))?)?;
    for (key, value) in values.as_object().context("no values")? {
        let other = others.get(key).with_context(|| format!("{EVERY_VALUE} has no {key}"))?;
        assert_ne!(value, other, "{key}");
        let own = &schema["properties"][key];
        assert!(own.is_object(), "the schema has no {key}");
        for field in own["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
            let is_there = value.get(field).is_none() || other.get(field).is_some();
            assert!(is_there, "{EVERY_VALUE} has no {key}.{field}");
        }
    }
    Ok(())
}

/// Each with what the error names.
fn the_chart_refuses_what_makes_no_sense() -> Result<()> {
    for (args, named) in [
        ("netn=all", "netn"),
        ("netns=/run/netns/blue", "/netns"),
        ("web.prot=1", "prot"),
        ("web.port=70000", "/web/port"),
        ("web.port=80", "NET_BIND_SERVICE"),
        ("updateStrategy.type=Recreate", "/updateStrategy/type"),
        ("podMonitor.interval=15 s", "/podMonitor/interval"),
        ("scopesMax=0", "/scopesMax"),
        ("cgroups={a[b]}", "/cgroups/0"),
        ("ports={http}", "/ports/0"),
        // The chart has no dnsConfig, without which Kubernetes refuses it.
        ("dnsPolicy=None", "/dnsPolicy"),
        ("dashboards.labels.grafana_dashboard=1", "/dashboards/labels"),
        ("dashboards.enabled=yes", "/dashboards/enabled"),
        ("image.digest=sha256:12", "/image/digest"),
        ("networkPolicy.enabled=true", "hostNetwork: true"),
        ("web.config=a,web.existingSecret=b", "remove one of them"),
    ] {
        let run = helm("template", &["--set", args])?;
        ensure!(run.status == Some(1) && run.stderr.contains(named), "{args}: {}", run.stderr);
    }
    Ok(())
}

/// `--help` is the last argument: tcpstat has read those before it.
fn tcpstat_takes_the_arguments_of_the_chart() -> Result<()> {
    let all = [
        "--set",
        "scopesMax=512",
        "--set",
        "cgroups={*.service}",
        "--set",
        "ports={443,8000-8010}",
    ];
    for text in [rendered(&[])?, rendered(&all)?, with_every_value()?] {
        let daemonset = object(&text, "DaemonSet")?;
        let container = &daemonset["spec"]["template"]["spec"]["containers"][0];
        let args = container["args"].as_array().context("no args")?;
        let args = args.iter().map(|arg| arg.as_str().context("no text"));
        let mut args = args.collect::<Result<Vec<_>>>()?;
        args.push("--help");
        let run = tcpstat(&args)?;
        ensure!(run.status == Some(0) && run.stderr.is_empty(), "{args:?}: {}", run.stderr);
    }
    Ok(())
}

fn the_podmonitor_asks_where_tcpstat_serves_the_metrics() -> Result<()> {
    let variable = r#"extraEnv=[{"name":"TCPSTAT_WEB_TELEMETRY_PATH","value":"/tcp"}]"#;
    let args = r#"extraArgs=["--web.telemetry-path","/sockets"]"#;
    for (values, path) in [
        (&[][..], "/metrics"),
        (&[variable], "/tcp"),
        (&[args], "/sockets"),
        (&[r#"extraArgs=["--dwell=established","--web.telemetry-path=/sockets"]"#], "/sockets"),
        (&[variable, args], "/sockets"),
    ] {
        let mut words = vec!["--set", "podMonitor.enabled=true"];
        words.extend(values.iter().flat_map(|value| ["--set-json", value]));
        let monitor = object(&rendered(&words)?, "PodMonitor")?;
        assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["path"], path, "{values:?}");
    }
    Ok(())
}

/// The rows of namespaces and of cgroups as docs/costs.md computes them, for two programs at a time, and what tcpstat takes without them.
fn the_memory_limit_has_room_for_the_counters_of_512_cpus_twice() -> Result<()> {
    const SCOPES_MAX: u64 = 256;
    const CPUS: u64 = 512;
    const WITHOUT_COUNTERS_MIB: u64 = 64;
    let rows_kib = (SCOPES_MAX + 4) * CPUS + (SCOPES_MAX + 2) * CPUS / 2;
    let help = tcpstat(["serve", "--help"])?.stdout;
    let flag = help.split_once("--scopes-max").context("no --scopes-max")?.1;
    let default = flag.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
    assert_eq!(default.context("no default")?.0, SCOPES_MAX.to_string());
    let daemonset = object(&rendered(&[])?, "DaemonSet")?;
    let resources = &daemonset["spec"]["template"]["spec"]["containers"][0]["resources"];
    let limit = resources["limits"]["memory"].as_str().context("no limit")?;
    let limit: u64 = limit.strip_suffix("Mi").context("not in Mi")?.parse()?;
    assert!(2 * rows_kib / 1024 + WITHOUT_COUNTERS_MIB <= limit, "{limit} MiB");
    Ok(())
}

fn the_chart_has_both_dashboards_where_the_sidecar_of_grafana_looks() -> Result<()> {
    let own = ["--set", "dashboards.enabled=true"];
    for (text, namespace, label) in
        [(rendered(&own)?, "tcpstat", "1"), (with_every_value()?, "grafana", "tcp")]
    {
        let maps = objects(&text)?.into_values().filter(|object| object["kind"] == "ConfigMap");
        let maps: Vec<_> = maps.collect();
        let mut files = BTreeMap::new();
        for map in &maps {
            assert_eq!(map["metadata"]["namespace"], namespace);
            assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], label);
            files.extend(map["data"].as_object().context("no data")?);
        }
        assert_eq!((maps.len(), files.len()), (2, 2));
        for (file, flags) in [
            ("tcpstat-dashboard.json", &["dashboard"][..]),
            ("tcpstat-fleet-dashboard.json", &["dashboard", "--fleet"]),
        ] {
            let text = files.get(&file.to_owned()).and_then(|file| file.as_str());
            let dashboard: Value = serde_json::from_str(text.context(file)?)?;
            assert_eq!(dashboard, serde_json::from_str::<Value>(&printed(flags)?)?, "{file}");
        }
    }
    // Nobody needs them without Grafana.
    ensure!(object(&rendered(&[])?, "ConfigMap").is_err());
    Ok(())
}

fn the_rules_of_the_chart_link_to_the_port_of_the_node() -> Result<()> {
    let rules = &object(&with_every_value()?, "PrometheusRule")?["spec"];
    assert_eq!(*rules, rules_with_links("https", 10049)?);
    Ok(())
}

fn the_command_of_the_readme_makes_the_same_rules() -> Result<()> {
    let readme = fs::read_to_string(source(KUBERNETES)?.join("README.md"))?;
    let script = readme.split_once("sed '").and_then(|(_, rest)| rest.split_once('\''));
    let (script, _) = script.context("the README has no sed")?;
    let file = NamedTempFile::new()?;
    fs::write(file.path(), printed(&["rules"])?)?;
    let run = output(Command::new("sed").arg(script).arg(file.path()))?;
    assert_eq!(serde_saphyr::from_str::<Value>(&run.stdout)?, rules_with_links("http", 10048)?);
    Ok(())
}

/// What `tcpstat print rules` prints; each link to a runbook has the scheme, and the port behind the instance.
fn rules_with_links(scheme: &str, port: u16) -> Result<Value> {
    let mut rules: Value = serde_saphyr::from_str(&printed(&["rules"])?)?;
    let mut links = 0;
    for group in rules["groups"].as_array_mut().context("no groups")? {
        for rule in group["rules"].as_array_mut().context("no rules")? {
            let Some(link) = rule.pointer_mut("/annotations/runbook_url") else { continue };
            let text = link.as_str().context("no text")?;
            let with_port = ["instance }}", "instance\" }}"]
                .iter()
                .fold(text.to_owned(), |text, end| text.replace(end, &format!("{end}:{port}")));
            assert_ne!(with_port, text);
            *link = json!(with_port.replace("http://", &format!("{scheme}://")));
            links += 1;
        }
    }
    assert!(links > 10, "{links}");
    Ok(rules)
}
