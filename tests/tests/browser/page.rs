//! The page, open in a browser, and the exporter that serves it.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tcpstat_tests::browser::Browser;
use tcpstat_tests::exporter::Exporter;

/// The browser is dropped first.
pub(crate) struct Page {
    pub(crate) browser: Browser,
    pub(crate) exporter: Exporter,
}

/// Whether the page is live, as a script.
const LIVE: &str = "return document.querySelector('#connection').dataset.state === 'live'";

impl Page {
    /// Opens the page of `tcpstat serve` with `args`, and waits until it is live.
    pub(crate) fn open(args: &[&str]) -> Result<Self> {
        let exporter = Exporter::start(args)?;
        let page = Self { browser: Browser::start()?, exporter };
        page.browser.open(&page.url(""))?;
        page.wait_live()?;
        Ok(page)
    }

    pub(crate) fn wait_live(&self) -> Result<()> {
        self.browser.wait("live page", LIVE).map(drop)
    }

    /// The address of `path` below the page.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.exporter.address())
    }

    /// A script that counts the points of the canvas of `plot` in about the colour of `state`.
    pub(crate) fn inked(plot: &str, state: &str) -> String {
        format!(
            "const canvas = document.querySelector({plot} + ' canvas');
             const hex = getComputedStyle(document.documentElement).getPropertyValue({state}).trim();
             const wanted = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
             const copy = new OffscreenCanvas(canvas.width, canvas.height);
             const context = copy.getContext('2d', {{ willReadFrequently: true }});
             context.drawImage(canvas, 0, 0);
             const {{ data }} = context.getImageData(0, 0, canvas.width, canvas.height);
             let inked = 0;
             for (let at = 0; at < data.length; at += 4) {{
               const near = wanted.every((part, place) => Math.abs(part - data[at + place]) < 12);
               if (near && data[at + 3] > 200) inked += 1;
             }}
             return inked;",
            plot = json!(plot),
            state = json!(format!("--{state}")),
        )
    }

    /// Emulates these media features.
    pub(crate) fn emulate(&self, features: &[(&str, &str)]) -> Result<()> {
        let features: Vec<_> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let parameters = json!({ "features": features });
        self.browser.devtools("Emulation.setEmulatedMedia", &parameters).map(drop)
    }

    /// A number that `script` returns.
    pub(crate) fn number(&self, script: &str) -> Result<u64> {
        let value: Value = self.browser.run(script)?;
        value.as_u64().with_context(|| format!("{value} is not a number: {script}"))
    }
}
