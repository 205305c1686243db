//! Waiting for a condition, never longer than a deadline.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The limit of a single wait: what does not come by then does not come. It is long, because an emulated kernel may
/// run the tests, and because only a test that fails waits so long.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Pause between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The result of one check of a condition.
#[derive(Debug)]
pub enum Progress<T> {
    /// The condition holds, with this result.
    Done(T),
    /// It does not hold yet; the text is part of the error if the deadline passes.
    NotYet(String),
}

/// Checks a condition until it holds, at least once.
///
/// # Errors
/// Fails at once if `check` fails, and after `deadline` with `what` and the last text.
pub fn wait_until<T>(
    what: &str,
    deadline: Duration,
    check: impl FnMut() -> Result<Progress<T>>,
) -> Result<T> {
    poll(what, deadline, POLL_INTERVAL, check)
}

/// As [`wait_until`], with another pause between two checks.
///
/// # Errors
/// As [`wait_until`].
pub fn poll<T>(
    what: &str,
    deadline: Duration,
    pause: Duration,
    mut check: impl FnMut() -> Result<Progress<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        match check()? {
            Progress::Done(value) => return Ok(value),
            Progress::NotYet(seen) if Instant::now() >= end => {
                bail!("no {what} within {deadline:?}; last seen: {seen}")
            }
            Progress::NotYet(_) => sleep(pause),
        }
    }
}
