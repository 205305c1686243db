//! Puts the tracer's BPF object where `kernel::load` includes it, and names the build's revision.
//!
//! `cargo xtask build` makes the object and gives its path in `TCPSTAT_BPF_OBJECT`. Without it (an
//! editor, a plain `cargo check`) the binary has no tracer, and says so at its start.

use std::{env, fs, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-env-changed=TCPSTAT_BPF_OBJECT");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = match env::var_os("TCPSTAT_BPF_OBJECT") {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        }
        None => Vec::new(),
    };
    fs::write(out.join("tcpstat.bpf.o"), object).expect("OUT_DIR is writable");
    println!("cargo::rustc-env=TCPSTAT_REVISION={}", revision());
}

/// The commit that is built, or `unknown` outside a checkout.
fn revision() -> String {
    for path in ["../.git/HEAD", "../.git/refs/heads"] {
        // A path that is not there would make every build start anew.
        if fs::exists(path).unwrap_or(false) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |revision| revision.trim().to_owned())
}
