//! The text of one exporter, taken apart: what every host writes alike, and the values that differ.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use anyhow::{Context, Result, ensure};

use super::host::Host;

/// An exposition in the classic format, of which each host has a version of its own.
#[derive(Clone, Debug)]
pub struct Template {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
enum Line {
    /// Written as it is: descriptions, and samples that are the same at any time on all hosts.
    Text(String),
    Sample(Sample),
    /// The sample that has the version in a label.
    Build { before: String, after: String },
}

#[derive(Clone, Debug)]
struct Sample {
    /// Name and labels, with the space behind them.
    series: String,
    value: f64,
    kind: Kind,
    /// Differs from series to series, and is the same on all hosts.
    seed: u64,
}

/// How a value moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A number of things, which goes up and down.
    Gauge,
    /// What was counted since the start of the exporter.
    Counter,
    /// The time of that start.
    Start,
    /// Sockets in CLOSE_WAIT, which grow in number where a service leaks them.
    CloseWait,
}

const BUILD: &str = "tcpstat_build_info{";
const VERSION: &str = "version=\"";

/// The samples that a leak moves.
const LEAKING: [&str; 3] = [
    "tcpstat_connections{family=\"ipv4\",state=\"close_wait\"}",
    "tcpstat_snapshot_connections{family=\"ipv4\",state=\"close_wait\"}",
    "tcpstat_close_wait_aged_connections{",
];

impl Template {
    /// Takes apart what an exporter has answered.
    ///
    /// # Errors
    /// Fails with the line that is no sample.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = Vec::new();
        let mut is_counter = false;
        for line in text.lines() {
            if let Some(description) = line.strip_prefix("# TYPE ") {
                is_counter = !description.ends_with(" gauge");
            }
            lines.push(if line.starts_with('#') || line.is_empty() {
                Line::Text(format!("{line}\n"))
            } else {
                sample(line, is_counter).with_context(|| format!("no sample: {line}"))?
            });
        }
        ensure!(lines.iter().any(|line| matches!(line, Line::Sample(_))), "there is no sample");
        Ok(Self { lines })
    }

    /// The number of its series.
    #[must_use]
    pub fn series(&self) -> usize {
        let is_series = |line: &&Line| !matches!(line, Line::Text(text) if text.starts_with('#'));
        self.lines.iter().filter(is_series).count()
    }

    /// Appends what `host` answers.
    pub fn write(&self, host: &Host, text: &mut String) {
        for line in &self.lines {
            match line {
                Line::Text(line) => text.push_str(line),
                Line::Build { before, after } => {
                    text.extend([before, host.version(), after.as_str()]);
                }
                Line::Sample(sample) => {
                    text.push_str(&sample.series);
                    sample.write_value(host, text);
                    text.push('\n');
                }
            }
        }
    }
}

impl Sample {
    fn write_value(&self, host: &Host, text: &mut String) {
        let value = match self.kind {
            Kind::Gauge => self.value * host.level(self.seed),
            Kind::Counter => self.value * host.counted(self.seed),
            Kind::Start => host.started(),
            Kind::CloseWait => self.value * host.level(self.seed) + host.leaked(),
        };
        let is_whole = self.value.fract() == 0.0;
        text.push_str(&if is_whole { value.round() } else { value }.to_string());
    }
}

fn sample(line: &str, is_counter: bool) -> Option<Line> {
    let (series, value) = line.rsplit_once(' ')?;
    let number: f64 = value.parse().ok()?;
    if series.starts_with(BUILD)
        && let Some((before, rest)) = series.split_once(VERSION)
    {
        let (_, after) = rest.split_once('"')?;
        let before = format!("{before}{VERSION}");
        return Some(Line::Build { before, after: format!("\"{after} {value}\n") });
    }
    let kind = if series == "process_start_time_seconds" {
        Kind::Start
    } else if LEAKING.iter().any(|leaking| series.starts_with(leaking)) {
        Kind::CloseWait
    } else if is_counter {
        Kind::Counter
    } else {
        Kind::Gauge
    };
    // What is 0 or 1 says yes or no, limits are those of the kernel, and what is no number has no level.
    let is_fixed = kind == Kind::Gauge && (number == 0.0 || number == 1.0 || series.contains("limit"));
    if is_fixed || !number.is_finite() {
        return Some(Line::Text(format!("{line}\n")));
    }
    let seed = BuildHasherDefault::<DefaultHasher>::default().hash_one(series);
    Some(Line::Sample(Sample { series: format!("{series} "), value: number, kind, seed }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::Scrape;
    use crate::fleet::Fleet;

    const TEXT: &str = "# HELP tcpstat_connections TCP sockets.\n# TYPE tcpstat_connections gauge\n\
        tcpstat_connections{family=\"ipv4\",state=\"established\"} 40\n\
        tcpstat_connections{family=\"ipv4\",state=\"close_wait\"} 2\n\
        # TYPE tcpstat_tracer_up gauge\ntcpstat_tracer_up 1\n\
        # TYPE tcpstat_transitions_total counter\n\
        tcpstat_transitions_total{family=\"ipv4\",from=\"close\",to=\"syn_sent\"} 600\n\
        # TYPE tcpstat_build_info gauge\ntcpstat_build_info{revision=\"a\",version=\"0.1.0\"} 1\n";

    fn written(host: u64, at: f64) -> String {
        let fleet = Fleet { hosts: 1000, began: 1_000_000.0 };
        let mut text = String::new();
        Template::parse(TEXT).unwrap().write(&fleet.host(host, fleet.began + at), &mut text);
        text
    }

    #[test]
    fn each_host_has_all_series_with_values_of_its_own() {
        assert_eq!(Template::parse(TEXT).unwrap().series(), 5);
        let (one, other) = (written(1, 60.0), written(2, 60.0));
        assert_ne!(one, other);
        for text in [one, other] {
            let names = |text: &str| {
                let lines = text.lines().map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
                lines.filter(|line| !line.starts_with("# HELP")).collect::<Vec<_>>()
            };
            let with_version = TEXT.replace("0.1.0", Fleet::VERSIONS[0]);
            assert_eq!(names(&text), names(&with_version));
            assert_eq!(Scrape::parse(&text).unwrap().value("tcpstat_tracer_up", &[]).unwrap(), 1.0);
        }
    }

    #[test]
    fn a_counter_never_falls_while_the_exporter_runs() {
        let counted = |at| {
            let text = written(3, at);
            Scrape::parse(&text).unwrap().value("tcpstat_transitions_total", &[]).unwrap()
        };
        let samples: Vec<_> = (0..60).map(|minute| counted(f64::from(minute) * 60.0)).collect();
        let falls = samples.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!(falls <= 1, "more than one restart in an hour: {samples:?}");
        assert!(samples[59] > 0.0 && samples.windows(2).any(|pair| pair[1] > pair[0]), "{samples:?}");
    }

    #[test]
    fn what_is_no_sample_is_an_error_with_its_line() {
        let error = format!("{:#}", Template::parse("tcpstat_connections ten").unwrap_err());
        assert!(error.contains("tcpstat_connections ten"), "{error}");
        assert!(Template::parse("# TYPE x gauge\n").is_err());
    }
}
