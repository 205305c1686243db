//! The page over HTTPS, for people with a password.

use anyhow::{Result, ensure};
use tcpstat_tests::browser::Browser;
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::web_config::{self, TLS, USER};

use crate::page::Page;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![the_page_is_live_over_https_with_a_password_and_not_without_one]
}

fn the_page_is_live_over_https_with_a_password_and_not_without_one(_: &Namespace) -> Result<()> {
    let authority = web_config::authority()?;
    let file = web_config::write(&authority, &format!("{TLS}{USER}"))?;
    let file = format!("--web.config.file={}", file.display());
    let exporter = Options::default().args([file]).start_locked()?;
    let address = exporter.address();
    let page = Page { browser: Browser::start_insecure()?, exporter };
    page.browser.open(&format!("https://{address}/"))?;
    let text = page.browser.run("return document.body.textContent")?.to_string();
    ensure!(!text.contains("established"), "{text}");
    // Of the refused request.
    page.browser.console()?;
    // The browser keeps the password for the requests that the page makes.
    page.browser.open(&format!("https://alice:secret@{address}/"))?;
    page.browser.open(&format!("https://{address}/"))?;
    page.wait_live()?;
    let console = page.browser.console()?;
    ensure!(console.is_empty(), "{console:?}");
    Ok(())
}
