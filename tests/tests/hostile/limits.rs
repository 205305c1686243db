//! Few descriptors, many at once.
use tcpstat_tests::harness::Test;
pub(crate) fn tests() -> Vec<Test> {
    Vec::new()
}
