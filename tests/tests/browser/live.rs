//! The page shows the sockets, at once and again after a restart.

use anyhow::{Result, ensure};
use tcpstat_tests::browser::Browser;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::events::EventStream;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::held::Addressing;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::loopback::Pairs;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::states;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::wire::Wire;

use crate::page::Page;

const STATES: &str = "#states-plot";
const TRANSITIONS: &str = "#moves-plot";

/// The number of connections that the other side has closed, on the page. The browser makes such connections too.
const CLOSED: &str =
    "return +document.querySelector('[data-series=\"established close_wait\"] .total').textContent";

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_page_draws_its_plots_without_messages_and_without_other_hosts,
        the_numbers_follow_the_sockets,
        the_page_shows_a_restart_and_reconnects,
        a_page_whose_stream_is_refused_shows_the_reason,
        without_a_tracer_the_page_says_so_and_shows_no_rates
    ]
}

fn the_page_draws_its_plots_without_messages_and_without_other_hosts(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let stir = || Pairs::connect(3, Family::Ipv4)?.close();
    for (plot, state) in [(STATES, "established"), (TRANSITIONS, "syn_sent")] {
        wait_until(&format!("line of {state} in {plot}"), DEADLINE, || {
            stir()?;
            let inked = page.number(&Page::inked(plot, state))?;
            Ok(if inked > 8 {
                Progress::Done(())
            } else {
                Progress::NotYet(format!("{inked} points"))
            })
        })?;
    }
    let described = "return document.querySelector('#states-plot figcaption').textContent";
    let text = page.browser.run(described)?.to_string();
    ensure!(text.contains("established now"), "{text}");
    let console = page.browser.console()?;
    ensure!(console.is_empty(), "{console:?}");
    let requests = page.browser.requests()?;
    ensure!(requests.iter().any(|url| *url == page.url("api/v1/stream")), "{requests:?}");
    let own = page.url("");
    ensure!(requests.iter().all(|url| url.starts_with(&own)), "{requests:?}");
    Ok(())
}

fn the_numbers_follow_the_sockets(namespace: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let wire = Wire::open(namespace)?;
    let cell = |family: &str| format!("[data-series='close_wait'] .{family}");
    page.browser.wait_for_text(&cell("total"), "0")?;
    let before = page.number(CLOSED)?;
    let mut held = Vec::new();
    for addressing in [Addressing::Ipv4, Addressing::Ipv4, Addressing::Ipv6] {
        held.push(states::close_wait(&wire, addressing)?);
    }
    for (column, number) in [("total", "3"), ("ipv4", "2"), ("ipv6", "1")] {
        page.browser.wait_for_text(&cell(column), number)?;
    }
    let dimmed = "return document.querySelector('[data-series=close_wait]').matches('.zero')";
    assert_eq!(page.browser.run(dimmed)?, false);
    wait_until("three more transitions", DEADLINE, || {
        let seen = page.number(CLOSED)?;
        Ok(if seen >= before + 3 { Progress::Done(()) } else { Progress::NotYet(seen.to_string()) })
    })?;
    drop(held);
    page.browser.wait_for_text(&cell("total"), "0")?;
    assert_eq!(page.browser.run(dimmed)?, true);
    page.browser.wait_for_text("#counted strong", "in the kernel")?;
    page.browser.wait_for_text("#proof strong", "agrees with the kernel")
}

fn the_page_shows_a_restart_and_reconnects(_: &Namespace) -> Result<()> {
    let Page { browser, exporter } = Page::open(&[])?;
    let listening = "return +document.querySelector('[data-series=listen] .total').textContent";
    browser.wait("the exporter and the driver that listen", &format!("{listening} >= 2"))?;
    assert_eq!(exporter.stop()?.code(), Some(0));
    // The last numbers stay, and are marked as old.
    let word = "return document.querySelector('#connection').textContent";
    browser.wait(
        "message",
        &format!("{word}.startsWith('reconnecting; the numbers are those of ')"),
    )?;
    ensure!(browser.run(listening)?.as_u64() >= Some(2));
    let exporter = Exporter::start(&[])?;
    let page = Page { browser, exporter };
    page.wait_live()?;
    let pairs = Pairs::connect(4, Family::Ipv6)?;
    page.browser.wait_for_text("[data-series='established'] .ipv6", "8")?;
    drop(pairs);
    page.browser.wait_for_text("#connection", "live")
}

/// All readers behind a proxy are one client.
fn a_page_whose_stream_is_refused_shows_the_reason(_: &Namespace) -> Result<()> {
    let page = Page { browser: Browser::start()?, exporter: Exporter::start(&[])? };
    let open = || EventStream::open(page.exporter.address(), "/api/v1/stream");
    let streams = (0..8).map(|_| open()).collect::<Result<Vec<_>>>()?;
    let refused = open()?;
    assert_eq!(refused.status, 503);
    let line = refused.rest()?;
    page.browser.open(&page.url(""))?;
    page.browser.wait_for_text("#connection", &format!("refused: {}", line.trim_end()))?;
    drop(streams);
    page.browser.wait_for_text("#connection", "live")
}

fn without_a_tracer_the_page_says_so_and_shows_no_rates(_: &Namespace) -> Result<()> {
    let pairs = Pairs::connect(2, Family::Ipv6)?;
    let page = Page::open(&["--tracer=off", "--snapshot-interval=100ms"])?;
    page.browser.wait_for_text("#counted strong", "not in the kernel")?;
    page.browser.wait_for_text("[data-series='established'] .ipv6", "4")?;
    page.browser.wait_for_text("[data-series='established'] .in", "–")?;
    page.browser.wait_for_text("[data-series='listen syn_recv'] .rate", "–")?;
    let said = "return document.querySelector('.untraced').checkVisibility()";
    page.browser.wait("message", said)?;
    drop(pairs);
    page.browser.wait_for_text("[data-series='established'] .ipv6", "0")?;
    let console = page.browser.console()?;
    ensure!(console.is_empty(), "{console:?}");
    Ok(())
}
