//! Whether this machine can run the tests that need its kernel.

use std::env;
use std::path::Path;
use std::thread;

use nix::unistd::geteuid;

use crate::netns::Namespace;

/// Set to `1` it turns a skip of the kernel tests into running them, and so into a failure.
const REQUIRE_VARIABLE: &str = "TCPSTAT_REQUIRE_KERNEL";

const BTF: &str = "/sys/kernel/btf/vmlinux";

/// Whether the kernel tests can run here, or must.
///
/// # Errors
/// Says why they cannot.
pub fn kernel_gate() -> Result<(), String> {
    if env::var_os(REQUIRE_VARIABLE).is_some_and(|value| value == "1") {
        return Ok(());
    }
    if !geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    if !Path::new(BTF).exists() {
        return Err(format!("{BTF} is missing: the kernel was built without BTF"));
    }
    // On a thread of its own, which keeps the caller's namespace out of it.
    let entered = thread::spawn(|| Namespace::enter().map(drop)).join();
    match entered {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("no network namespace to be had: {error:#}")),
        Err(_) => Err("no network namespace to be had".to_owned()),
    }
}
