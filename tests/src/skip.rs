//! Why a test cannot run on this machine.

use std::env;
use std::fmt;

use anyhow::Result;

/// The error of a test that cannot run here: [`harness`](crate::harness) reports the test as ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    reason: String,
}

impl Skip {
    /// A skip for this reason, which names what is missing.
    #[must_use]
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for Skip {}

/// Skips the test unless `PATH` has this program.
///
/// # Errors
/// A [`Skip`] that names the program.
pub fn require_program(name: &str) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|folder| folder.join(name).is_file()) {
        return Ok(());
    }
    Err(Skip::because(format!("there is no {name}: install it")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_a_skip_that_names_it() {
        require_program("sh").unwrap();
        let error = require_program("tcpstat-no-such-program").unwrap_err();
        let skip = error.downcast::<Skip>().unwrap();
        assert!(skip.to_string().contains("tcpstat-no-such-program"), "{skip}");
    }
}
