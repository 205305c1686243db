//! Each rule on small files: what it must find, and what it must let pass.

use super::*;

/// The numbers of the lines that break a rule; 0 for the file as a whole.
fn found(path: &str, text: &str) -> Vec<usize> {
    let breaches = Checker::new(Layers::parse(LIST)).unwrap().check(path, text);
    let line = |breach: String| breach.split(':').nth(1).unwrap().parse().unwrap_or(0);
    breaches.into_iter().map(line).collect()
}

/// Paths in tcpstat-user/src, and others from the root.
const WEB: &str = "tcpstat-user/src/web/mod.rs";
const TRACKER: &str = "tcpstat-user/src/tracker/task.rs";
const LEDGER: &str = "tcpstat-user/src/ledger/rules.rs";
const KERNEL: &str = "tcpstat-user/src/kernel/load.rs";
const PROCFS: &str = "tcpstat-user/src/procfs/mod.rs";
const TEST: &str = "tests/src/netns.rs";

/// The list of the modules.
const LIST: &str = "//! - `commands`\n//! - `web`, `metrics`\n//! - `tracker`, `ledger`\n";

#[test]
fn each_rule_finds_what_breaks_it_where_it_holds_and_nothing_else() {
    let aya = "// aya\nuse aya::Ebpf;\nlet x = aya::Btf::new();\nlet papaya = \"aya::\";\n\
               let (own, aya) = f(aya);\nuse {\n    aya as kernel,\n};\n";
    let expected =
        "#![expect(\n    unsafe_code,\n    reason = \"unsafe_code\"\n)]\n// unsafe_code\n";
    let proc =
        "let a = \"/proc/net/tcp\";\n// \"/proc\"\nlet b = \"see /proc\";\nuse procfs_crate::X;\n";
    let metric = "f(\"tcpstat_connections\");\nf(\"node_tcp_connection_states\");\n\
        f(\"tcpstat_user=debug\");\nf(\"tcpstat_ebpf\");\nf(\"TCPSTAT_BIN\");\n\
        f(\"# tcpstat_up\");\nf(\"tcpstat_users_total\");\n\
        #[cfg(test)]\nmod tests { const A: &str = \"tcpstat_up\"; }\n";
    let impure = "use std::time::Instant;\nuse std::{\n    collections::BTreeMap,\n    io::Read,\n};\n\
        use std::fmt;\nlet x = tokio::spawn(f());\n// tokio\nlet time = 1;\n";
    let presenting =
        "use crate::metrics::Reason;\nuse crate::{ledger, web};\nuse crate::ledger::web;\n";
    let allow = "#[allow(dead_code)]\n#![allow(dead_code)]\n#[cfg_attr(test, allow(dead_code))]\n\
        #[expect(dead_code, reason = \"allow(x)\")]\nlist.allow(x);\nfn allow(x: u8) {}\n";
    for (text, breaking, paths, innocent) in [
        (aya, &[2, 3, 7][..], &[TRACKER, TEST, "tcpstat-user/src/kernels.rs"][..], &[KERNEL][..]),
        (expected, &[2], &[WEB, TEST], &["tests/src/tun.rs", KERNEL, "tcpstat-ebpf/src/a.rs"]),
        (proc, &[4, 1], &[WEB], &[PROCFS, TEST]),
        (metric, &[1, 2, 7], &[WEB], &["tcpstat-user/src/metrics/live.rs", KERNEL, TEST]),
        (impure, &[1, 4, 7], &[LEDGER, "tcpstat-user/src/ledger.rs"], &[TRACKER]),
        (presenting, &[1, 2], &[TRACKER], &["tcpstat-user/src/commands/serve.rs"]),
        (allow, &[1, 2, 3], &["xtask/src/main.rs"], &[]),
    ] {
        for path in paths {
            assert_eq!(found(path, text), breaking, "{path}: {text}");
        }
        for path in innocent {
            assert_eq!(found(path, text), [0; 0], "{path}: {text}");
        }
    }
    assert_eq!(found("tests/a.rs", &"x\n".repeat(400)), [0; 0]);
    assert_eq!(found("tests/a.rs", &"x\n".repeat(401)), [0]);
}

#[test]
fn a_promise_without_a_test_a_page_without_promises_and_a_dead_link_are_breaches() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), layers::LIST, LIST);
    let found = |page: &str| {
        write(root.path(), PROMISES, page);
        let breaches = check(root.path()).unwrap();
        breaches.into_iter().filter(|breach| breach.starts_with(PROMISES)).collect::<Vec<_>>()
    };
    write(root.path(), "tests/src/a.rs", "fn kept() {}\n");
    assert_eq!(found(&promise("kept")), [""; 0]);
    let missing = found(&promise("broken"));
    assert_eq!(missing, [format!("{PROMISES}: no test is named `broken`")]);
    assert!(found("# No table\n")[0].contains("no table begins with"));
    assert!(found(&format!("[x](gone.md)\n\n{}", promise("kept")))[0].contains("gone.md"));
}

#[test]
fn a_vendored_file_that_is_changed_or_has_no_sum_is_named() {
    /// `printf vendored | sha512sum`
    const SUM: &str = "b050923575a06efa6c45bdf9623e820a8ae9180a25f2a418e9bfa246f0708fe441c037419b10b979ebb2a60fee1bb04cf281d7a6b220ed6bccc0cabfd546b8dd";
    let folder = tempfile::tempdir().unwrap();
    let found = || changed_vendored_files(folder.path()).unwrap().join("\n");
    write(folder.path(), "SHA512SUMS", &format!("{SUM}  code.js\n"));
    write(folder.path(), "code.js", "vendored");
    assert_eq!(found(), "");
    write(folder.path(), "more.js", "");
    assert!(found().ends_with("more.js has no sum in SHA512SUMS"), "{}", found());
    write(folder.path(), "code.js", "changed");
    assert!(found().contains("code.js: FAILED"), "{}", found());
}

#[test]
fn the_tests_that_the_page_promises_are_found_by_name() {
    let page = "| state | x |\n| `no` | `a` |\n\n| state | promise | test |\n| --- | --- | --- |\n\
                | a | `word` | `one_{of}_them`, `two` |\n| | b | `three` |\n\n`four`\n";
    assert_eq!(promised_tests(page), ["one_{of}_them", "two", "three"]);
    assert!(names_test("format!(\"one_{of}_them\")", "one_{of}_them"));
    assert!(names_test("fn three() {", "three"));
    assert!(!names_test("three, \"two_more\", fn three_more(", "three"));
}

#[test]
fn the_names_of_the_metrics_are_the_literals_without_a_space() {
    let text = "gauge(\"tcpstat_up\", \"1 if tcpstat_up.\");\n// \"tcpstat_no\"\n\"help\";\n";
    assert_eq!(metric_names(text), ["tcpstat_up"]);
}

#[test]
fn this_repository_has_no_breach() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let breaches = check(&root.canonicalize().unwrap()).unwrap();
    assert!(breaches.is_empty(), "{} breaches:\n{}", breaches.len(), breaches.join("\n"));
}

/// A table with one promise, held by `test`.
fn promise(test: &str) -> String {
    format!("{PROMISES_HEADER} |\n| --- | --- | --- |\n| listen | counts | `{test}` |\n")
}

fn write(root: &Path, file: &str, text: &str) {
    let file = root.join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}
