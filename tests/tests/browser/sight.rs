//! The look of the page: on a phone, in both themes, and while it loads.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tcpstat_tests::browser::Browser;
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;

use crate::page::Page;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        the_page_fits_a_phone_of_360_pixels,
        both_themes_have_contrast_and_differ,
        the_layout_does_not_shift_when_the_numbers_arrive,
        while_the_history_loads_the_page_says_so_and_empty_plots_have_no_times,
        a_header_cell_does_not_move_when_the_next_one_is_parsed,
        nothing_pulses_with_reduced_motion
    ]
}

/// Lines of the plots, which need WCAG's contrast for graphics.
const LINES: [&str; 10] = [
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

fn the_page_fits_a_phone_of_360_pixels(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let phone = json!({ "width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": true });
    page.browser.devtools("Emulation.setDeviceMetricsOverride", &phone)?;
    page.browser.open(&page.url(""))?;
    page.wait_live()?;
    assert_eq!(page.number("return innerWidth")?, 360);
    assert_eq!(page.number("return document.documentElement.scrollWidth")?, 360);
    let beyond = page.browser.run(
        "return [...document.querySelectorAll('header *, main *, footer *')]
           .filter((element) => element.checkVisibility() && !element.closest('.unseen'))
           .filter((element) => element.getBoundingClientRect().right > 360.5)
           .map((element) => element.outerHTML.slice(0, 80))",
    )?;
    assert_eq!(beyond, json!([]));
    let canvas = "return document.querySelector('#states-plot canvas').clientWidth";
    ensure!(page.number(canvas)? > 300);
    Ok(())
}

fn both_themes_have_contrast_and_differ(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let mut grounds = Vec::new();
    for theme in ["light", "dark"] {
        page.emulate(&[("prefers-color-scheme", theme)])?;
        let colour = |name: &str| luminance(&page, name);
        let panel = colour("panel")?;
        for line in LINES {
            let found = contrast(colour(line)?, panel);
            ensure!(found >= 3.0, "{line} has a contrast of {found:.2} in the {theme} theme");
        }
        for ground in ["panel", "ground", "raised"] {
            for text in ["text", "muted", "faint"] {
                let found = contrast(colour(text)?, colour(ground)?);
                ensure!(found >= 4.5, "{text} on {ground}: {found:.2} in the {theme} theme");
            }
        }
        for text in ["good", "bad", "alarm", "close_wait", "focus"] {
            let found = contrast(colour(text)?, panel);
            ensure!(found >= 4.5, "{text} has a contrast of {found:.2} in the {theme} theme");
        }
        // The plot is drawn again in the colours of the theme.
        page.browser.wait("line", &Page::inked("#states-plot", "established"))?;
        grounds.push(page.browser.run("return getComputedStyle(document.body).backgroundColor")?);
    }
    assert_ne!(grounds[0], grounds[1]);
    Ok(())
}

fn the_layout_does_not_shift_when_the_numbers_arrive(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    page.browser.wait_for_text("#proof strong", "agrees with the kernel")?;
    page.browser.wait("line", &Page::inked("#states-plot", "established"))?;
    let shifts = page.browser.run(
        "return new Promise((resolve) => {
           new PerformanceObserver((list) => {
             resolve(list.getEntries().map(({ entryType, value, sources }) =>
               [entryType, value, ...(sources ?? []).map(({ node }) => node?.outerHTML?.slice(0, 80))]));
           }).observe({ type: 'layout-shift', buffered: true });
           setTimeout(() => resolve([]), 500);
         })",
    )?;
    assert_eq!(shifts, json!([]));
    Ok(())
}

/// Runs before the page: holds the answer of the history until `answer` is called, and records the texts of the
/// plots, each with the state of the connection.
const HELD: &str = "
    const fetched = window.fetch;
    const held = new Promise((resolve) => { window.answer = resolve; });
    window.fetch = async (url, options) => {
      if (url === 'api/v1/history') await held;
      return fetched(url, options);
    };
    const fillText = CanvasRenderingContext2D.prototype.fillText;
    window.texts = [];
    CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
      window.texts.push([text, document.body.dataset.connection ?? 'none']);
      return fillText.call(this, text, ...place);
    };";

fn while_the_history_loads_the_page_says_so_and_empty_plots_have_no_times(
    _: &Namespace,
) -> Result<()> {
    let mut exporter = Exporter::start(&[])?;
    exporter.wait_ready()?;
    let page = Page { browser: Browser::start()?, exporter };
    let script = json!({ "source": HELD });
    page.browser.devtools("Page.addScriptToEvaluateOnNewDocument", &script)?;
    page.browser.open(&page.url(""))?;
    page.browser.wait_for_text("#connection", "loading")?;
    page.browser.wait(
        "snapshot",
        "return document.querySelector('#snapshot strong').textContent.endsWith(' ago')",
    )?;
    page.browser.wait_for_text("#connection", "loading")?;
    page.browser.run("window.answer()")?;
    page.wait_live()?;
    // A text of the plots is a number or a time.
    let times = |of: &str| {
        format!(
            "return window.texts.filter(([text, state]) => text.includes(':') && state === '{of}').length"
        )
    };
    page.browser.wait("times below the plots", &times("live"))?;
    assert_eq!(
        page.number(
            "return window.texts.filter(([, state]) => state === 'none').length > 0 ? 1 : 0"
        )?,
        1
    );
    assert_eq!(page.number(&times("none"))?, 0);
    Ok(())
}

/// A browser may draw a table of which only some header cells have been parsed.
fn a_header_cell_does_not_move_when_the_next_one_is_parsed(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let moved = page.browser.run(
        "const place = (cell) => [cell.textContent, cell.getBoundingClientRect().left, cell.getBoundingClientRect().right];
         const moved = [];
         const rows = [...document.querySelectorAll('thead tr')].filter((row) => row.checkVisibility());
         for (const row of rows) {
           while (row.cells.length > 1) {
             const kept = [...row.cells].slice(0, -1);
             const before = JSON.stringify(kept.map(place));
             row.lastElementChild.remove();
             const after = JSON.stringify(kept.map(place));
             if (after !== before) moved.push([before, after]);
           }
         }
         return [rows.length, moved]",
    )?;
    assert_eq!(moved, json!([4, []]));
    Ok(())
}

fn nothing_pulses_with_reduced_motion(_: &Namespace) -> Result<()> {
    let page = Page::open(&[])?;
    let pulse = "const element = document.querySelector('#connection');
                 element.dataset.state = 'reconnecting';
                 return getComputedStyle(element, '::before').animationName";
    assert_eq!(page.browser.run(pulse)?, "pulse");
    page.emulate(&[("prefers-reduced-motion", "reduce")])?;
    assert_eq!(page.browser.run(pulse)?, "none");
    Ok(())
}

/// Relative luminance of a colour of the palette (WCAG 2.2).
fn luminance(page: &Page, name: &str) -> Result<f64> {
    let script = format!(
        "return getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()"
    );
    let colour: Value = page.browser.run(&script)?;
    let hex = colour.as_str().and_then(|hex| hex.strip_prefix('#')).context(name.to_owned())?;
    let number = u32::from_str_radix(hex, 16).with_context(|| format!("{name}: {hex}"))?;
    let [_, red, green, blue] = number.to_be_bytes().map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    Ok(0.2126 * red + 0.7152 * green + 0.0722 * blue)
}

fn contrast(one: f64, other: f64) -> f64 {
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}
