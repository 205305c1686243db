//! Whether this machine can run the kernel tests.

use std::env;
use std::path::Path;
use std::thread;

use nix::unistd::geteuid;

use crate::netns::Namespace;

/// If this is `1`, no test may be skipped: a test that cannot run fails.
const REQUIRE_VARIABLE: &str = "TCPSTAT_REQUIRE_KERNEL";

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Whether every test must run here.
pub(crate) fn is_required() -> bool {
    env::var_os(REQUIRE_VARIABLE).is_some_and(|value| value == "1")
}

/// Whether the kernel tests can run here, or must.
///
/// # Errors
/// Returns the reason why they cannot.
pub(crate) fn kernel_gate() -> Result<(), String> {
    if is_required() {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err("they need root".to_owned());
    }
    if !Path::new(BTF).exists() {
        return Err(format!("{BTF} is missing: the kernel was built without BTF"));
    }
    // A thread of its own, so that the caller stays in its namespace.
    let entered = thread::spawn(|| Namespace::enter().map(drop)).join();
    match entered {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("creating a network namespace: {error:#}")),
        Err(_) => Err("creating a network namespace: the thread panicked".to_owned()),
    }
}
