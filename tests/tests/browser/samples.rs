//! How the page computes lines from samples: its module `series.js`, run in the browser.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;

use crate::page::Page;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![plots_keep_earlier_runs_before_a_gap]
}

/// The beginning of each script: the module, and samples whose established sockets and births equal their second.
const PRELUDE: &str = "
    const script = document.querySelector('script[type=module]').src;
    const { Series, rate, sockets } = await import(script.replace('main.js', 'series.js'));
    const tree = (n) => ({ ipv4: { established: n }, ipv6: { established: 0 } });
    const transitions = (n) => ({ ipv4: { close: { syn_sent: n } } });
    const sample = (n) => ({ unix_ms: 5e6 + 1e3 * n, uptime_ms: 1e3 * n, connections: tree(n), transitions: transitions(n) });
    const history = (...all) => ({
      unix_ms: all.map((n) => 5e6 + 1e3 * n), uptime_ms: all.map((n) => 1e3 * n),
      connections: tree(all), transitions: transitions(all),
    });
    const counts = (series) => series.columns(['established'], (state, _, sample) => sockets(sample, ['ipv4'], state));
    const rates = (series) => series.columns(['close syn_sent'], (transition, before, sample) => rate(before, sample, ['ipv4', 'ipv6'], transition));
    const series = new Series();
";

fn plots_keep_earlier_runs_before_a_gap(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let run = |script: &str| -> Result<Value> {
        let value = page.browser.run(&format!("return (async () => {{ {PRELUDE} {script} }})()"));
        value.context("in series.js")
    };
    // History, and samples after it.
    assert_eq!(
        run("series.load(history(1, 2)); series.add(sample(3)); return counts(series);")?,
        json!([[5001, 5002, 5003], [1, 2, 3]])
    );
    assert_eq!(
        run("series.load(history(1, 2)); series.add(sample(3)); return rates(series)[1];")?,
        json!([null, 1, 1])
    );
    // A sample that the history has too counts once; one that arrived before the history stays.
    assert_eq!(
        run("series.load(history(1, 2)); series.add(sample(2)); return counts(series)[1];")?,
        json!([1, 2])
    );
    assert_eq!(
        run("series.add(sample(3)); series.load(history(1, 2)); return counts(series)[1];")?,
        json!([1, 2, 3])
    );
    // A period without samples is a gap.
    assert_eq!(
        run("series.load(history(1, 2)); series.add(sample(9)); return counts(series)[1];")?,
        json!([1, 2, null, 9])
    );
    // After a restart the earlier samples stay before a gap, and no rate spans it.
    let restart = "series.load(history(1, 2)); series.load(history(4, 5));";
    assert_eq!(run(&format!("{restart} return counts(series)[1];"))?, json!([1, 2, null, 4, 5]));
    assert_eq!(
        run(&format!("{restart} return rates(series)[1];"))?,
        json!([null, 1, null, null, 1])
    );
    // The same history again, after only the connection has broken, leaves no gap.
    assert_eq!(
        run(
            "series.load(history(1, 2)); series.load(history(1, 2, 3)); return counts(series)[1];"
        )?,
        json!([1, 2, 3])
    );
    // A clock that jumps shifts all times and no distance.
    assert_eq!(
        run("series.load(history(1, 2));
             series.add({ ...sample(3), unix_ms: 9e6 }); return counts(series)[0];")?,
        json!([8998, 8999, 9000])
    );
    // Ten minutes are kept.
    assert_eq!(
        run(
            "for (let n = 1; n < 2000; n += 1) series.add(sample(n)); return series.samples.length;"
        )?,
        json!(600)
    );
    // A state without sockets has no line.
    assert_eq!(
        run("series.load(history(0, 0.5)); return series.columns(['listen'], () => 0)[1];")?,
        json!([null, null])
    );
    Ok(())
}
