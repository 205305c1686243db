//! Values of flags: what is taken, and what is said of the rest. A value itself is quoted by clap.

use std::{fmt::Display, path::PathBuf, str::FromStr, time::Duration};

use clap::builder::{PathBufValueParser, TypedValueParser};

use crate::text::{self, plain};

/// PATH_MAX of Linux, the zero at the end left out.
const LONGEST_PATH: usize = 4_095;

/// A time within those two.
pub(super) fn duration(
    text: &str,
    shortest: Duration,
    longest: Duration,
) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| {
        let error = error.to_string();
        format!("{}; write it like 15s, 500ms or 1h", plain(&error, text::VALUE))
    })?;
    if (shortest..=longest).contains(&duration) {
        return Ok(duration);
    }
    let [shortest, longest] = [shortest, longest].map(humantime::format_duration);
    Err(format!("at least {shortest}, at most {longest}"))
}

/// On or off, in every word for it that unit files and manifests use.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("write 1 or 0, true or false, yes or no, on or off".to_owned()),
    }
}

/// An address of HTTP without a fragment, of characters that stand unquoted in YAML.
pub(super) fn runbook_url(text: &str) -> Result<String, String> {
    let place = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._~:/?[]@!$&()*+,;=%".contains(c);
    match place {
        Some(place) if !place.is_empty() && place.chars().all(fits) => Ok(text.to_owned()),
        _ => Err("write it like https://runbooks.example/tcpstat, without a #".to_owned()),
    }
}

/// A path that the kernel takes. It need not be UTF-8.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let length = path.as_os_str().len();
        if length > LONGEST_PATH {
            return Err(format!("{length} bytes: a path has at most {LONGEST_PATH}"));
        }
        Ok(path)
    })
}

/// What parses itself, with an error that is fit to be shown although it may quote the value.
pub(super) fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| plain(&error.to_string(), text::VALUE).into_owned())
}
