//! How tcpstat reads /proc as real kernels write it, and as none does.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tcpstat_tests::binary::{Run, fixture, tcpstat};
use tcpstat_tests::harness::{Test, hermetic_test};
use tcpstat_tests::hermetic_tests;

/// Every case that has sockets to count.
const CASES: [&str; 14] = [
    "broken-rows",
    "broken-sockstat",
    "broken-sockstat-number",
    "debian-5.10",
    "debian-6.1",
    "debian-6.12",
    "debian-6.18",
    "debian-7.2",
    "debian-7.3",
    "empty",
    "gvisor",
    "host-6.18",
    "no-header",
    "no-ipv6",
];

/// The cases without sockets, each with the file that is wrong and the error.
const ERRORS: [(&str, &str, &str); 2] = [
    ("no-tcp", "net/tcp", " does not exist, so this is not a procfs: use the mount point"),
    ("wsl1", "net/tcp", ": the file is empty, not even a header"),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests: Vec<_> = CASES
        .into_iter()
        .map(|case| {
            let name = format!("the_sockets_of_{case}_are_counted_as_expected");
            hermetic_test(name, move || counted_as_expected(case))
        })
        .collect();
    tests.extend(hermetic_tests![every_fixture_is_tested]);
    tests.extend(hermetic_tests![the_first_broken_row_is_logged_once_and_the_others_are_counted]);
    tests.extend(hermetic_tests![a_missing_or_empty_tcp_is_an_error_of_one_line_with_its_path]);
    tests.extend(hermetic_tests![the_rows_of_the_table_add_up]);
    tests
}

fn show(case: &str, flags: &[&str]) -> Result<Run> {
    let root = fixture(format!("proc/{case}"))?;
    let mut args = vec!["show".into(), "--path.procfs".into(), root.into_os_string()];
    args.extend(flags.iter().map(Into::into));
    tcpstat(args)
}

fn counted_as_expected(case: &str) -> Result<()> {
    let shown = show(case, &["--json"])?;
    ensure!(shown.status == Some(0), "{shown:?}");
    let found: Value = serde_json::from_str(&shown.stdout)?;
    let expected = fs::read_to_string(fixture(format!("proc/{case}/expected.json"))?)?;
    let expected: Value = serde_json::from_str(&expected)?;
    for (key, found) in found.as_object().context("an object")? {
        assert_eq!(Some(found), expected.get(key), "{key}");
    }
    for key in expected.as_object().context("an object")?.keys().filter(|key| *key != "sockstat") {
        assert!(found.get(key).is_some(), "{key} is missing");
    }
    Ok(())
}

fn every_fixture_is_tested() -> Result<()> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(fixture("proc")?)? {
        let name = entry?.file_name().into_string();
        folders.push(name.ok().context("a name in UTF-8")?);
    }
    folders.sort();
    let mut cases = CASES.to_vec();
    cases.extend(ERRORS.map(|(case, ..)| case));
    cases.sort_unstable();
    assert_eq!(folders, cases);
    Ok(())
}

fn the_first_broken_row_is_logged_once_and_the_others_are_counted() -> Result<()> {
    let shown = show("broken-rows", &[])?;
    ensure!(shown.status == Some(0), "{shown:?}");
    assert_eq!(shown.stderr.lines().count(), 1, "{}", shown.stderr);
    for part in ["broken-rows/net/tcp line 3: invalid number of fields:", "rows=14"] {
        assert!(shown.stderr.contains(part), "{part}: {}", shown.stderr);
    }
    Ok(())
}

fn a_missing_or_empty_tcp_is_an_error_of_one_line_with_its_path() -> Result<()> {
    for ((case, file, said), command) in
        ERRORS.into_iter().flat_map(|error| ["show", "serve"].map(|command| (error, command)))
    {
        let root = fixture(format!("proc/{case}"))?;
        let path = root.join(file);
        let mut args = vec![command.into(), "--path.procfs".into(), root.into_os_string()];
        if command == "serve" {
            args.extend(["--web.listen-address=127.0.0.1:0".into(), "--log.level=error".into()]);
        }
        let run = tcpstat(args)?;
        assert_eq!(run.status, Some(1), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        let cause = format!("{}{said}", path.display());
        assert!(run.stderr.starts_with("tcpstat: ") && run.stderr.contains(&cause), "{run:?}");
    }
    Ok(())
}

fn the_rows_of_the_table_add_up() -> Result<()> {
    let shown = show("debian-7.2", &[])?;
    let line = |name: &str| {
        let line = shown.stdout.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>())
            .with_context(|| name.to_owned())
    };
    assert_eq!(line("STATE")?, ["IPV4", "IPV6", "TOTAL"]);
    assert_eq!(line("established ")?, ["10", "20", "30"]);
    assert_eq!(line("sockets ")?, ["40", "80", "120"]);
    assert_eq!(line("receive queue bytes ")?, ["13605", "27210", "40815"]);
    Ok(())
}
