//! What reads bytes from outside, for `cargo xtask fuzz`. Each target takes any bytes, and panics if a promise does
//! not hold.

use std::cell::RefCell;
use std::fs;
use std::io::BufReader;

use tempfile::TempDir;

use crate::api::EventReader;
use crate::procfs::Procfs;
use crate::scopes::{
    CgroupName, CgroupPattern, LONGEST_NAME, LONGEST_PATH, NamedNetns, NetnsName, PodNames,
    counting_cgroup,
};
use crate::snapshot::{BrokenRow, Row, RowSink};
use crate::{kernel, web};

/// Takes the bytes of one run.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: [(&str, Target); 6] = [
    ("api-query", web::fuzz_query),
    ("cgroup-names", cgroup_names),
    ("event-stream", event_stream),
    ("kernel-records", kernel::fuzz_records),
    ("procfs", procfs),
    ("web-config", web::fuzz_config),
];

/// Panics unless `text` is one line that a terminal shows as it is.
pub(crate) fn assert_one_line(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?} has a control character");
}

/// The path of a cgroup, the text of /proc/PID/cgroup, and the other names that a user of the host can choose.
fn cgroup_names(bytes: &[u8]) {
    let pods = PodNames::new([bytes]);
    let named = NamedNetns::new([(7, bytes)]);
    for name in [CgroupName::parse(bytes), CgroupName::of_process(bytes)] {
        assert_label(&name.path, LONGEST_PATH);
        let netns = NetnsName::new(7, [&name], &named, &pods);
        assert_label(&netns.name, LONGEST_NAME);
    }
    assert_label(&CgroupName::whole_path(bytes), LONGEST_PATH);
    let (pattern, path) = bytes.split_at(bytes.len() / 2);
    if let Ok(Ok(pattern)) = str::from_utf8(pattern).map(str::parse::<CgroupPattern>)
        && let Ok(path) = str::from_utf8(path)
        && path.starts_with('/')
    {
        let counted = counting_cgroup(&[pattern], path);
        assert!(counted.is_none_or(|cgroup| path.starts_with(cgroup)));
    }
}

fn assert_label(text: &str, longest: usize) {
    assert_one_line(text);
    assert!(text.chars().count() <= longest + "...".len(), "{text:?} is too long");
}

/// What another exporter sends to `tcpstat top`. The events do not depend on how the bytes arrive.
fn event_stream(bytes: &[u8]) {
    let Some((&size, bytes)) = bytes.split_first() else { return };
    let events = |stream: BufReader<&[u8]>| {
        let mut events = Vec::new();
        for event in EventReader::new(stream) {
            let event = event.map_err(|error| error.kind());
            // What follows an error has lost its beginning.
            let is_last = event.is_err();
            events.push(event);
            if is_last {
                break;
            }
        }
        events
    };
    let pieces = events(BufReader::with_capacity(usize::from(size) + 1, bytes));
    assert_eq!(pieces, events(BufReader::with_capacity(bytes.len().max(1), bytes)));
    for event in pieces.iter().flatten() {
        crate::top::fuzz_status(&event.data);
    }
}

/// The tables and totals of a procfs that is a directory of files.
fn procfs(bytes: &[u8]) {
    thread_local! {
        static ROOT: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }
    ROOT.with_borrow_mut(|root| {
        let root = root.get_or_insert_with(|| {
            let root = TempDir::new_in("/dev/shm").expect("/dev/shm takes a directory");
            fs::create_dir(root.path().join("net")).expect("it takes another");
            root
        });
        for file in ["tcp", "tcp6", "sockstat", "sockstat6"] {
            fs::write(root.path().join("net").join(file), bytes).expect("it takes a file");
        }
        let procfs = Procfs::new(root.path());
        let mut rows = Rows::default();
        let listed = procfs.each_socket(&mut rows);
        // Of both files.
        let lines = 2 * bytes.split_inclusive(|byte| *byte == b'\n').count();
        match listed {
            Ok(()) => assert!(rows.0 <= lines, "{} rows in {lines} lines", rows.0),
            Err(error) => assert_one_line(&error.to_string()),
        }
        if let Err(error) = procfs.sockstat() {
            assert_one_line(&error.to_string());
        }
    });
}

/// How many rows there were, broken ones among them.
#[derive(Default)]
struct Rows(usize);

impl RowSink for Rows {
    fn listed(&mut self) {}

    fn row(&mut self, row: &Row) {
        self.0 += 1;
        assert_eq!(row.identity.tuple().sport, row.sport);
    }

    fn broken(&mut self, row: BrokenRow<'_>) {
        self.0 += 1;
        assert_one_line(&row.to_string());
    }
}
