//! Everything can be done, and seen to be done, without a pointer.

use anyhow::{Context, Result, bail, ensure};
use fantoccini::key::Key;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;

use crate::page::Page;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_keyboard_hides_and_shows_a_line_and_the_page_remembers_it,
        arrow_keys_read_out_the_values_of_a_plot,
        the_keyboard_selects_scale_and_family
    ]
}

/// Presses Tab until an element of `selector` has the focus; its outline must be visible.
pub(crate) fn tab_to(page: &Page, selector: &str) -> Result<()> {
    let there = format!("return document.activeElement.matches({selector:?})");
    for _ in 0..100 {
        page.browser.press(&[Key::Tab])?;
        if page.browser.run(&there)? == true {
            let outline = "const element = document.activeElement;
                           const shown = element.matches('#families input') ? element.nextElementSibling : element;
                           return getComputedStyle(shown).outlineStyle";
            assert_eq!(page.browser.run(outline)?, "solid", "{selector}");
            return Ok(());
        }
    }
    bail!("Tab does not lead to {selector}")
}

fn the_keyboard_hides_and_shows_a_line_and_the_page_remembers_it(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let inked = Page::inked("#states-plot", "established");
    let gone = inked.replace("return inked", "return inked === 0");
    let button = "[data-series='established'] button";
    let pressed = format!("return document.querySelector({button:?}).getAttribute('aria-pressed')");
    page.browser.wait("line", &inked)?;
    tab_to(&page, button)?;
    page.browser.press(&[Key::Enter])?;
    assert_eq!(page.browser.run(&pressed)?, "false");
    page.browser.wait("plot without the line", &gone)?;

    page.browser.open(&page.url(""))?;
    page.wait_live()?;
    assert_eq!(page.browser.run(&pressed)?, "false");
    tab_to(&page, button)?;
    page.browser.press(&[Key::Space])?;
    assert_eq!(page.browser.run(&pressed)?, "true");
    page.browser.wait("line", &inked)?;
    Ok(())
}

fn arrow_keys_read_out_the_values_of_a_plot(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    page.browser.wait("line", &Page::inked("#states-plot", "established"))?;
    tab_to(&page, "#states-plot .plot")?;
    let said = "return document.querySelector('#states-plot .readout').textContent";
    page.browser.press(&[Key::Home])?;
    let first = page.browser.wait("text", said)?;
    ensure!(first.as_str().context("no text")?.contains(" listen "), "{first}");
    page.browser.press(&[Key::Right])?;
    let second = page.browser.wait("text", said)?;
    assert_ne!(first.as_str().map(|text| &text[..8]), second.as_str().map(|text| &text[..8]));
    page.browser.press(&[Key::Tab])?;
    page.browser.wait("end of the text", &format!("{said} === ''"))?;
    Ok(())
}

fn the_keyboard_selects_scale_and_family(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    tab_to(&page, "#families input")?;
    page.browser.press(&[Key::Right])?;
    let family = "return document.querySelector('#families input:checked').value";
    assert_eq!(page.browser.run(family)?, "ipv4");
    tab_to(&page, "#moves-plot .scale")?;
    let pressed = "return document.activeElement.getAttribute('aria-pressed')";
    assert_eq!(page.browser.run(pressed)?, "false");
    page.browser.press(&[Key::Space])?;
    assert_eq!(page.browser.run(pressed)?, "true");
    Ok(())
}
