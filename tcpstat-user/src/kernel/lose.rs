//! What the tracer is to lose on purpose: for tests alone, behind a feature.

use crate::states::{State, state_word};

/// `FROM:TO:N` with the words of the label `state`: one in N such transitions is lost; `any:N` loses one in N
/// of all.
const VARIABLE: &str = "TCPSTAT_LOSE";

/// The values of the tracer's globals, by name.
///
/// # Panics
/// Where the variable is not as above.
pub(super) fn globals() -> [(&'static str, u32); 2] {
    let text = std::env::var(VARIABLE).unwrap_or_else(|_| "any:0".to_owned());
    let (transition, one_in) = parse(&text).unwrap_or_else(|| panic!("{VARIABLE} is {text:?}"));
    [("LOSE_TRANSITION", transition), ("LOSE_ONE_IN", one_in)]
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let (transition, one_in) = text.rsplit_once(':')?;
    let transition = match transition.split_once(':') {
        Some((from, to)) => u32::from(number(from)?) << 8 | u32::from(number(to)?),
        None if transition == "any" => 0,
        None => return None,
    };
    Some((transition, one_in.parse().ok()?))
}

fn number(word: &str) -> Option<u8> {
    let state = State::ALL.into_iter().find(|state| state_word(*state) == word)?;
    Some(state.number())
}
