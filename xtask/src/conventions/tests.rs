//! Each rule on small files: what it must find, and what it must let pass.

use super::*;

/// The numbers of the lines that break a rule; 0 for the file as a whole.
fn found(path: &str, text: &str) -> Vec<usize> {
    let breaches = Checker::new().unwrap().check(path, text);
    let line = |breach: String| breach.split(':').nth(1).unwrap().parse().unwrap_or(0);
    breaches.into_iter().map(line).collect()
}

const NONE: [usize; 0] = [];

#[test]
fn a_file_of_400_lines_passes_one_of_401_does_not() {
    assert_eq!(found("tests/a.rs", &"x\n".repeat(400)), NONE);
    let breaches = Checker::new().unwrap().check("tests/a.rs", &"x\n".repeat(401));
    assert_eq!(breaches, ["tests/a.rs: 401 lines: split it by concern, 400 is the limit"]);
}

#[test]
fn aya_is_named_in_kernel_only() {
    let text = "// aya\nuse aya::Ebpf;\nlet x = aya::Btf::new();\nlet papaya = \"aya::\";\n\
                let (own, aya) = f(aya);\nuse {\n    aya as kernel,\n};\n";
    for path in
        ["tcpstat-user/src/tracker.rs", "tests/tests/main.rs", "tcpstat-user/src/kernels.rs"]
    {
        assert_eq!(found(path, text), [2, 3, 7], "{path}");
    }
    for path in
        ["tcpstat-user/src/kernel/load.rs", "tcpstat-user/src/kernel.rs", "tcpstat-ebpf/src/a.rs"]
    {
        assert_eq!(found(path, text), NONE, "{path}");
    }
}

#[test]
fn unsafe_code_is_expected_in_kernel_only() {
    let text = "#![expect(\n    unsafe_code,\n    reason = \"unsafe_code\"\n)]\n// unsafe_code\n";
    assert_eq!(found("tcpstat-user/src/web/mod.rs", text), [2]);
    assert_eq!(found("tests/src/netns.rs", text), [2]);
    assert_eq!(found("tests/src/tun.rs", text), NONE);
    assert_eq!(found("tcpstat-user/src/kernel/load.rs", text), NONE);
}

#[test]
fn paths_of_proc_are_in_procfs_only() {
    let text = "let a = \"/proc/net/tcp\";\n// \"/proc\"\nlet b = \"see /proc\";\n";
    assert_eq!(found("tcpstat-user/src/commands/serve.rs", text), [1]);
    assert_eq!(found("tcpstat-user/src/procfs/mod.rs", text), NONE);
    assert_eq!(found("tests/src/lib.rs", text), NONE);
}

#[test]
fn the_crate_procfs_is_used_in_procfs_only() {
    let path = "tcpstat-user/src/tracker.rs";
    for (text, line) in [
        ("use crate::ledger;\npub(crate) use procfs as p;\n", 2),
        ("let x = ::procfs::net::tcp();\n", 1),
        ("let x = procfs::net::tcp();\n", 1),
        ("fn f() {\n    procfs::net::tcp();\n}\n", 2),
        ("pub mod procfs;\nuse procfs::tcp;\n", 2),
        ("use crate::procfs::tcp;\nlet x = ::procfs::tcp();\n", 2),
    ] {
        assert!(found(path, text).contains(&line), "{text}");
    }
    for text in [
        "use crate::procfs::tcp;\n",
        "let x = crate::procfs::tcp::read();\n",
        "use crate::{\n    ledger,\n    procfs,\n};\nlet x = procfs::tcp::read();\n",
        "pub mod procfs;\nlet x = procfs::tcp::read();\n",
        "let flag = args.procfs;\n",
    ] {
        assert_eq!(found(path, text), NONE, "{text}");
    }
}

#[test]
fn metric_names_are_in_metrics_only() {
    let text = "f(\"tcpstat_connections\");\nf(\"node_tcp_connection_states\");\n\
                f(\"tcpstat_user=debug\");\nf(\"tcpstat_ebpf\");\nf(\"TCPSTAT_BIN\");\n\
                f(\"# tcpstat_up\");\nf(\"tcpstat_users_total\");\n\
                #[cfg(test)]\nmod tests { const A: &str = \"tcpstat_up\"; }\n";
    assert_eq!(found("tcpstat-user/src/web.rs", text), [1, 2, 7]);
    for path in ["src/metrics/live.rs", "src/web/tests.rs", "src/kernel/load.rs", "tests/a.rs"] {
        assert_eq!(found(&format!("tcpstat-user/{path}"), text), NONE, "{path}");
    }
}

#[test]
fn the_ledger_is_pure() {
    let text = "use std::time::Instant;\nuse std::{\n    collections::BTreeMap,\n    net::IpAddr,\n};\n\
                use std::fmt;\nlet x = tokio::spawn(f());\n// tokio\nlet time = 1;\n";
    assert_eq!(found("tcpstat-user/src/ledger.rs", text), [1, 4, 7]);
    assert_eq!(found("tcpstat-user/src/ledger/rules.rs", text), [1, 4, 7]);
    assert_eq!(found("tcpstat-user/src/tracker.rs", text), NONE);
}

#[test]
fn modules_that_compute_import_nothing_that_presents() {
    let text = "use crate::metrics::Format;\nuse crate::{\n    clock,\n    web,\n};\n\
                use crate::{history::Moment, states::State};\ncrate::top::run();\nlet top = 1;\n";
    for path in
        ["tracker/task.rs", "ledger/mod.rs", "history/mod.rs", "snapshot.rs", "kernel/iter.rs"]
    {
        assert_eq!(found(&format!("tcpstat-user/src/{path}"), text), [1, 4, 7], "{path}");
    }
    assert_eq!(found("tcpstat-user/src/commands/serve.rs", text), NONE);
}

#[test]
fn exceptions_are_expected_not_allowed() {
    let text = "#[allow(dead_code)]\n#![allow(dead_code)]\n#[cfg_attr(test, allow(dead_code))]\n\
                #[expect(dead_code, reason = \"allow(x)\")]\nlist.allow(x);\nfn allow(x: u8) {}\n\
                // #[allow(x)]\n";
    assert_eq!(found("xtask/src/main.rs", text), [1, 2, 3]);
}

#[test]
fn all_members_are_read_but_no_target() {
    let root = tempfile::tempdir().unwrap();
    for file in ["tests/src/a.rs", "tcpstat-x/target/b.rs", "tcpstat-x/src/c.rs", "target/d.rs"] {
        write(root.path(), file, "use aya::x;\nfn kept() {}\n");
    }
    write(root.path(), PROMISES, &promise("kept"));
    let breaches = check(root.path()).unwrap();
    assert!(breaches[0].starts_with("tcpstat-x/src/c.rs:1: names aya"), "{breaches:?}");
    assert!(breaches[1].starts_with("tests/src/a.rs:1: names aya"), "{breaches:?}");
    let of_rust = breaches.iter().filter(|breach| breach.contains(".rs:1: "));
    assert_eq!(of_rust.count(), 2, "{breaches:?}");
}

#[test]
fn a_promise_without_a_test_a_page_without_promises_and_a_dead_link_are_breaches() {
    let root = tempfile::tempdir().unwrap();
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
    assert_eq!(check(&root.canonicalize().unwrap()).unwrap(), [""; 0]);
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
