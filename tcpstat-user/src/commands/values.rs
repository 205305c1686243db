//! Parsers for the values of flags. Their errors do not quote the value, because clap does.

use std::{fmt::Display, ops::RangeInclusive, path::PathBuf, str::FromStr, time::Duration};

use clap::builder::{PathBufValueParser, PossibleValue, TypedValueParser};

use crate::{
    states::{State, state_word},
    text::{self, plain},
    tracker::NetnsSelector,
};

/// PATH_MAX of Linux, without the zero at the end.
const MAX_PATH_BYTES: usize = 4_095;

/// A parser of whole numbers in a range.
pub(super) fn number<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text| {
        let number = text.trim().parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("write a number from {} to {}", range.start(), range.end()))
    }
}

pub(super) fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, String> {
    let bounds = || format!("at least {}, at most {}", shown(min), shown(max));
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("write a time such as 15s, 500ms or 1h; {}", bounds()))?;
    if (min..=max).contains(&duration) { Ok(duration) } else { Err(bounds()) }
}

/// In whole days where it can be: the months and years of `humantime` are not whole days.
fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 86_400, seconds % 86_400) {
        (days @ 2.., 0) => format!("{days}days"),
        _ => humantime::format_duration(duration).to_string(),
    }
}

/// The word of a state, and that of `ss`.
pub(super) fn state(state: State) -> PossibleValue {
    PossibleValue::new(state_word(state)).alias(word_of_ss(state))
}

/// The state with one of its words, in any case.
pub(super) fn state_named(word: &str) -> Option<State> {
    let is_named = |state: &State| {
        let words = [state_word(*state), word_of_ss(*state)];
        words.iter().any(|own| own.eq_ignore_ascii_case(word))
    };
    State::ALL.into_iter().find(is_named)
}

const fn word_of_ss(state: State) -> &'static str {
    match state {
        State::Established => "estab",
        State::SynSent => "syn-sent",
        State::SynRecv | State::NewSynRecv => "syn-recv",
        State::FinWait1 => "fin-wait-1",
        State::FinWait2 | State::FinWait2Mini => "fin-wait-2",
        State::TimeWait => "time-wait",
        State::Close => "unconn",
        State::CloseWait => "close-wait",
        State::LastAck => "last-ack",
        State::Listen => "listen",
        State::Closing => "closing",
    }
}

/// Accepts the words that unit files and manifests use.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("write 1 or 0, true or false, yes or no, on or off".to_owned()),
    }
}

/// An HTTP URL without a fragment, of characters that need no quotes in YAML.
pub(super) fn runbook_url(text: &str) -> Result<String, String> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?[]@!$&()*+,;=%".contains(c);
    match rest {
        Some(rest) if !rest.is_empty() && rest.chars().all(allowed) => Ok(text.to_owned()),
        _ => Err("write it like https://runbooks.example/tcpstat, without a #".to_owned()),
    }
}

/// A path that is not too long for the kernel. It need not be UTF-8.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        let length = path.as_os_str().len();
        if length > MAX_PATH_BYTES {
            return Err(format!("{length} bytes: a path has at most {MAX_PATH_BYTES}"));
        }
        Ok(path)
    })
}

/// A network namespace: self, all, the number of an inode, a name, or a path.
pub(super) fn netns() -> impl TypedValueParser<Value = NetnsSelector> {
    path().map(|path| match path.to_str() {
        Some("all") => NetnsSelector::All,
        Some("self") => NetnsSelector::Own,
        Some(text) => match text.parse() {
            Ok(inode) => NetnsSelector::Inode(inode),
            Err(_) => NetnsSelector::Named(path),
        },
        None => NetnsSelector::Named(path),
    })
}

/// Uses [`FromStr`], and makes its error safe to show.
pub(super) fn parsed<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| plain(&error.to_string(), text::VALUE).into_owned())
}
