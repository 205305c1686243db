//! Causes, ages, and listeners on the page: of real sockets, and of statuses that an exporter could send.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpstat_tests::exporter::FREQUENT_SNAPSHOTS;
use tcpstat_tests::harness::Test;
use tcpstat_tests::held::Addressing;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::listeners::Stuck;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::states;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::wire::Wire;

use crate::page::Page;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_page_shows_why_sockets_close_and_how_old_a_leak_is,
        the_fullest_listener_is_first_with_its_queue_and_its_fill,
        a_peak_stays_after_the_sockets_are_closed,
        without_a_tracer_the_page_says_that_causes_need_one,
        texts_of_a_status_are_shown_as_text_and_fit_a_phone
    ]
}

/// A script that gives the texts of the rows of a table.
fn rows(section: &str) -> String {
    format!(
        "return [...document.querySelectorAll('{section} tbody tr')].map(
           (row) => [...row.children].map((cell) => cell.textContent))"
    )
}

/// Waits until the first rows of a table begin with these texts, and gives the rows.
fn await_rows(page: &Page, section: &str, expected: &Value) -> Result<Value> {
    let script = format!(
        "const rows = (() => {{ {} }})();
         const starts = (row, texts) => texts.every((text, at) => text === null || row?.[at] === text);
         return {expected}.every((texts, at) => starts(rows[at], texts)) && rows",
        rows(section)
    );
    let waited = page.browser.wait(&format!("{expected} in {section}"), &script);
    waited.with_context(|| format!("{:?}", page.browser.run(&rows(section))))
}

fn the_page_shows_why_sockets_close_and_how_old_a_leak_is(namespace: &Namespace) -> Result<()> {
    let page = Page::open(&FREQUENT_SNAPSHOTS)?;
    let wire = Wire::open(namespace)?;
    // Connects of the browser can be refused, too; it resets no IPv6 connection.
    page.browser.run("document.querySelector('#families [value=ipv6]').click()")?;
    let refused = "return +([...document.querySelectorAll('#causes tbody tr')]
        .find((row) => row.textContent.startsWith('syn_sentrefused'))
        ?.querySelector('.total').textContent ?? 0)";
    let before = page.number(refused)?;
    for hold in [states::established, states::close_wait, states::close_wait, states::syn_sent] {
        let mut held = hold(&wire, Addressing::Ipv6)?;
        held.remote()?.rst()?;
        held.await_row("end of the socket", |row| row.is_none())?;
    }
    let expected = json!([
        ["syn_sent", "refused"],
        ["close_wait", "reset", null, "2"],
        ["established", "reset", null, "1"]
    ]);
    let found = await_rows(&page, "#causes", &expected)?;
    ensure!(found.as_array().is_some_and(|rows| rows.len() == 3), "{found}");
    let more = format!("return (() => {{ {refused} }})() > {before}");
    page.browser.wait("the refused connect", &more)?;
    let now =
        "return [...document.querySelectorAll('#causes td.rate')].map((cell) => cell.textContent)";
    page.browser.wait("rates", &format!("{now}.every((text) => text !== '–' && text !== '0')"))?;

    page.browser.wait_for_text("#ages .oldest", "none")?;
    let _leak = states::close_wait(&wire, Addressing::Ipv4)?;
    let oldest = "return document.querySelector('#ages .oldest').textContent";
    page.browser.wait("an age", &format!("{oldest}.endsWith(' s')"))?;
    page.browser.wait_for_text("#ages [data-age='1m']", "0")?;

    let console = page.browser.console()?;
    ensure!(console.is_empty(), "{console:?}");
    Ok(())
}

fn the_fullest_listener_is_first_with_its_queue_and_its_fill(_: &Namespace) -> Result<()> {
    let page = Page::open(&FREQUENT_SNAPSHOTS)?;
    let half = Stuck::start(Ipv6Addr::UNSPECIFIED.into(), 5, 3)?;
    await_rows(&page, "#listeners", &json!([[half.address.to_string(), "3", "5", "50 %"]]))?;
    let full = Stuck::start(Ipv4Addr::LOCALHOST.into(), 1, 2)?;
    let expected =
        json!([[full.address.to_string(), "2", "1", "full"], [half.address.to_string()]]);
    await_rows(&page, "#listeners", &expected)?;
    let marked = "return document.querySelector('#listeners tbody tr').matches('.full')";
    assert_eq!(page.browser.run(marked)?, true);
    let part = "return document.querySelectorAll('#listeners .part')[1].getAttribute('width')";
    assert_eq!(page.browser.run(part)?, "50");
    // The exporter and the browser's driver listen, too.
    let summary =
        page.browser.run("return document.querySelector('#listeners .summary').textContent")?;
    let text = summary.as_str().unwrap_or_default();
    let rest = " shown; 0 packets dropped since the start";
    let numbers = text.strip_suffix(rest).and_then(|text| text.split_once(" of "));
    let (shown, all) = numbers.with_context(|| text.to_owned())?;
    ensure!(shown == all && all.parse::<u32>()? >= 4, "{text}");
    drop(full);
    await_rows(&page, "#listeners", &json!([[half.address.to_string()]])).map(drop)
}

fn a_peak_stays_after_the_sockets_are_closed(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let pairs = Pairs::connect(40, Family::Ipv6)?;
    page.browser.wait_for_text("[data-series='established'] .ipv6", "80")?;
    drop(pairs);
    page.browser.wait_for_text("[data-series='established'] .ipv6", "0")?;
    let peak = "return +document.querySelector('[data-series=established] .peak').textContent";
    ensure!(page.number(peak)? >= 80);
    Ok(())
}

fn without_a_tracer_the_page_says_that_causes_need_one(_: &Namespace) -> Result<()> {
    let page = Page::open(&["--tracer=off"])?;
    let note = "return document.querySelector('#causes .note').textContent";
    page.browser.wait("a text", &format!("{note}.includes('tcpstat check')"))?;
    for section in ["#ages", "#listeners"] {
        let visible = format!("return document.querySelector({section:?}).checkVisibility()");
        assert_eq!(page.browser.run(&visible)?, false, "{section}");
    }
    Ok(())
}

/// HTML that would run a script.
const EVIL: &str = "<img src=x onerror=\"window.ran=1\"><script>window.ran=1</script>&amp;";

/// A status with names that nobody expects, and with the longest address.
fn texts_of_a_status_are_shown_as_text_and_fit_a_phone(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let phone = json!({ "width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true });
    page.browser.devtools("Emulation.setDeviceMetricsOverride", &phone)?;
    let long = "2001:db8:1111:2222:3333:4444:5555:6666";
    let listener = |address: &str| {
        json!({ "address": address, "port": 65_535, "queue_length": 4_294_967_295_u32,
            "queue_limit": 2_147_483_647, "fullest_ratio": 2, "half_open": 1_234_567,
            "drops": 123_456_789 })
    };
    let status = json!({
        "started_uptime_ms": 1, "uptime_ms": 2, "tracer": {},
        "closed": { "ipv4": { EVIL: { EVIL: 4 } }, "ipv6": { "syn_sent": { "unreachable": 123_456_789_u64 } } },
        "close_wait_ages": { "oldest_ms": 3_600_000_000_u64, "older_than": { "1m": 12_345_678 } },
        "listeners": { "count": 2, "drops": 1, "fullest": [listener(long), listener(EVIL)] },
        "ephemeral_ports": { "count": 64_512, "fullest_destination": { "sockets": 123_456_789,
            "local_address": EVIL, "remote_address": long, "remote_port": 65_535 } }
    });
    // The page's own module, on its own tables, after their last status.
    page.browser.run(
        "return (async () => {
           const script = document.querySelector('script[type=module]').src;
           const { Details } = await import(script.replace('main.js', 'details.js'));
           const sections = ['causes', 'ages', 'listeners', 'ports'].map((id) => {
             const shown = document.getElementById(id);
             const own = shown.cloneNode(true);
             shown.replaceWith(own);
             return own;
           });
           window.details = new Details(...sections);
         })()",
    )?;
    for (closed, text) in [
        (json!({ "ipv4": { "last_ack": { "none": 3 } }, "ipv6": {} }), "No connect has failed"),
        (Value::Null, "The causes are not counted"),
    ] {
        let quiet =
            json!({ "started_uptime_ms": 1, "uptime_ms": 2, "tracer": {}, "closed": closed });
        let note = page.browser.run(&format!(
            "window.details.add({quiet});
             window.details.draw(['ipv4', 'ipv6']);
             const note = document.querySelector('#causes .note').textContent;
             window.details.add({status});
             window.details.draw(['ipv4', 'ipv6']);
             return note"
        ))?;
        ensure!(note.as_str().is_some_and(|note| note.starts_with(text)), "{note}");
    }
    let causes = page.browser.run(&rows("#causes"))?;
    let expected = json!([["syn_sent", "unreachable", "–", "123,456,789"], [EVIL, EVIL, "–", "4"]]);
    assert_eq!(causes, expected);
    let listeners = page.browser.run(&rows("#listeners"))?;
    assert_eq!(listeners[0][0], format!("[{long}]:65535"));
    assert_eq!(listeners[1][0], format!("{EVIL}:65535"));
    page.browser.wait_for_text("#ports .used", "123,456,789")?;
    page.browser.wait_for_text("#ports .destination dd", &format!("{EVIL} → [{long}]:65535"))?;
    page.browser.wait_for_text("#ages .oldest", "41 days")?;
    page.browser.wait_for_text("#ages [data-age='1m']", "12,345,678")?;
    assert_eq!(page.browser.run("return window.ran === undefined")?, true);
    assert_eq!(page.number("return document.querySelectorAll('main img, main script').length")?, 0);
    assert_eq!(page.number("return document.documentElement.scrollWidth")?, 360);
    Ok(())
}
