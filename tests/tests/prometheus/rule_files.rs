//! The rules in promtool, and what each alert must have.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tcpstat_tests::binary::{fixture, output, path_from, printed};
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tcpstat_tests::rules::{Rule, shipped};
use tempfile::TempDir;

/// The parts of a file for `promtool test rules` that the tests use.
#[derive(Deserialize)]
struct TestFile {
    tests: Vec<TestGroup>,
}

#[derive(Deserialize)]
struct TestGroup {
    alert_rule_test: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    alertname: String,
    exp_alerts: Vec<serde_json::Value>,
}

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        promtool_accepts_the_rules,
        every_alert_fires_exactly_when_it_should_with_a_label_that_a_user_adds,
        every_alert_has_test_cases_that_fire_and_that_do_not,
        every_alert_has_severity_summary_description_and_runbook,
        the_runbook_has_a_section_for_each_alert_and_no_other,
        runbook_url_sets_the_address_of_the_runbook
    ]
}

/// Runs promtool in that folder.
pub(crate) fn promtool(args: &[&str], folder: &TempDir) -> Result<()> {
    let mut command = Command::new(path_from("TCPSTAT_PROMTOOL")?);
    let run = output(command.args(args).current_dir(folder.path()))?;
    ensure!(run.status == Some(0), "promtool {args:?}:\n{}{}", run.stdout, run.stderr);
    Ok(())
}

/// A folder with `rules.yml`.
pub(crate) fn folder_with_rules() -> Result<TempDir> {
    let folder = TempDir::new()?;
    fs::write(folder.path().join("rules.yml"), printed(&["rules"])?)?;
    Ok(folder)
}

fn promtool_accepts_the_rules() -> Result<()> {
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", "rules.yml"], &folder_with_rules()?)
}

fn alerts() -> Result<BTreeMap<String, Rule>> {
    let rules = shipped()?.into_iter();
    let alerts: BTreeMap<_, _> =
        rules.filter_map(|rule| Some((rule.alert.clone()?, rule))).collect();
    ensure!(!alerts.is_empty(), "no alert");
    Ok(alerts)
}

/// The files of fixtures/rules by the names of their alerts.
fn test_files() -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(fixture("rules")?)? {
        let path = entry?.path();
        let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
        files.insert(name, fs::read_to_string(&path)?);
    }
    Ok(files)
}

/// The shipped rules with one more label: many route alerts by the label of a team. An expression that looks at
/// its own alert must not depend on it. `cargo xtask alerts` evaluates the rules without it.
fn every_alert_fires_exactly_when_it_should_with_a_label_that_a_user_adds() -> Result<()> {
    let with_team = |text: String| {
        let lines = text.lines().map(|line| match line.split_once("severity: ") {
            Some((indent, _)) if indent.trim().is_empty() => format!("{line}\n{indent}team: net\n"),
            _ => format!("{line}\n"),
        });
        lines.collect::<Vec<_>>().concat()
    };
    let folder = TempDir::new()?;
    fs::write(folder.path().join("rules.yml"), with_team(printed(&["rules"])?))?;
    let mut names = Vec::new();
    for (name, text) in test_files()? {
        let name = format!("{name}.yml");
        fs::write(folder.path().join(&name), with_team(text))?;
        names.push(name);
    }
    let args: Vec<_> =
        ["test", "rules"].into_iter().chain(names.iter().map(String::as_str)).collect();
    promtool(&args, &folder)
}

fn every_alert_has_test_cases_that_fire_and_that_do_not() -> Result<()> {
    let files = test_files()?;
    let names: Vec<_> = files.keys().cloned().collect();
    assert_eq!(names, alerts()?.into_keys().collect::<Vec<_>>());
    for (name, text) in &files {
        let file: TestFile = serde_saphyr::from_str(text).with_context(|| name.clone())?;
        let groups: Vec<_> = file.tests.iter().map(|group| &group.alert_rule_test).collect();
        for case in groups.iter().copied().flatten() {
            assert_eq!(&case.alertname, name);
        }
        let fires = |group: &Vec<Case>| group.iter().any(|case| !case.exp_alerts.is_empty());
        assert!(groups.iter().copied().any(fires), "{name}: no case fires");
        // Some case must not fire at all, not only not yet.
        assert!(!groups.iter().copied().all(fires), "{name}: every case fires");
    }
    Ok(())
}

fn every_alert_has_severity_summary_description_and_runbook() -> Result<()> {
    for (name, rule) in alerts()? {
        let severity =
            rule.labels.get("severity").with_context(|| format!("{name}: no severity"))?;
        assert!(["info", "warning", "critical"].contains(&severity.as_str()), "{name}: {severity}");
        for annotation in ["summary", "description", "runbook_url"] {
            assert!(rule.annotations.contains_key(annotation), "{name}: no {annotation}");
        }
        // It writes 28.57m and 1.2k, which nobody reads as a number of sockets.
        let texts = rule.annotations.values();
        let with_units: Vec<_> = texts.filter(|text| text.contains("humanize }}")).collect();
        assert!(with_units.is_empty(), "{name}: {with_units:?}");
        let url = &rule.annotations["runbook_url"];
        assert!(url.ends_with(&format!("/runbook#{}", name.to_lowercase())), "{name}: {url}");
        if name != "TcpstatAbsent" {
            for annotation in ["summary", "description"] {
                let text = &rule.annotations[annotation];
                assert!(text.contains("$labels.instance"), "{name}: {text}");
            }
        }
    }
    Ok(())
}

fn the_runbook_has_a_section_for_each_alert_and_no_other() -> Result<()> {
    let runbook = printed(&["runbook"])?;
    let sections: Vec<_> = runbook.split("\n## ").skip(1).collect();
    for section in &sections {
        for part in ["**Means.** ", "**Confirm.** ", "**Do.** "] {
            assert_eq!(section.matches(part).count(), 1, "{part} in {section}");
        }
        // Those about tcpstat itself have no process to look for.
        let names_command =
            ["`tcpstat who ", "`tcpstat events "].iter().any(|command| section.contains(command));
        let about_sockets = section.starts_with("Tcp") && !section.starts_with("Tcpstat");
        assert!(names_command || !about_sockets, "no command: {section}");
    }
    let mut names: Vec<_> =
        sections.iter().filter_map(|section| section.lines().next()).map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, alerts()?.into_keys().collect::<Vec<_>>());
    Ok(())
}

fn runbook_url_sets_the_address_of_the_runbook() -> Result<()> {
    let rules = printed(&["rules", "--runbook-url=https://runbooks.example/tcp"])?;
    let urls: Vec<_> = rules.lines().filter(|line| line.contains("runbook_url: ")).collect();
    assert_eq!(urls.len(), alerts()?.len());
    for url in urls {
        assert!(url.contains("runbook_url: https://runbooks.example/tcp#tcp"), "{url}");
        assert!(!url.contains("{{") && !url.contains('\''), "{url}");
    }
    Ok(())
}
