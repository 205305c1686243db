//! Waiting for a condition, never longer than a deadline.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long any single wait of the tests may take before it fails: ten seconds, or as many as
/// `TCPSTAT_TEST_DEADLINE_SECONDS` said when the tests were built (for slow machines).
pub const DEADLINE: Duration =
    Duration::from_secs(seconds(option_env!("TCPSTAT_TEST_DEADLINE_SECONDS")));

/// Pause between two looks at a condition that nothing announces.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

const fn seconds(given: Option<&str>) -> u64 {
    let Some(text) = given else { return 10 };
    match u64::from_str_radix(text, 10) {
        Ok(seconds) => seconds,
        Err(_) => panic!("TCPSTAT_TEST_DEADLINE_SECONDS is not a number of seconds"),
    }
}

/// One look at a condition.
#[derive(Debug)]
pub enum Progress<T> {
    /// It holds; this came of it.
    Done(T),
    /// Not yet; what was seen instead goes into the message if the deadline passes.
    NotYet(String),
}

/// Looks at a condition until it holds, at least once.
///
/// # Errors
/// Fails at once when `look` fails, and after `deadline` with `what` and the last thing seen.
pub fn wait_until<T>(
    what: &str,
    deadline: Duration,
    look: impl FnMut() -> Result<Progress<T>>,
) -> Result<T> {
    poll(what, deadline, POLL_INTERVAL, look)
}

/// The same with a pause of one's own between two looks, for those that cost something.
///
/// # Errors
/// As [`wait_until`].
pub fn poll<T>(
    what: &str,
    deadline: Duration,
    pause: Duration,
    mut look: impl FnMut() -> Result<Progress<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        match look()? {
            Progress::Done(value) => return Ok(value),
            Progress::NotYet(seen) if Instant::now() >= end => {
                bail!("no {what} within {deadline:?}; last seen: {seen}")
            }
            Progress::NotYet(_) => sleep(pause),
        }
    }
}
