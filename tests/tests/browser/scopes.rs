//! The section of scopes: hidden without scopes; else a table, and the plot of a chosen scope.

use anyhow::{Context, Result, ensure};
use fantoccini::key::Key;
use serde_json::{Value, json};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::resident::{Order, Resident};

use crate::keyboard::tab_to;
use crate::page::Page;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        without_scopes_the_page_has_no_section_for_them,
        the_worst_close_wait_is_first_and_the_table_can_be_sorted_and_filtered,
        names_of_scopes_are_shown_as_text,
        the_keyboard_sorts_scopes_and_shows_the_plot_of_one,
        the_scopes_fit_a_phone,
        the_page_shows_a_leak_in_another_namespace
    ]
}

/// HTML that would run a script.
const EVIL: &str = "<img src=x onerror=\"window.ran=1\"><script>window.ran=1</script>&amp;";

/// The names in the table, in its order.
const NAMES: &str =
    "return [...document.querySelectorAll('#scopes tbody th button')].map((it) => it.textContent)";

const STATES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

fn scope(name: &str, established: u64, close_wait: u64) -> Value {
    let mut connections: Value = STATES.into_iter().map(|state| (state, 0)).collect();
    connections["established"] = established.into();
    connections["close_wait"] = close_wait.into();
    let netns = json!({
        "inode": 4_026_532_345_u64, "kind": "pod", "namespace": "shop", "pod": name, "pod_uid": EVIL,
        "container": "", "cgroup": format!("/kubepods/{name}")
    });
    json!({
        "name": name, "connections": connections, "total": established + close_wait,
        "consistent": true, "snapshot_ended_ms_ago": 3_000, "netns": netns,
        "history": {
            "established": [null, 5, established], "close_wait": [null, 1, close_wait],
            "total": [null, 6, established + close_wait]
        }
    })
}

/// What the API answers with these network namespaces.
fn answer(netns: &[Value]) -> Value {
    let port = json!({ "name": "443", "connections": null, "total": null, "consistent": null,
        "snapshot_ended_ms_ago": null, "netns": null,
        "history": { "established": [null, null, null], "close_wait": [null, null, null], "total": [null, null, null] } });
    json!({
        "unix_ms": 5_030_000, "uptime_ms": 50_000,
        "kinds": [
            { "kind": "netns", "overflow": 0, "hidden": 2, "scopes": netns },
            { "kind": "port", "overflow": 0, "hidden": 0, "scopes": [port] }
        ],
        "history": { "unix_ms": [5_000_000, 5_010_000, 5_020_000], "uptime_ms": [20_000, 30_000, 40_000] }
    })
}

/// Makes the page read this answer in place of the exporter's, now and from now on.
fn serve(page: &Page, answer: &Value) -> Result<()> {
    page.browser.run(&format!(
        "window.real ??= window.fetch;
         window.fetch = (path, ...rest) => path === 'api/v1/scopes'
           ? Promise.resolve(new Response(JSON.stringify({answer}))) : window.real(path, ...rest);"
    ))?;
    // As when the page becomes visible.
    let read = "document.dispatchEvent(new Event('visibilitychange')); return true";
    page.browser.run(read).map(drop)
}

/// The page with three network namespaces.
fn page() -> Result<Page> {
    let page = Page::open(&[])?;
    serve(&page, &answer(&[scope("host", 900, 2), scope("web", 40, 70), scope("db", 100, 2)]))?;
    page.browser.wait("table", &format!("{NAMES}.length === 3"))?;
    Ok(page)
}

fn without_scopes_the_page_has_no_section_for_them(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let read = "return performance.getEntriesByName(new URL('api/v1/scopes', location)).length";
    page.browser.wait("answer of the API", read)?;
    for part in ["#scopes", "#scope-plot", "#own"] {
        let visible = format!("return document.querySelector({part:?}).checkVisibility()");
        assert_eq!(page.browser.run(&visible)?, false, "{part}");
    }
    Ok(())
}

fn the_worst_close_wait_is_first_and_the_table_can_be_sorted_and_filtered(
    _: &Namespace,
) -> Result<()> {
    let page = page()?;
    assert_eq!(page.browser.run(NAMES)?, json!(["web", "db", "host"]));
    page.browser.wait_for_text("#scopes tbody .close_wait", "70")?;
    let summary = "return document.querySelector('#scopes [role=status]').textContent";
    let text = page.browser.run(summary)?;
    ensure!(text.as_str().is_some_and(|text| text.contains("2 cannot be counted")), "{text}");
    let sort = |column: &str| {
        let button = format!("#scopes [data-column='{column}'] button");
        page.browser.run(&format!("document.querySelector({button:?}).click()"))
    };
    for (column, order, names) in [
        ("established", "descending", ["host", "db", "web"]),
        ("established", "ascending", ["web", "db", "host"]),
        ("name", "ascending", ["db", "host", "web"]),
    ] {
        sort(column)?;
        assert_eq!(page.browser.run(NAMES)?, json!(names), "{column} {order}");
        let sorted = "return [...document.querySelectorAll('#scopes [aria-sort]')]
                        .map((it) => [it.dataset.column, it.ariaSort])";
        assert_eq!(page.browser.run(sorted)?, json!([[column, order]]));
    }
    let filter = |text: &str| {
        page.browser.run(&format!(
            "const input = document.querySelector('#scopes input');
             input.value = {text:?}; input.dispatchEvent(new Event('input'));"
        ))
    };
    // The labels are searched too.
    filter("KUBEPODS/W")?;
    assert_eq!(page.browser.run(NAMES)?, json!(["web"]));
    filter("")?;
    page.browser.run(
        "const select = document.querySelector('#scopes select');
         select.value = 'port'; select.dispatchEvent(new Event('change'));",
    )?;
    assert_eq!(page.browser.run(NAMES)?, json!(["443"]));
    page.browser.wait_for_text("#scopes tbody .close_wait", "–")
}

fn names_of_scopes_are_shown_as_text(_: &Namespace) -> Result<()> {
    let page = page()?;
    let mut kinds = answer(&[scope(EVIL, 3, 4)]);
    let mut evil_kind = kinds["kinds"][0].clone();
    evil_kind["kind"] = EVIL.into();
    kinds["kinds"].as_array_mut().context("no list")?.push(evil_kind);
    serve(&page, &kinds)?;
    page.browser.wait_for_text("#scopes tbody th button", EVIL)?;
    page.browser.run("document.querySelector('#scopes tbody th button').click()")?;
    page.browser.wait_for_text("#scope-plot h2", &format!("{EVIL}, last 10 minutes"))?;
    let details = page.browser.run("return document.querySelector('.details').textContent")?;
    ensure!(details.as_str().is_some_and(|text| text.contains(EVIL)), "{details}");
    let made =
        "return document.querySelectorAll('#scopes img, #scope-plot img, #scopes script').length";
    assert_eq!(page.browser.run(made)?, 0);
    assert_eq!(page.browser.run("return window.ran ?? null")?, Value::Null);
    let console = page.browser.console()?;
    ensure!(console.is_empty(), "{console:?}");
    Ok(())
}

fn the_keyboard_sorts_scopes_and_shows_the_plot_of_one(_: &Namespace) -> Result<()> {
    let page = page()?;
    tab_to(&page, "#scopes select")?;
    tab_to(&page, "#scopes [data-column='established'] button")?;
    page.browser.press(&[Key::Enter])?;
    assert_eq!(page.browser.run(NAMES)?, json!(["host", "db", "web"]));
    tab_to(&page, "#scopes tbody th button")?;
    page.browser.press(&[Key::Enter])?;
    page.browser.wait_for_text("#scope-plot h2", "host, last 10 minutes")?;
    page.browser.wait("line", &Page::inked("#scope-plot", "established"))?;
    let described = "return document.querySelector('#scope-plot-text').textContent";
    let text = page.browser.run(described)?;
    ensure!(text.as_str().is_some_and(|text| text.contains("established now 900")), "{text}");

    // New numbers change the order; the row keeps the focus.
    serve(&page, &answer(&[scope("host", 1, 2), scope("web", 40, 70)]))?;
    page.browser.wait("new order", &format!("{NAMES}.join() === 'web,host'"))?;
    assert_eq!(page.browser.run("return document.activeElement.textContent")?, "host");

    tab_to(&page, "#scope-plot .plot")?;
    page.browser.press(&[Key::End])?;
    let said = "return document.querySelector('#scope-plot .readout').textContent";
    let text = page.browser.wait("text", said)?;
    ensure!(text.as_str().is_some_and(|text| text.contains("total 3")), "{text}");

    // A scope that ends takes its plot with it.
    serve(&page, &answer(&[scope("web", 40, 70)]))?;
    page.browser.wait("end of the plot", "return document.querySelector('#scope-plot').hidden")?;
    Ok(())
}

fn the_scopes_fit_a_phone(_: &Namespace) -> Result<()> {
    let page = page()?;
    let phone = json!({ "width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true });
    page.browser.devtools("Emulation.setDeviceMetricsOverride", &phone)?;
    page.browser.run("document.querySelector('#scopes tbody th button').click()")?;
    page.browser.wait("plot", &Page::inked("#scope-plot", "close_wait"))?;
    assert_eq!(page.number("return innerWidth")?, 360);
    assert_eq!(page.number("return document.documentElement.scrollWidth")?, 360);
    let scroller =
        "const it = document.querySelector('.scroller'); return it.scrollWidth > it.clientWidth";
    assert_eq!(page.browser.run(scroller)?, true, "the table scrolls by itself");
    Ok(())
}

fn the_page_shows_a_leak_in_another_namespace(_: &Namespace) -> Result<()> {
    let mut resident = Resident::in_new_namespace()?;
    resident.order(&Order::Leak(7))?;
    let page = Page::open(&["--netns=all"])?;
    let inode = resident.inum()?;
    page.browser.wait(
        "the leak in the table",
        &format!(
            "document.dispatchEvent(new Event('visibilitychange'));
             const input = document.querySelector('#scopes input');
             input.value = '{inode}'; input.dispatchEvent(new Event('input'));
             return document.querySelector('#scopes tbody .close_wait')?.textContent === '7'"
        ),
    )?;
    let says_own = page.browser.run("return document.querySelector('#own').checkVisibility()")?;
    assert_eq!(says_own, true, "nothing says that the rest is of the own namespace");
    let console = page.browser.console()?;
    ensure!(console.is_empty(), "{console:?}");
    Ok(())
}
