//! What the console of a guest tells. See `init.sh` for what writes it.

/// Opens the output of `tcpstat check`.
const CHECK: &str = "matrix: check";
/// Opens the output of the tests.
const TESTS: &str = "matrix: tests";
/// Closes it, with the exit status of the tests.
const ENDED: &str = "matrix: ended with ";

/// A console, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Console {
    /// The program that tcpstat chose, if one would run.
    pub(crate) tracer: Option<String>,
    /// The programs that would run, in the order of preference.
    pub(crate) runs: Vec<String>,
    /// The exit status of the tests, if they came to their end.
    pub(crate) status: Option<i32>,
    /// What the tests say at their end.
    pub(crate) summary: Option<Summary>,
    /// The line that it was read from.
    pub(crate) closing: Option<String>,
    /// The lines of the tests that failed.
    pub(crate) failed: Vec<String>,
    /// What the tests that failed said.
    pub(crate) failures: String,
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
        let (mut check, mut tests) = (false, false);
        for line in text.lines().map(str::trim_end) {
            // The firmware's last line has no end: what follows is behind it.
            if line.ends_with(CHECK) {
                check = true;
            } else if line.ends_with(TESTS) {
                (check, tests) = (false, true);
            } else if check {
                console.read_check(line);
            } else if let Some((_, status)) = line.split_once(ENDED) {
                console.status = status.trim().parse().ok();
                tests = false;
            } else if tests {
                console.read_test(line);
            }
        }
        console.failures = failures(text);
        console
    }

    /// Whether all tests that ran held, and one did run.
    pub(crate) fn passed(&self) -> bool {
        self.status == Some(0)
            && self.summary.is_some_and(|summary| summary.failed == 0 && summary.passed > 0)
            && self.tracer.is_some()
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
            self.closing = Some(line.to_owned());
            self.summary = Summary::parse(result);
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

impl Summary {
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
        tracer        would run, with tp_btf\r\nmatrix: tests\r\n\r\nrunning 3 tests\r\n\
        test one                    ... ok\r\ntest two                    ... FAILED\r\n\r\n\
        failures:\r\n\r\n---- two ----\r\nexit status: 1\r\n\r\n\r\n\
        failures:\r\n    two\r\n\r\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 1 filtered out; \
        finished in 1.20s\r\n\r\nmatrix: ended with 101\r\n[  160.4] reboot: Power down\r\n";

    #[test]
    fn the_console_tells_tracer_tests_and_end() {
        let console = Console::read(WHOLE);
        assert_eq!(console.tracer.as_deref(), Some("tp_btf"));
        assert_eq!(console.runs, ["tp_btf"]);
        assert_eq!(console.status, Some(101));
        let summary = Summary { passed: 1, failed: 1, ignored: 0, filtered_out: 1 };
        assert_eq!(console.summary, Some(summary));
        assert_eq!(console.failed, ["test two ... FAILED"]);
        assert_eq!(console.failures, "---- two ----\nexit status: 1");
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
        assert!(!Console::read(&well.replace("2 passed", "0 passed")).passed());
    }
}
