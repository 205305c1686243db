//! The guests of the kernel matrix.

use std::env;

/// Set in a guest.
const VARIABLE: &str = "TCPSTAT_OWN_MACHINE";

/// Whether this is a guest: its processor is emulated, so tests repeat less in it. What they change on the machine
/// affects nobody else.
#[must_use]
pub fn is_guest() -> bool {
    env::var_os(VARIABLE).is_some()
}
