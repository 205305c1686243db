//! Converts OpenMetrics text to Prometheus text format 0.0.4 (the classic format).
//!
//! Only these differences matter here: the classic format describes a counter by its name with `_total`,
//! and has neither `# UNIT` nor `# EOF`.

use memchr::memmem;

/// Converts text as prometheus-client encodes it.
pub(super) fn from_openmetrics(text: &str) -> String {
    let mut classic = String::with_capacity(text.len());
    let mut help = None;
    let mut rest = text;
    while !rest.is_empty() {
        if !rest.starts_with('#') {
            // Samples are the same in both formats.
            let (samples, next) = rest
                .split_at(memmem::find(rest.as_bytes(), b"\n#").map_or(rest.len(), |at| at + 1));
            classic.push_str(samples);
            rest = next;
            continue;
        }
        let (line, next) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = next;
        if let Some(description) = line.strip_prefix("# HELP ") {
            help = description.split_once(' ');
        } else if let Some(description) = line.strip_prefix("# TYPE ") {
            let Some((name, kind)) = description.split_once(' ') else { continue };
            let suffix = if kind == "counter" { "_total" } else { "" };
            let kind = if kind == "unknown" { "untyped" } else { kind };
            if let Some((_, help)) = help.take() {
                push(&mut classic, &["# HELP ", name, suffix, " ", help, "\n"]);
            }
            push(&mut classic, &["# TYPE ", name, suffix, " ", kind, "\n"]);
        }
    }
    classic
}

fn push(text: &mut String, parts: &[&str]) {
    text.extend(parts.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_described_by_the_name_of_its_samples() {
        let openmetrics = "# HELP a_thing What it is.\n# TYPE a_thing counter\n\
                           a_thing_total{x=\"y\"} 1\n# EOF\n";
        let classic = "# HELP a_thing_total What it is.\n# TYPE a_thing_total counter\n\
                       a_thing_total{x=\"y\"} 1\n";
        assert_eq!(from_openmetrics(openmetrics), classic);
    }

    #[test]
    fn a_gauge_stays_and_its_unit_is_dropped() {
        let openmetrics = "# HELP b_seconds How long.\n# TYPE b_seconds gauge\n\
                           # UNIT b_seconds seconds\nb_seconds 0.5\n# EOF\n";
        let classic = "# HELP b_seconds How long.\n# TYPE b_seconds gauge\nb_seconds 0.5\n";
        assert_eq!(from_openmetrics(openmetrics), classic);
    }
}
