//! The measured values, in order.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// All samples so far.
#[derive(Debug)]
pub(crate) struct Samples {
    folder: PathBuf,
    rows: Vec<(&'static str, usize, f64)>,
}

impl Samples {
    /// No samples yet. A part may write other files to `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), rows: Vec::new() }
    }

    /// That of [`Samples::new`].
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds a value of `what` with that many sockets, in seconds or bytes.
    pub(crate) fn add(&mut self, what: &'static str, sockets: usize, value: f64) {
        self.rows.push((what, sockets, value));
    }

    /// The value that `share` of the samples do not exceed; 0.5 is the median. `None` if there is no sample.
    pub(crate) fn quantile(&self, what: &str, sockets: usize, share: f64) -> Option<f64> {
        let rows = self.rows.iter().filter(|(of, with, _)| *of == what && *with == sockets);
        let mut values: Vec<f64> = rows.map(|(_, _, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a length is an index"
        )]
        let at = (values.len().saturating_sub(1) as f64 * share).round() as usize;
        values.get(at).copied()
    }

    /// The median; `None` if there is no sample.
    pub(crate) fn median(&self, what: &str, sockets: usize) -> Option<f64> {
        self.quantile(what, sockets, 0.5)
    }

    /// The numbers of sockets that have samples of `what`.
    pub(crate) fn sizes(&self, what: &str) -> BTreeSet<usize> {
        self.rows.iter().filter(|(of, ..)| *of == what).map(|(_, sockets, _)| *sockets).collect()
    }

    /// One line for each sample.
    pub(crate) fn csv(&self) -> String {
        let mut text = "what,sockets,value\n".to_owned();
        for (what, sockets, value) in &self.rows {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{what},{sockets},{value}");
        }
        text
    }
}
