use std::collections::BTreeSet;

use super::*;
use crate::metrics::{Group, Groups};

fn of(groups: Groups, format: Format) -> String {
    Arc::new(everything()).encode_groups(format, groups)
}

/// The families that a text describes, in its order.
fn families(text: &str) -> Vec<&str> {
    text.lines().filter_map(described).collect()
}

#[test]
fn each_metric_is_in_one_group() {
    let all = of(Groups::ALL, Format::Classic);
    let each = Group::ALL.map(|group| of(Groups::NONE.with(group), Format::Classic));
    for (group, text) in Group::ALL.into_iter().zip(&each) {
        assert!(!text.is_empty(), "{}", group.word());
    }
    let mut names = families(&all);
    let mut of_groups: Vec<_> = each.iter().flat_map(|text| families(text)).collect();
    names.sort_unstable();
    of_groups.sort_unstable();
    assert_eq!(names, of_groups);
}

/// So that the groups of a fleet can be chosen one by one.
#[test]
fn with_details_all_groups_together_have_what_each_has() {
    let all = of(Groups::ALL, Format::Classic);
    let details = of(Groups::NONE.with(Group::Details), Format::Classic);
    let mut lines: Vec<_> = all.lines().collect();
    let mut of_groups: Vec<_> = details.lines().map(str::to_owned).collect();
    for group in Group::ALL.into_iter().filter(|group| *group != Group::Details) {
        let text = of(Groups::NONE.with(group).with(Group::Details), Format::Classic);
        let own = text.lines().filter(|line| !details.lines().any(|other| other == *line));
        of_groups.extend(own.map(str::to_owned));
    }
    lines.sort_unstable();
    of_groups.sort_unstable();
    assert_eq!(lines, of_groups);
}

/// Otherwise the tests here would not notice a metric without a group.
#[test]
fn the_values_of_these_tests_have_every_metric() {
    let text = of(Groups::ALL, Format::OpenMetrics);
    let prefixes = ["tcpstat_", "node_tcp_", "process_", "container_"];
    let names = include_str!("../names.rs").split('"').skip(1).step_by(2);
    let names: BTreeSet<_> =
        names.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix))).collect();
    assert_eq!(families(&text).into_iter().collect::<BTreeSet<_>>(), names);
}

#[test]
fn to_exclude_groups_leaves_all_others() {
    let excluded = Groups::NONE.with(Group::Process).with(Group::Netns);
    let text = of(excluded.others(), Format::Classic);
    let left = families(&text);
    assert!(left.contains(&"tcpstat_connections") && left.contains(&"tcpstat_cgroup_connections"));
    assert!(!left.iter().any(|name| name.starts_with("process_") || name.contains("netns")));
}

#[test]
fn no_group_gives_a_valid_text_without_samples() {
    assert_eq!(of(Groups::NONE, Format::Classic), "");
    assert_eq!(of(Groups::NONE, Format::OpenMetrics), "# EOF\n");
}

#[test]
fn each_family_is_described_once_and_its_samples_follow() {
    for format in [Format::Classic, Format::OpenMetrics] {
        let text = of(Groups::ALL, format);
        let names = families(&text);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        let mut current = "";
        for line in text.lines() {
            current = described(line).unwrap_or(current);
            if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                let ends = ["", "_total", "_bucket", "_sum", "_count"];
                let of_family = name.strip_prefix(current).is_some_and(|end| ends.contains(&end));
                assert!(of_family, "{line} follows {current}");
            }
        }
    }
}

#[test]
fn no_series_is_written_twice() {
    let text = of(Groups::ALL, Format::Classic);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let series: Vec<_> = samples.filter_map(|line| line.rsplit_once(' ')).collect();
    let different: BTreeSet<_> = series.iter().map(|(series, _)| series).collect();
    assert_eq!(different.len(), series.len());
}

/// The table of groups in the documentation has a row for each group, with the beginnings or the names of its
/// metrics.
#[test]
fn the_documentation_has_each_group_with_its_metrics() {
    let page = include_str!("../../../docs/metrics.md");
    for group in Group::ALL {
        let text = of(Groups::NONE.with(group), Format::Classic);
        let start = format!("| `{}` | ", group.word());
        let row = page.lines().find_map(|line| line.strip_prefix(&start));
        let row = row.unwrap_or_else(|| panic!("no row begins with {start}"));
        let documented: BTreeSet<_> = row.split('`').skip(1).step_by(2).collect();
        assert_eq!(families(&text).into_iter().collect::<BTreeSet<_>>(), documented, "{start}");
    }
}

/// The rules: whether each is an alert, its name, and the words of its expression.
fn rules() -> Vec<(bool, &'static str, BTreeSet<&'static str>)> {
    let rules = include_str!("../../../assets/rules.yml").split("\n      - ").skip(1);
    let rules = rules.map(|rule| {
        let (kind, rest) = rule.split_once(": ").unwrap();
        let (name, rest) = rest.split_once('\n').unwrap();
        let (_, expression) = rest.split_once("expr:").unwrap();
        let expression = expression.split("\n        for:").next().unwrap();
        let lines = expression.lines().filter(|line| !line.trim_start().starts_with('#'));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        let words = lines.flat_map(|line| line.split(move |c| !is_name(c)));
        (kind == "alert", name, words.collect())
    });
    rules.collect()
}

/// The alerts that need a metric of `names`, also by what other rules record.
fn alerts_that_read(mut names: BTreeSet<&str>) -> BTreeSet<&'static str> {
    let rules = rules();
    loop {
        let reads = rules.iter().filter(|(_, _, words)| !words.is_disjoint(&names));
        let (alerts, records): (Vec<_>, Vec<_>) = reads.partition(|(is_alert, ..)| *is_alert);
        let known = names.len();
        names.extend(records.into_iter().map(|(_, name, _)| *name));
        if names.len() == known {
            return alerts.into_iter().map(|(_, name, _)| *name).collect();
        }
    }
}

/// So that nobody leaves a group out and misses an alert.
#[test]
fn the_documentation_says_which_alerts_need_each_group() {
    let page = include_str!("../../../docs/metrics.md");
    let (_, table) = page.split_once("\n| without | ").unwrap();
    let rows: Vec<_> = table.lines().take_while(|line| !line.is_empty()).collect();
    // No plain scrape has them.
    for group in Group::ALL.into_iter().filter(|group| *group != Group::Details) {
        let word = format!("`{}`", group.word());
        let of_group = |row: &&&str| row.split('|').nth(1).is_some_and(|cell| cell.contains(&word));
        let row = rows.iter().find(of_group).unwrap_or_else(|| panic!("no row for {word}"));
        let quoted = row.split('`').skip(1).step_by(2);
        let documented: BTreeSet<_> = quoted.filter(|it| it.starts_with("Tcp")).collect();
        let text = of(Groups::NONE.with(group), Format::Classic);
        assert_eq!(documented, alerts_that_read(families(&text).into_iter().collect()), "{word}");
    }
}
