//! What a plain scrape leaves out, and what the rules need of it.

use std::collections::BTreeSet;

use tcpstat_ebpf::{CLOSED, Cause};

use super::*;
use crate::{
    detailed::{Outcome, cause_word},
    metrics::{Groups, at_zero},
    states::state_word,
    transitions::TRANSITIONS,
};

const RULES: &str = include_str!("../../../assets/rules.yml");

/// The series of a scrape of these groups that begin with `prefix`.
fn series(values: Values, groups: Groups, prefix: &str) -> BTreeSet<String> {
    let text = Arc::new(values).encode_groups(Format::Classic, groups);
    let samples = text.lines().filter(|line| line.starts_with(prefix));
    samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

fn without_scopes() -> Values {
    Values { scopes: Vec::new(), ..everything() }
}

/// A host on which nothing has happened.
fn idle() -> Values {
    let mut values = without_scopes();
    let tracer = values.tracer.as_mut().unwrap();
    tracer.transitions = Transitions::default();
    tracer.corrections = PerState::default();
    tracer.health = Health::default();
    values
}

#[test]
fn a_plain_scrape_has_some_of_the_series_of_a_complete_one() {
    let plain = series(everything(), Groups::DEFAULT, "");
    let all = series(everything(), Groups::ALL, "");
    assert!(plain.is_subset(&all) && plain.len() < all.len());
}

/// Also a family of which no sample is left.
#[test]
fn a_plain_scrape_describes_no_family_without_samples() {
    for format in [Format::Classic, Format::OpenMetrics] {
        let text = Arc::new(idle()).encode_groups(format, Groups::DEFAULT);
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.starts_with("# TYPE") {
                let next = lines.peek().unwrap();
                assert!(!next.starts_with('#') || next.starts_with("# UNIT"), "{line}");
            }
        }
    }
}

/// So that nobody adds a series for which nobody has asked.
#[test]
fn the_documentation_says_who_asks_for_each_metric_of_a_plain_scrape() {
    let page = include_str!("../../../docs/metrics.md");
    let (_, section) = page.split_once("\n### Who asks for what\n").unwrap();
    let section = section.split("\n#").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let columns = rows.filter_map(|row| row.split('|').nth(1));
    let documented: BTreeSet<_> = columns.flat_map(|it| it.split('`').skip(1).step_by(2)).collect();
    // Off by default.
    let off = ["tcpstat_dwell_seconds", "tcpstat_dwell_overflow_total"];
    let off = [&off[..], &["tcpstat_ephemeral_ports_fullest_destination_info"]].concat();
    let text = Arc::new(without_scopes()).encode_groups(Format::Classic, Groups::DEFAULT);
    let plain: BTreeSet<_> =
        text.lines().filter_map(described).filter(|name| !off.contains(name)).collect();
    assert_eq!(plain, documented);
}

#[test]
fn a_counter_appears_with_its_first_event() {
    let mut values = idle();
    let (old, new) = (State::Established, State::CloseWait);
    let seen = r#"tcpstat_transitions_total{family="ipv6",from="established",to="close_wait"}"#;
    let before = series(values.clone(), Groups::DEFAULT, "tcpstat_");
    let tracer = values.tracer.as_mut().unwrap();
    tracer.transitions.add(Family::Ipv6, old, new, 1);
    tracer.corrections[(Family::Ipv4, State::CloseWait)] = 1;
    tracer.health.reconciles[0] = 1;
    let after = series(values, Groups::DEFAULT, "tcpstat_");
    let new: Vec<_> = after.difference(&before).map(String::as_str).collect();
    let corrections = r#"tcpstat_corrections_total{state="close_wait"}"#;
    let [first, reconciles, last] = new[..] else { panic!("{new:?}") };
    assert_eq!((first, last), (corrections, seen));
    assert!(reconciles.starts_with("tcpstat_reconciles_total{reason="), "{reconciles}");
}

#[test]
fn the_state_close_is_a_detail_of_each_gauge_by_state() {
    for (metric, all) in [
        ("tcpstat_connections{", 22),
        ("tcpstat_netns_connections{netns=\"host\"", 11),
        ("tcpstat_port_connections{port=\"443\"", 11),
    ] {
        let complete = series(everything(), Groups::ALL, metric);
        assert_eq!(complete.len(), all);
        let plain = series(everything(), Groups::DEFAULT, metric);
        let missing: Vec<_> = complete.difference(&plain).collect();
        assert_eq!(missing.len(), all / 11, "{missing:?}");
        assert!(missing.iter().all(|line| line.contains("state=\"close\"")), "{missing:?}");
    }
    let peaks = series(everything(), Groups::DEFAULT, "tcpstat_connections_peak{");
    assert_eq!(peaks.len(), 5);
    let node = series(everything(), Groups::DEFAULT, "node_tcp_connection_states{");
    assert_eq!(node.len(), 13);
}

/// One series of a counter: a value for each of its labels.
type Labels = Vec<(&'static str, &'static str)>;

/// Every series that the counters with labels can have.
fn possible() -> Vec<(&'static str, Labels)> {
    let transitions = TRANSITIONS.map(|(old, new)| {
        let labels = vec![("from", state_word(old)), ("to", state_word(new))];
        ("tcpstat_transitions_total", labels)
    });
    let closed = CLOSED.map(|(from, cause)| {
        let labels = vec![("from", state_word(from)), ("cause", cause_word(cause))];
        ("tcpstat_closed_total", labels)
    });
    let retried = Outcome::ALL
        .map(|outcome| ("tcpstat_connects_retried_total", vec![("outcome", outcome.word())]));
    transitions.into_iter().chain(closed).chain(retried).collect()
}

/// The labels that a selector of the rules names, each with its operator and the values.
type Selector<'a> = Vec<(&'a str, &'a str, Vec<&'a str>)>;

/// The selectors of `metric` in the rules that name one of its own labels.
fn selectors<'a>(metric: &str) -> Vec<Selector<'a>> {
    let mut selectors = Vec::new();
    for after in RULES.split(metric).skip(1) {
        let Some((matchers, _)) = after.strip_prefix('{').and_then(|it| it.split_once('}')) else {
            continue;
        };
        let mut selector = Vec::new();
        for label in ["from", "to", "cause", "outcome"] {
            for operator in ["=~", "!~", "!=", "="] {
                let Some(at) = matchers.find(&format!("{label}{operator}\"")) else { continue };
                let value = matchers[at..].split('"').nth(1).unwrap();
                selector.push((label, operator, value.split('|').collect()));
                break;
            }
        }
        if !selector.is_empty() {
            selectors.push(selector);
        }
    }
    selectors
}

fn selects(selector: &Selector<'_>, labels: &Labels) -> bool {
    selector.iter().all(|(label, operator, values)| {
        let value = labels.iter().find(|(name, _)| name == label).map_or("", |(_, value)| value);
        values.contains(&value) != operator.starts_with('!')
    })
}

/// Otherwise `rate()` does not see the first event, and a sum is empty until then: an alert comes late, or never.
#[test]
fn the_counters_that_a_rule_names_are_there_at_zero_and_no_others() {
    let families = ["ipv4", "ipv6"];
    let mut needed = BTreeSet::new();
    for (metric, labels) in possible() {
        if selectors(metric).iter().any(|selector| selects(selector, &labels)) {
            needed.extend(families.map(|family| {
                let own = labels.iter().map(|(name, value)| format!(",{name}=\"{value}\""));
                let labels = own.collect::<Vec<_>>().concat();
                format!("{metric}{{family=\"{family}\"{labels}}}")
            }));
        }
    }
    let counters =
        ["tcpstat_transitions_total{", "tcpstat_closed_total{", "tcpstat_connects_retried_total{"];
    let at_zero: BTreeSet<_> =
        counters.into_iter().flat_map(|metric| series(idle(), Groups::DEFAULT, metric)).collect();
    assert_eq!(at_zero, needed);
    let (_, causes) = at_zero::CLOSED;
    assert!(!causes.contains(&Cause::None), "what the application gives up is no failure");
}

#[test]
fn with_details_the_counters_have_every_series() {
    for (metric, all) in [
        ("tcpstat_transitions_total{", 2 * TRANSITIONS.len()),
        ("tcpstat_closed_total{", 2 * CLOSED.len()),
        ("tcpstat_connects_retried_total{", 4),
        ("tcpstat_corrections_total{", State::ALL.len()),
        ("tcpstat_sockstat_sockets{", 3),
        ("tcpstat_listener_accept_queue_length{", 2),
    ] {
        assert_eq!(series(idle(), Groups::ALL, metric).len(), all, "{metric}");
    }
}

#[test]
fn the_absolute_drift_is_the_sum_of_both_signs() {
    let mut values = idle();
    let drift = &mut values.tracer.as_mut().unwrap().drift;
    drift[(Family::Ipv4, State::Established)] = 3;
    drift[(Family::Ipv6, State::CloseWait)] = -4;
    let drift = lines(values, "tcpstat_drift_absolute_connections");
    assert_eq!(drift[1], "tcpstat_drift_absolute_connections 7");
}
