//! The rows of scopes in the table.

use crate::body::{BEFORE, CASES, CLASSIC, DEFAULT};
use crate::samples::Samples;
use crate::table::{MEGABYTE, Row};

/// The bodies of the programs above an empty one.
pub(crate) fn bodies(samples: &Samples) -> Vec<Row> {
    let nanoseconds = |name| samples.median(name, 0).map(|seconds| seconds * 1e9);
    // Causes are counted since the version before.
    let most = |now| if now == CLASSIC { 18.0 } else { 10.0 };
    let before = BEFORE.into_iter().filter_map(|(before, now)| {
        let (before, most) = (nanoseconds(before)?, most(now));
        let more = nanoseconds(now)? - before;
        Some(Row {
            what: if now == CLASSIC {
                "tracepoint: the default of the other version, and how much more the body is now"
            } else {
                "the default of the other version, and how much more the body is now"
            },
            measured: format!("{before:.1} ns: {more:+.1}"),
            target: format!("{most:+} ns"),
            met: more <= most,
        })
    });
    let rows = CASES.iter().filter(|case| case.name != DEFAULT).filter_map(|case| {
        let body = nanoseconds(case.name)?;
        let Some((than, most)) = case.above else {
            return Some(Row {
                what: case.what,
                measured: format!("{body:.0} ns"),
                target: "-".to_owned(),
                met: true,
            });
        };
        let more = body - nanoseconds(than)?;
        Some(Row {
            what: case.what,
            measured: format!("{body:.0} ns: {more:+.0}"),
            target: format!("{most:+} ns"),
            met: more <= most,
        })
    });
    before.chain(rows).collect()
}

/// `None` if they were not measured.
pub(crate) fn scopes(samples: &Samples) -> Option<Vec<Row>> {
    let at = |name| samples.median(name, 0);
    let milliseconds = |name| at(name).map(|seconds: f64| seconds * 1e3);
    let (scrape, cpu) = (milliseconds("scopes_scrape")?, milliseconds("scopes_scrape_cpu")?);
    let (few, few_cpu) =
        (milliseconds("scopes_scrape_few")?, milliseconds("scopes_scrape_few_cpu")?);
    let (files, files_cpu) = (milliseconds("scopes_files")?, milliseconds("scopes_files_cpu")?);
    let (rest, memory) = (at("scopes_rest_cpu")?, at("scopes_memory")?);
    Some(vec![
        Row {
            what: "a scrape with 200 namespaces and 100 cgroups",
            measured: format!(
                "{scrape:.1} ms, {cpu:.1} ms of CPU, {:.2} MB",
                at("scopes_scrape_bytes")? / MEGABYTE
            ),
            target: "3 ms".to_owned(),
            met: cpu <= 3.0,
        },
        Row {
            what: "the same with 2 sockets in each namespace instead of 500",
            measured: format!("{few:.1} ms, {few_cpu:.1} ms of CPU"),
            target: "the same".to_owned(),
            met: cpu / few_cpu <= 1.2,
        },
        Row {
            what: "reading /proc/PID/net/tcp and tcp6 of them, against a scrape",
            measured: format!("{files:.0} ms, {files_cpu:.0} ms of CPU: {:.0}", files_cpu / cpu),
            target: "400".to_owned(),
            met: files_cpu / cpu >= 400.0,
        },
        Row {
            what: "CPU at rest with them, of one core",
            measured: format!(
                "{:.2} %, and {:.0} % of them had a snapshot",
                rest * 100.0,
                at("scopes_rest_listed")? * 100.0
            ),
            target: "1 %".to_owned(),
            met: rest <= 0.01,
        },
        Row {
            what: "resident memory with them and 100 cgroups",
            measured: format!("{:.1} MB", memory / MEGABYTE),
            target: "24 MB".to_owned(),
            met: memory <= 24.0 * MEGABYTE,
        },
    ])
}

/// `None` if they were not measured.
pub(crate) fn starts(samples: &Samples) -> Option<Vec<Row>> {
    let at = |name| samples.median(name, 0);
    let (ready, seeded) = (at("scopes_ready")?, at("scopes_seeded")?);
    Some(vec![
        Row {
            what: "from start to ready, with 200 namespaces",
            measured: format!("{ready:.2} s"),
            target: "-".to_owned(),
            met: true,
        },
        Row {
            what: "from start to the last seed of 200 namespaces with 500 sockets each",
            measured: format!("{seeded:.2} s, {:.2} s of CPU", at("scopes_seeded_cpu")?),
            target: "5 s".to_owned(),
            met: seeded <= 5.0,
        },
    ])
}
