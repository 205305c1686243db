//! What the console of a guest shows. See `init.sh` for what writes it.

use regex::Regex;

use crate::losses::Loss;

/// A console, read to its end. What is missing, because the guest panicked or was stopped, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Console {
    /// The program that `tcpstat check` chose, if one would run.
    pub(crate) program: Option<String>,
    /// The programs that would run, in the order of preference.
    pub(crate) runs: Vec<String>,
    /// Program, snapshot and hooks of the scrape: the labels of `tcpstat_tracer_info`.
    pub(crate) serving: Option<[String; 3]>,
    /// The exit status of the tests, if they came to their end.
    pub(crate) status: Option<i32>,
    /// How many tests passed, failed, were ignored, and were left out.
    pub(crate) counts: Option<[u32; 4]>,
    /// The lines of the tests that failed, then those with the counts.
    pub(crate) results: Vec<String>,
    /// What the storms lost.
    pub(crate) losses: Vec<Loss>,
}

impl Console {
    pub(crate) fn read(text: &str) -> Self {
        let text = text.replace('\r', "");
        // The firmware's last line has no end: what follows is behind it.
        let (before, tests) = text.split_once("matrix: tests\n").unwrap_or((&text, ""));
        let (tests, after) = tests.split_once("matrix: losses\n").unwrap_or((tests, ""));
        // Labels may follow those.
        let labels =
            r#"(?m)^tcpstat_tracer_info\{program="([^"]*)",snapshot="([^"]*)",hooks="([^"]*)"[,}]"#;
        let counts = r"(\d+) passed; (\d+) failed; (\d+) ignored; .*?(\d+) filtered out";
        let runs = all(r"(?m)^(\S+) +runs$", before);
        let program = all(r"(?m)^tracer +would run, with (.+)$", before).pop();
        let failed =
            tests.lines().filter(|line| line.starts_with("test ") && line.ends_with(" FAILED"));
        let closing = tests.lines().filter(|line| line.starts_with("test result: "));
        Self {
            program: program.map(|[program]| program.to_owned()),
            runs: runs.iter().map(|[program]| (*program).to_owned()).collect(),
            serving: all(labels, before).pop().map(|labels| labels.map(str::to_owned)),
            status: all(r"(?m)^matrix: ended with (\d+)$", after)
                .pop()
                .and_then(|[status]| status.parse().ok()),
            counts: all(counts, tests)
                .into_iter()
                .map(|counts| counts.map(|count| count.parse().unwrap_or(0)))
                .reduce(|a: [u32; 4], b| std::array::from_fn(|at| a[at] + b[at])),
            results: failed.chain(closing).map(str::to_owned).collect(),
            losses: after.lines().filter_map(Loss::parse).collect(),
        }
    }

    /// Whether all tests that ran passed, and one did run, and what served was what was chosen.
    pub(crate) fn passed(&self) -> bool {
        self.reason().is_none()
    }

    /// Why that is not so.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        let served = self.serving.as_ref().map(|[program, ..]| program);
        match self.counts {
            None => Some("no test binary came to its end"),
            Some([_, failed, ..]) if failed > 0 => Some("tests failed"),
            Some([0, ..]) => Some("no test ran"),
            _ if self.status != Some(0) => Some("a test binary failed, or did not come to its end"),
            _ if self.program.is_none() => Some("`tcpstat check` names no tracer"),
            _ if served.is_none() => Some("`tcpstat serve` did not become ready"),
            _ if served != self.program.as_ref() => {
                Some("`tcpstat serve` counts with another program than `tcpstat check` names")
            }
            _ => None,
        }
    }
}

/// The groups of each match of `pattern`.
fn all<'a, const N: usize>(pattern: &str, text: &'a str) -> Vec<[&'a str; N]> {
    let pattern = Regex::new(pattern).expect("the patterns are constant");
    pattern.captures_iter(text).map(|found| found.extract().1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "SeaBIOS (version 1.16)\nBooting from ROM..matrix: check\r\n\
        kernel        5.10.0-46-cloud-amd64\r\ncapabilities  CAP_BPF yes, CAP_PERFMON yes\r\n\
        tp_btf        runs\r\ntracepoint    refused: no tracefs\r\n              → mount it\r\n\
        tracer        would run, with tp_btf\r\nmatrix: serve\r\n\
        tcpstat_tracer_info{program=\"tp_btf\",snapshot=\"iter\",hooks=\"none\",\
        kernel=\"5.10.0-46-cloud-amd64\"} 1\r\n\
        matrix: tests\r\n\r\nrunning 3 tests\r\n\
        test one ... ok\r\ntest two ... FAILED\r\n\r\n\
        failures:\r\n\r\n---- two ----\r\nexit status: 1\r\n\r\n\r\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 1 filtered out; \
        finished in 1.20s\r\n\r\nrunning 2 tests\r\ntest storm ... FAILED\r\n\r\n\
        test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; \
        finished in 60.00s\r\nmatrix: losses\r\n\
        loss: kernel=5.10 program=tp_btf events=9 lost=1 counted=0 healed_seconds=0.5\r\n\
        matrix: ended with 101\r\n[  160.4] reboot: Power down\r\n";

    fn passing() -> String {
        WHOLE
            .replace("FAILED. 1 passed; 1 failed", "ok. 2 passed; 0 failed")
            .replace("ended with 101", "ended with 0")
    }

    #[test]
    fn the_console_shows_program_tests_and_end() {
        let console = Console::read(WHOLE);
        assert_eq!(console.program.as_deref(), Some("tp_btf"));
        assert_eq!(console.runs, ["tp_btf"]);
        assert_eq!(console.status, Some(101));
        assert_eq!(console.serving, Some(["tp_btf", "iter", "none"].map(str::to_owned)));
        assert_eq!(console.counts, Some([2, 2, 0, 1]));
        assert_eq!(console.results[..2], ["test two ... FAILED", "test storm ... FAILED"]);
        assert_eq!(console.results.len(), 4);
        assert_eq!(console.losses.len(), 1);
        assert_eq!(console.reason(), Some("tests failed"));
    }

    #[test]
    fn a_run_without_its_end_a_program_or_a_test_has_not_passed() {
        let passing = passing();
        assert!(Console::read(&passing).passed());
        let cut = passing.split("matrix: ended").next().unwrap();
        let reason = |text: &str| Console::read(text).reason().unwrap_or_default();
        let panicked = format!("{cut}[    9.1] Kernel panic - not syncing\n");
        assert!(reason(&panicked).contains("did not come to its end"));
        assert_eq!(Console::read(""), Console::default());
        assert_eq!(reason(""), "no test binary came to its end");
        for (text, instead, expected) in [
            ("would run, with tp_btf", "would not run; snapshots alone", "names no tracer"),
            ("tcpstat_tracer_info{", "wget: cannot connect", "did not become ready"),
            ("program=\"tp_btf\"", "program=\"tracepoint\"", "with another program"),
            ("2 passed", "0 passed", "no test ran"),
        ] {
            let reason = reason(&passing.replace(text, instead));
            assert!(reason.contains(expected), "{instead}: {reason}");
        }
    }
}
