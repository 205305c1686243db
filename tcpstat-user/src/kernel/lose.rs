//! Which events the tracer loses on purpose. For tests only, behind a feature.

use crate::states::{State, state_word};

/// `FROM:TO:N` loses one in N of the transitions from FROM to TO, which are values of the label `state`;
/// `any:N` loses one in N of all transitions. After `without_cell:` they are counted as events without a cell.
const VARIABLE: &str = "TCPSTAT_LOSE";

/// Values of the tracer's globals.
///
/// # Panics
/// If the variable has another form.
pub(super) fn globals() -> [(&'static str, u32); 3] {
    let text = std::env::var(VARIABLE).unwrap_or_else(|_| "any:0".to_owned());
    let (lost, as_without_cell) = match text.strip_prefix("without_cell:") {
        Some(rest) => (rest, 1),
        None => (text.as_str(), 0),
    };
    let (transition, one_in) =
        parse(lost).unwrap_or_else(|| panic!("{VARIABLE} is {text:?}, not FROM:TO:N or any:N"));
    [
        ("LOSE_TRANSITION", transition),
        ("LOSE_ONE_IN", one_in),
        ("LOSE_AS_WITHOUT_CELL", as_without_cell),
    ]
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
