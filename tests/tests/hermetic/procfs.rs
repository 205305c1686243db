//! Something that is not a regular file in place of a file of procfs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tcpstat_tests::binary::{fixture, tcpstat};
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::{Test, hermetic_test};
use tcpstat_tests::hermetic_tests;
use tempfile::TempDir;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (what, put, _) in INTRUDERS {
        for file in ["tcp", "tcp6"] {
            tests.push(hermetic_test(format!("{what}_in_place_of_{file}_is_named"), move || {
                is_named(what, put, file)
            }));
        }
        for file in ["sockstat", "sockstat6"] {
            tests.push(hermetic_test(
                format!("{what}_in_place_of_{file}_delays_nothing"),
                move || delays_nothing(what, put, file),
            ));
        }
    }
    tests.extend(hermetic_tests![an_endless_sockstat_is_read_up_to_a_limit]);
    tests.extend(hermetic_tests![show_separates_wide_numbers]);
    tests
}

type Put = fn(&Path) -> Result<()>;

/// Its name in a test, how it is made, and its name in an error.
const INTRUDERS: [(&str, Put, &str); 3] = [
    ("a_fifo", |path| Ok(mkfifo(path, Mode::from_bits_truncate(0o644))?), "a FIFO"),
    ("an_endless_device", |path| Ok(symlink("/dev/zero", path)?), "a character device"),
    ("a_directory", |path| Ok(fs::create_dir(path)?), "a directory"),
];

/// A copy of a fixture, with something else in place of net/`file`.
fn with_intruder(put: Put, file: &str) -> Result<TempDir> {
    let folder = copy()?;
    let path = folder.path().join("net").join(file);
    fs::remove_file(&path)?;
    put(&path)?;
    Ok(folder)
}

fn copy() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("net"))?;
    for file in ["tcp", "tcp6", "sockstat", "sockstat6"] {
        let original = fixture(format!("proc/debian-7.2/net/{file}"))?;
        fs::copy(original, folder.path().join("net").join(file))?;
    }
    Ok(folder)
}

fn name_in_errors(what: &str) -> Result<&'static str> {
    let found = INTRUDERS.into_iter().find(|(name, ..)| *name == what);
    Ok(found.context("no such intruder")?.2)
}

fn is_named(what: &str, put: Put, file: &str) -> Result<()> {
    let folder = with_intruder(put, file)?;
    let root = folder.path().display();
    let line = format!("{root}/net/{file}: this is {}, not a regular file", name_in_errors(what)?);
    for args in [
        vec!["show".to_owned(), format!("--path.procfs={root}")],
        vec![
            "serve".to_owned(),
            format!("--path.procfs={root}"),
            "--web.listen-address=127.0.0.1:0".to_owned(),
            "--log.level=error".to_owned(),
        ],
    ] {
        let run = tcpstat(&args)?;
        assert_eq!(run.status, Some(1), "{run:?}");
        ensure!(run.stderr.lines().count() == 1 && run.stderr.contains(&line), "{run:?}");
    }
    Ok(())
}

fn delays_nothing(what: &str, put: Put, file: &str) -> Result<()> {
    let folder = with_intruder(put, file)?;
    let mut exporter = over(folder.path()).start()?;
    for _ in 0..3 {
        let scrape = exporter.scrape()?;
        assert!(scrape.family("tcpstat_sockstat_sockets").is_empty());
        assert!(!scrape.family("tcpstat_connections").is_empty());
    }
    let log = exporter.log();
    let line = format!("net/{file}: this is {}, not a regular file", name_in_errors(what)?);
    assert_eq!(log.matches(&line).count(), 1, "{log}");
    ensure!(exporter.stop()?.success());
    Ok(())
}

fn over(root: &Path) -> Options {
    let procfs = format!("--path.procfs={}", root.display());
    Options::default().listen(([127, 0, 0, 1], 0).into()).args([procfs])
}

fn an_endless_sockstat_is_read_up_to_a_limit() -> Result<()> {
    let folder = copy()?;
    let path = folder.path().join("net/sockstat");
    // A gigabyte that takes no space, because the file is sparse.
    fs::File::options().write(true).open(&path)?.set_len(1 << 30)?;
    let mut exporter = over(folder.path()).start()?;
    assert!(exporter.scrape()?.family("tcpstat_sockstat_sockets").is_empty());
    let log = exporter.log();
    let line = format!("{}: more than 65536 bytes", path.display());
    assert_eq!(log.matches(&line).count(), 1, "{log}");
    Ok(())
}

/// Three queues with the largest possible numbers add up to eleven digits.
fn show_separates_wide_numbers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("net"))?;
    for (file, address) in [("tcp", "0".repeat(8)), ("tcp6", "0".repeat(32))] {
        let rows = (1..=3).map(|inode| {
            let ends = format!("{address}:07E8 {address}:01BB");
            format!(
                "0: {ends} 01 FFFFFFFF:FFFFFFFF 00:00000000 00000000 0 0 {inode} 1 0 20 4 1 35 -1\n"
            )
        });
        fs::write(folder.path().join("net").join(file), rows.collect::<String>())?;
    }
    let run = tcpstat(["show", &format!("--path.procfs={}", folder.path().display())])?;
    let line = run.stdout.lines().find_map(|line| line.strip_prefix("send queue bytes"));
    let numbers: Vec<_> = line.context("no such line")?.split_whitespace().collect();
    assert_eq!(numbers, ["12884901885", "12884901885", "25769803770"], "{}", run.stdout);
    let widths: Vec<_> = run.stdout.lines().map(str::len).collect();
    ensure!(widths.iter().all(|width| *width == widths[0]), "{}", run.stdout);
    Ok(())
}
