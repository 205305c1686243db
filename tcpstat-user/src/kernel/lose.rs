//! Which events the tracer loses on purpose. For tests only, behind a feature.

use crate::states::{State, state_word};

/// `FROM:TO:N` loses one in N of the transitions from FROM to TO, which are values of the label `state`; `any:N`
/// loses one in N of all transitions.
const VARIABLE: &str = "TCPSTAT_LOSE";

/// Values of the tracer's globals.
///
/// # Panics
/// If the variable has another form.
pub(super) fn globals() -> [(&'static str, u32); 2] {
    let text = std::env::var(VARIABLE).unwrap_or_else(|_| "any:0".to_owned());
    let (transition, one_in) =
        parse(&text).unwrap_or_else(|| panic!("{VARIABLE} is {text:?}, not FROM:TO:N or any:N"));
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
