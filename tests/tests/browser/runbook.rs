//! The runbook, to which the alerts link.

use anyhow::Result;
use serde_json::json;
use tcpstat_tests::browser::Browser;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;

use crate::page::Page;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![the_runbook_has_one_column, a_link_to_an_alert_marks_its_heading_in_either_case]
}

fn the_runbook_has_one_column(_: &Namespace) -> Result<()> {
    let page = Page { browser: Browser::start()?, exporter: Exporter::start(&[])? };
    page.browser.open(&page.url("runbook"))?;
    let sides = page.browser.run(
        "const boxes = [...document.querySelectorAll('main > :is(h2, p)')].map((part) => part.getBoundingClientRect());
         return [boxes.length > 50, new Set(boxes.map(({ left, right }) => `${left} to ${right}`)).size];",
    )?;
    assert_eq!(sides, json!([true, 1]));
    Ok(())
}

/// The alerts link in lower case.
fn a_link_to_an_alert_marks_its_heading_in_either_case(_: &Namespace) -> Result<()> {
    let page = Page { browser: Browser::start()?, exporter: Exporter::start(&[])? };
    for anchor in ["TcpSynFlood", "tcpsynflood"] {
        page.browser.open(&page.url(&format!("runbook#{anchor}")))?;
        let marked = "const heading = document.querySelector('#TcpSynFlood');
                      const { top } = heading.getBoundingClientRect();
                      return top > 4 && top < 100 && getComputedStyle(heading).borderLeftStyle === 'solid';";
        page.browser.wait(anchor, marked)?;
    }
    Ok(())
}
