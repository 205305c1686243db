//! What the console of a guest tells. See `init.sh` for what writes it.

use crate::losses::Loss;

/// Opens the output of `tcpstat check`.
const CHECK: &str = "matrix: check";
/// Opens what a scrape told.
const SERVE: &str = "matrix: serve";
/// Opens the output of the tests.
const TESTS: &str = "matrix: tests";
/// Opens the output of the tests that want the machine to themselves.
const STORM: &str = "matrix: storm";
/// Opens what was lost in them.
const LOSSES: &str = "matrix: losses";
const PARTS: [&str; 5] = [CHECK, SERVE, TESTS, STORM, LOSSES];
/// Closes all, with the exit status of the tests.
const ENDED: &str = "matrix: ended with ";

/// A console, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Console {
    /// The program that tcpstat chose, if one would run.
    pub(crate) tracer: Option<String>,
    /// The programs that would run, in the order of preference.
    pub(crate) runs: Vec<String>,
    /// How it counted and listed when it was scraped.
    pub(crate) serving: Option<Serving>,
    /// The exit status of the tests, if they came to their end.
    pub(crate) status: Option<i32>,
    /// What the tests say at their end.
    pub(crate) summary: Option<Summary>,
    /// The lines that it was read from.
    pub(crate) closing: Vec<String>,
    /// The lines of the tests that failed.
    pub(crate) failed: Vec<String>,
    /// What the tests that failed said.
    pub(crate) failures: String,
    /// What the storms lost.
    pub(crate) losses: Vec<Loss>,
}

/// The labels of `tcpstat_tracer_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Serving {
    /// Which program counts.
    pub(crate) program: String,
    /// Where listings come from.
    pub(crate) snapshot: String,
    /// Which hooks are attached beside it.
    pub(crate) hooks: String,
}

/// How many tests took which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// They held.
    pub(crate) passed: u32,
    /// They did not.
    pub(crate) failed: u32,
    /// They were not run, by their own wish.
    pub(crate) ignored: u32,
    /// They were not run, by the wish of the command line.
    pub(crate) filtered_out: u32,
}

impl Console {
    /// Reads it. What is missing, because the guest panicked or was stopped, is `None`.
    pub(crate) fn read(text: &str) -> Self {
        let mut console = Self::default();
        let mut part = "";
        for line in text.lines().map(str::trim_end) {
            // The firmware's last line has no end: what follows is behind it.
            if let Some(opened) = PARTS.into_iter().find(|part| line.ends_with(part)) {
                part = opened;
            } else if let Some((_, status)) = line.split_once(ENDED) {
                console.status = status.trim().parse().ok();
                part = ENDED;
            } else if part == CHECK {
                console.read_check(line);
            } else if part == SERVE {
                console.serving = console.serving.or_else(|| Serving::parse(line));
            } else if part == TESTS || part == STORM {
                console.read_test(line);
            } else if part == LOSSES {
                console.losses.extend(Loss::parse(line));
            }
        }
        let parts = text.split(STORM).map(failures).filter(|part| !part.is_empty());
        console.failures = parts.collect::<Vec<_>>().join("\n");
        console
    }

    /// Whether all tests that ran held, and one did run, and what served was what was chosen.
    pub(crate) fn passed(&self) -> bool {
        self.status == Some(0)
            && self.summary.is_some_and(|summary| summary.failed == 0 && summary.passed > 0)
            && self.tracer.is_some()
            && self.serving.as_ref().map(|serving| &serving.program) == self.tracer.as_ref()
    }

    fn read_check(&mut self, line: &str) {
        let Some((what, finding)) = line.split_once(' ') else { return };
        let finding = finding.trim();
        if what == "tracer" {
            self.tracer = finding.strip_prefix("would run, with ").map(str::to_owned);
        } else if finding == "runs" {
            self.runs.push(what.to_owned());
        }
    }

    fn read_test(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.closing.push(line.to_owned());
            let earlier = self.summary.take().unwrap_or_default();
            self.summary = Summary::parse(result).map(|summary| summary.with(earlier));
        } else if line.starts_with("test ") && line.ends_with(" FAILED") {
            self.failed.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
}

/// What stands between the two lines `failures:`, of which the second opens the list of names.
fn failures(text: &str) -> String {
    let text = text.replace('\r', "");
    let mut parts = text.split("\nfailures:\n");
    let (_, said, names) = (parts.next(), parts.next(), parts.next());
    names.and(said).map(str::trim).unwrap_or_default().to_owned()
}

impl Serving {
    /// `tcpstat_tracer_info{program="tp_btf",snapshot="procfs",hooks="none"} 1`
    fn parse(line: &str) -> Option<Self> {
        let labels = line.strip_prefix("tcpstat_tracer_info{")?;
        let label = |name: &str| {
            let (_, rest) = labels.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        Some(Self {
            program: label("program")?,
            snapshot: label("snapshot")?,
            hooks: label("hooks")?,
        })
    }
}

impl Summary {
    fn with(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
            filtered_out: self.filtered_out + other.filtered_out,
        }
    }

    /// `FAILED. 95 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; finished in 157.54s`
    fn parse(result: &str) -> Option<Self> {
        let (_, counts) = result.split_once(". ")?;
        let count = |what: &str| {
            counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            ignored: count("ignored")?,
            filtered_out: count("filtered out")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "SeaBIOS (version 1.16)\nmatrix: check\r\n\
        kernel        5.10.0-46-cloud-amd64\r\ncapabilities  CAP_BPF yes, CAP_PERFMON yes\r\n\
        tp_btf        runs\r\ntracepoint    refused: no tracefs\r\n              → mount it\r\n\
        tracer        would run, with tp_btf\r\nmatrix: serve\r\n\
        tcpstat_tracer_info{program=\"tp_btf\",snapshot=\"iter\",hooks=\"none\"} 1\r\n\
        matrix: tests\r\n\r\nrunning 3 tests\r\n\
        test one                    ... ok\r\ntest two                    ... FAILED\r\n\r\n\
        failures:\r\n\r\n---- two ----\r\nexit status: 1\r\n\r\n\r\n\
        failures:\r\n    two\r\n\r\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 1 filtered out; \
        finished in 1.20s\r\n\r\nmatrix: storm\r\nrunning 2 tests\r\n\
        test storm                  ... FAILED\r\n\r\nfailures:\r\n\r\n---- storm ----\r\n\
        loss: kernel=5.10 program=tp_btf events=9 lost=1 counted=0 healed_seconds=0.5\r\n\
        \r\n\r\nfailures:\r\n    storm\r\n\r\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; \
        finished in 60.00s\r\nmatrix: losses\r\n\
        loss: kernel=5.10 program=tp_btf events=9 lost=1 counted=0 healed_seconds=0.5\r\n\
        matrix: ended with 101\r\n[  160.4] reboot: Power down\r\n";

    #[test]
    fn the_console_tells_tracer_tests_and_end() {
        let console = Console::read(WHOLE);
        assert_eq!(console.tracer.as_deref(), Some("tp_btf"));
        assert_eq!(console.runs, ["tp_btf"]);
        assert_eq!(console.status, Some(101));
        let serving = console.serving.as_ref().unwrap();
        assert_eq!((serving.snapshot.as_str(), serving.hooks.as_str()), ("iter", "none"));
        let summary = Summary { passed: 2, failed: 2, ignored: 0, filtered_out: 1 };
        assert_eq!(console.summary, Some(summary));
        assert_eq!(console.failed, ["test two ... FAILED", "test storm ... FAILED"]);
        assert_eq!(
            console.failures,
            "---- two ----\nexit status: 1\n---- storm ----\n\
             loss: kernel=5.10 program=tp_btf events=9 lost=1 counted=0 healed_seconds=0.5"
        );
        assert_eq!(console.losses.len(), 1);
        assert!(!console.passed());
    }

    #[test]
    fn without_its_end_a_run_has_not_passed() {
        let well = WHOLE
            .replace("FAILED. 1 passed; 1 failed", "ok. 2 passed; 0 failed")
            .replace("ended with 101", "ended with 0");
        assert!(Console::read(&well).passed());
        let cut = well.split("matrix: ended").next().unwrap();
        let panicked = format!("{cut}[    9.1] Kernel panic - not syncing: Fatal exception\n");
        assert_eq!(Console::read(&panicked).status, None);
        assert!(!Console::read(&panicked).passed());
        assert_eq!(Console::read(""), Console::default());
    }

    #[test]
    fn a_kernel_without_a_tracer_or_without_a_test_has_not_passed() {
        let well = WHOLE
            .replace("FAILED. 1 passed; 1 failed", "ok. 2 passed; 0 failed")
            .replace("ended with 101", "ended with 0");
        let dark = well.replace("would run, with tp_btf", "would not run; snapshots alone");
        assert!(!Console::read(&dark).passed());
        let other = well.replace("program=\"tp_btf\"", "program=\"tracepoint\"");
        assert!(!Console::read(&other).passed());
        assert!(!Console::read(&well.replace("2 passed", "0 passed")).passed());
    }
}
