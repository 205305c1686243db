//! The Prometheus text exposition format, as far as a scrape of tcpstat may use it.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::str::Chars;

use anyhow::{Context, Result, bail, ensure};

use crate::proc_view::Connections;
use crate::tcp::{Family, State};

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Metric name, with its suffix where the type has one.
    pub name: String,
    /// Label values by name, unescaped.
    pub labels: BTreeMap<String, String>,
    /// Value; a timestamp after it is not kept.
    pub value: f64,
}

impl Sample {
    /// The value, where it is a whole number and not below zero.
    #[must_use]
    pub fn count(&self) -> Option<u64> {
        count(self.value)
    }

    pub(crate) fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|is| is == value))
    }
}

/// What no two samples share: name and labels.
type Series = (String, BTreeMap<String, String>);

/// All samples of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scrape {
    /// In the order of the text.
    pub samples: Vec<Sample>,
    /// Metric types by name, from the `# TYPE` lines.
    pub types: BTreeMap<String, String>,
    /// Help texts by name, from the `# HELP` lines, as escaped in the text.
    pub helps: BTreeMap<String, String>,
}

impl Scrape {
    /// Parses the text and ignores comments, `# EOF` too.
    ///
    /// # Errors
    /// Fails with the first line that is not valid, and if a sample appears twice.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut scrape, mut seen) = (Self::default(), BTreeSet::new());
        for (number, line) in (1..).zip(text.lines()) {
            scrape.parse_line(line, &mut seen).with_context(|| format!("line {number}: {line}"))?;
        }
        Ok(scrape)
    }

    /// The value of the one sample of that name that has (at least) these labels.
    ///
    /// # Errors
    /// Fails if there is none, with similar ones, or more than one.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let family = self.family(name);
        let found: Vec<_> = family.iter().filter(|sample| sample.has(labels)).collect();
        match found[..] {
            [sample] => Ok(sample.value),
            [] if family.is_empty() => {
                let names = self.samples.iter().map(|sample| sample.name.as_str());
                let near: Vec<_> = names.filter(|other| comes_near(name, other)).collect();
                bail!("no sample of {name}; similar names: {near:?}")
            }
            [] => bail!("no {name} with {labels:?}, but {family:#?}"),
            _ => bail!("more than one {name} with {labels:?}: {found:#?}"),
        }
    }

    /// As [`Scrape::value`], where it is a count.
    ///
    /// # Errors
    /// As [`Scrape::value`], and if it is not a count.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> Result<u64> {
        let value = self.value(name, labels)?;
        count(value).with_context(|| format!("{name} with {labels:?} is not a count: {value}"))
    }

    /// All samples of that name.
    #[must_use]
    pub fn family(&self, name: &str) -> Vec<&Sample> {
        self.samples.iter().filter(|sample| sample.name == name).collect()
    }

    /// All gauges `tcpstat_connections`.
    ///
    /// # Errors
    /// Fails if a family or state is unknown, if there are other labels, and if a value is not a count.
    pub fn connections(&self) -> Result<Connections> {
        self.counts_by_family_and_state("tcpstat_connections")
    }

    /// Any metric with exactly the labels `family` and `state`, as counts.
    ///
    /// # Errors
    /// As [`Scrape::connections`].
    pub fn counts_by_family_and_state(&self, name: &str) -> Result<Connections> {
        self.family(name)
            .into_iter()
            .map(|sample| {
                let entry = (family_and_state(sample), sample.count());
                match entry {
                    (Some(key), Some(count)) => Ok((key, count)),
                    _ => bail!("not a count of a family and a state: {sample:?}"),
                }
            })
            .collect()
    }

    /// `seen` has the name and the labels of every sample before this line.
    fn parse_line(&mut self, line: &str, seen: &mut BTreeSet<Series>) -> Result<()> {
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.trim_start().splitn(3, ' ');
            let (keyword, name, rest) = (words.next(), words.next(), words.next());
            let texts = match keyword {
                Some("TYPE") => &mut self.types,
                Some("HELP") => &mut self.helps,
                _ => return Ok(()),
            };
            let name = name.context("no metric name")?.to_owned();
            let repeated = texts.insert(name, rest.unwrap_or_default().to_owned());
            ensure!(repeated.is_none(), "a second such comment for the same metric");
        } else if !line.trim().is_empty() {
            let sample = parse_sample(line)?;
            let series = (sample.name.clone(), sample.labels.clone());
            ensure!(seen.insert(series), "a sample appears twice");
            self.samples.push(sample);
        }
        Ok(())
    }
}

fn family_and_state(sample: &Sample) -> Option<(Family, State)> {
    let family = Family::from_word(sample.labels.get("family")?)?;
    let state = State::from_word(sample.labels.get("state")?)?;
    (sample.labels.len() == 2).then_some((family, state))
}

fn count(value: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by it")]
    let count = value as u64;
    #[expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "that is the question")]
    (count as f64 == value).then_some(count)
}

/// Whether two names differ in one word only.
fn comes_near(wanted: &str, name: &str) -> bool {
    let words = |name: &str| name.split('_').map(str::to_owned).collect::<Vec<_>>();
    let (wanted, name) = (words(wanted), words(name));
    wanted.iter().filter(|word| name.contains(word)).count() + 1 >= wanted.len()
}

fn parse_sample(line: &str) -> Result<Sample> {
    let mut rest = line.chars().peekable();
    let name = metric_name(&mut rest)?;
    let labels = if rest.next_if_eq(&'{').is_some() { labels(&mut rest)? } else { BTreeMap::new() };
    let rest: String = rest.collect();
    let mut words = rest.split_ascii_whitespace();
    // Rust knows "+Inf", "-Inf" and "NaN" as well.
    let value = words.next().context("no value")?.parse().context("value")?;
    if let Some(timestamp) = words.next() {
        timestamp.parse::<f64>().context("timestamp")?;
    }
    ensure!(words.next().is_none(), "more than a value and a timestamp");
    Ok(Sample { name, labels, value })
}

/// Parses the labels after the opening brace, up to and including the closing one.
fn labels(rest: &mut Peekable<Chars<'_>>) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while rest.next_if_eq(&'}').is_none() {
        let name = metric_name(rest)?;
        ensure!(rest.next() == Some('=') && rest.next() == Some('"'), "label {name} has no value");
        let value = quoted(rest)?;
        ensure!(rest.peek() == Some(&'}') || rest.next() == Some(','), "no comma after {name}");
        ensure!(labels.insert(name, value).is_none(), "a label appears twice");
    }
    Ok(labels)
}

fn metric_name(rest: &mut Peekable<Chars<'_>>) -> Result<String> {
    let mut name = String::new();
    while let Some(character) =
        rest.next_if(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | ':'))
    {
        name.push(character);
    }
    ensure!(!name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit()), "no name");
    Ok(name)
}

/// Parses a value after the opening quote, up to and including the closing one.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> Result<String> {
    let mut value = String::new();
    loop {
        match rest.next().context("a quote is not closed")? {
            '"' => return Ok(value),
            '\\' => match rest.next() {
                Some('n') => value.push('\n'),
                Some(escaped @ ('\\' | '"')) => value.push(escaped),
                other => bail!("escape of {other:?}"),
            },
            character => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# HELP tcpstat_connections TCP sockets by state.
# TYPE tcpstat_connections gauge
tcpstat_connections{family=\"ipv4\",state=\"established\"} 3
tcpstat_connections{family=\"ipv6\",state=\"listen\"} 1e1

# a comment
path_bytes{path=\"C:\\\\\\\"x\\\"\\n\",} +Inf 1700000000000
up 1
# EOF
";

    #[test]
    fn samples_have_names_labels_and_values() {
        let scrape = Scrape::parse(TEXT).unwrap();
        assert_eq!(scrape.samples.len(), 4);
        assert_eq!(scrape.types["tcpstat_connections"], "gauge");
        assert_eq!(scrape.helps["tcpstat_connections"], "TCP sockets by state.");
        assert_eq!(scrape.family("path_bytes")[0].labels["path"], "C:\\\"x\"\n");
        assert!(scrape.value("path_bytes", &[]).unwrap().is_infinite());
        assert!((scrape.value("up", &[]).unwrap() - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn connections_are_counts_by_family_and_state() {
        let expected = Connections::from([
            ((Family::Ipv4, State::Established), 3),
            ((Family::Ipv6, State::Listen), 10),
        ]);
        assert_eq!(Scrape::parse(TEXT).unwrap().connections().unwrap(), expected);
        for wrong in [
            "tcpstat_connections{family=\"ipv4\",state=\"listen\"} -1",
            "tcpstat_connections{family=\"ipv4\",state=\"listen\"} 0.5",
            "tcpstat_connections{family=\"ipv4\",state=\"listen\"} NaN",
            "tcpstat_connections{family=\"ipv4\",state=\"LISTEN\"} 1",
            "tcpstat_connections{family=\"ipv4\",state=\"listen\",more=\"\"} 1",
            "tcpstat_connections{state=\"listen\"} 1",
        ] {
            assert!(Scrape::parse(wrong).unwrap().connections().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_value_that_is_not_there_names_what_comes_near() {
        let scrape = Scrape::parse(TEXT).unwrap();
        let error = |name, labels: &[_]| scrape.value(name, labels).unwrap_err().to_string();
        assert!(error("tcpstat_connection", &[]).contains("tcpstat_connections"));
        assert!(error("tcpstat_connections", &[("state", "close")]).contains("established"));
        assert!(error("tcpstat_connections", &[]).contains("more than one"));
    }

    #[test]
    fn what_is_not_the_format_is_refused() {
        for wrong in [
            "up",
            "up one",
            "up 1 2 3",
            "1up 1",
            "{} 1",
            "up{a} 1",
            "up{a=\"b} 1",
            "up{a=\"b\" c=\"d\"} 1",
            "up{a=\"\\t\"} 1",
            "up{a=\"b\",a=\"c\"} 1",
            "up 1\nup 2",
            "# TYPE up gauge\n# TYPE up gauge",
        ] {
            assert!(Scrape::parse(wrong).is_err(), "{wrong}");
        }
    }
}
