//! What the console of a guest tells. See `init.sh` for what writes it.

use regex::Regex;

use crate::losses::Loss;

/// What opens a part of a console; the last has the exit status of the tests behind it. The firmware's last
/// line has no end: what follows is behind it.
const TITLE: &str = r"(?m)matrix: (check|serve|tests|storm|losses|ended with)(.*)$";

/// A console, read to its end. What is missing, because the guest panicked or was stopped, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Console {
    /// The program that tcpstat chose, if one would run.
    pub(crate) tracer: Option<String>,
    /// The programs that would run, in the order of preference.
    pub(crate) runs: Vec<String>,
    /// How it counted and listed when it was scraped: program, snapshot and hooks, the labels of
    /// `tcpstat_tracer_info`.
    pub(crate) serving: Option<[String; 3]>,
    /// The exit status of the tests, if they came to their end.
    pub(crate) status: Option<i32>,
    /// How many tests passed, failed, were ignored, and were left out.
    pub(crate) counts: Option<[u32; 4]>,
    /// The lines that these were read from.
    pub(crate) closing: Vec<String>,
    /// The lines of the tests that failed.
    pub(crate) failed: Vec<String>,
    /// What the tests that failed said.
    pub(crate) failures: String,
    /// What the storms lost.
    pub(crate) losses: Vec<Loss>,
}

impl Console {
    pub(crate) fn read(text: &str) -> Self {
        let text = text.replace('\r', "");
        let titles = all::<2>(TITLE, &text);
        let part = |name: &str| {
            let at = titles.iter().position(|(_, [title, _])| *title == name)?;
            let end = titles.get(at + 1).map_or(text.len(), |&(next, _)| next);
            Some(&text[titles[at].0..end])
        };
        let part = |name: &str| part(name).unwrap_or_default();
        let tests = [part("tests"), part("storm")];
        let lines = || tests.into_iter().flat_map(str::lines);
        let owned = |found: &[&str]| found.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();

        let (check, serve) = (part("check"), part("serve"));
        let tracer = all(r"(?m)^tracer +would run, with (.+)$", check);
        let runs = all(r"(?m)^(\S+) +runs$", check);
        let labels =
            r#"(?m)^tcpstat_tracer_info\{program="(.*?)",snapshot="(.*?)",hooks="(.*?)"\}"#;
        let status = titles.iter().find(|(_, [title, _])| *title == "ended with");
        let counts = r"(\d+) passed; (\d+) failed; (\d+) ignored; .*?(\d+) filtered out";
        let closing: Vec<_> = lines().filter(|line| line.starts_with("test result: ")).collect();
        let counts = closing.iter().flat_map(|line| all::<4>(counts, line));
        let failed = lines().filter(|line| line.starts_with("test ") && line.ends_with(" FAILED"));
        let failures = tests.map(failures).into_iter().filter(|part| !part.is_empty());
        Self {
            tracer: tracer.first().map(|(_, [program])| (*program).to_owned()),
            runs: runs.into_iter().map(|(_, [program])| program.to_owned()).collect(),
            serving: all(labels, serve).first().map(|(_, labels)| labels.map(str::to_owned)),
            status: status.and_then(|(_, [_, status])| status.trim().parse().ok()),
            counts: counts
                .map(|(_, counts)| counts.map(|count| count.parse().unwrap_or(0)))
                .reduce(|a: [u32; 4], b| std::array::from_fn(|at| a[at] + b[at])),
            closing: owned(&closing),
            failed: failed
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect(),
            failures: failures.collect::<Vec<_>>().join("\n"),
            losses: part("losses").lines().filter_map(Loss::parse).collect(),
        }
    }

    /// Whether all tests that ran held, and one did run, and what served was what was chosen.
    pub(crate) fn passed(&self) -> bool {
        self.status == Some(0)
            && self.counts.is_some_and(|[passed, failed, ..]| failed == 0 && passed > 0)
            && self.tracer.is_some()
            && self.serving.as_ref().map(|[program, ..]| program) == self.tracer.as_ref()
    }
}

/// Where each match of `pattern` begins, with its groups.
fn all<'a, const N: usize>(pattern: &str, text: &'a str) -> Vec<(usize, [&'a str; N])> {
    let pattern = Regex::new(pattern).expect("the patterns are constant");
    let found = pattern
        .captures_iter(text)
        .filter_map(|found| Some((found.get(0)?.start(), found.extract().1)));
    found.collect()
}

/// What stands between the two lines `failures:`, of which the second opens the list of names.
fn failures(text: &str) -> &str {
    let mut parts = text.split("\nfailures:\n");
    let (_, said, names) = (parts.next(), parts.next(), parts.next());
    names.and(said).map(str::trim).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "SeaBIOS (version 1.16)\nBooting from ROM..matrix: check\r\n\
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

    fn passing() -> String {
        WHOLE
            .replace("FAILED. 1 passed; 1 failed", "ok. 2 passed; 0 failed")
            .replace("ended with 101", "ended with 0")
    }

    #[test]
    fn the_console_tells_tracer_tests_and_end() {
        let console = Console::read(WHOLE);
        assert_eq!(console.tracer.as_deref(), Some("tp_btf"));
        assert_eq!(console.runs, ["tp_btf"]);
        assert_eq!(console.status, Some(101));
        assert_eq!(console.serving, Some(["tp_btf", "iter", "none"].map(str::to_owned)));
        assert_eq!(console.counts, Some([2, 2, 0, 1]));
        assert_eq!(console.closing.len(), 2);
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
        assert!(Console::read(&passing()).passed());
        let passing = passing();
        let cut = passing.split("matrix: ended").next().unwrap();
        let panicked = format!("{cut}[    9.1] Kernel panic - not syncing: Fatal exception\n");
        assert_eq!(Console::read(&panicked).status, None);
        assert!(!Console::read(&panicked).passed());
        assert_eq!(Console::read(""), Console::default());
    }

    #[test]
    fn a_kernel_without_a_tracer_or_without_a_test_has_not_passed() {
        for (told, instead) in [
            ("would run, with tp_btf", "would not run; snapshots alone"),
            ("program=\"tp_btf\"", "program=\"tracepoint\""),
            ("2 passed", "0 passed"),
        ] {
            assert!(!Console::read(&passing().replace(told, instead)).passed(), "{instead}");
        }
    }
}
