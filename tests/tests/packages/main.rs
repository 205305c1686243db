//! What `cargo xtask dist` makes, used as people use it: packages are installed into fresh systems, the image is run.

mod archives;
mod debian;
mod image;
mod rpm;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use tcpstat_tests::binary::{output, path_from};
use tcpstat_tests::harness::run_in_turn;

fn main() -> ExitCode {
    let mut tests = archives::tests();
    tests.extend(debian::tests());
    tests.extend(image::tests());
    tests.extend(rpm::tests());
    run_in_turn(tests)
}

/// The names of the architectures: Debian's, and the kernel's.
const ARCHITECTURES: [(&str, &str); 2] = [("amd64", "x86_64"), ("arm64", "aarch64")];

/// Those of this machine.
fn host() -> Result<(&'static str, &'static str)> {
    let host = std::env::consts::ARCH;
    let found = ARCHITECTURES.into_iter().find(|(_, name)| *name == host);
    found.with_context(|| format!("nothing is released for {host}"))
}

/// The folder of what is released.
fn dist() -> Result<PathBuf> {
    path_from("TCPSTAT_DIST")
}

/// The one file whose name has that beginning and that end.
fn released(beginning: &str, end: &str) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dist()?)? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        if name.starts_with(beginning) && name.ends_with(end) {
            found.push(dist()?.join(name));
        }
    }
    ensure!(found.len() == 1, "{beginning}…{end}: {found:?}");
    Ok(found.remove(0))
}

/// The output of a command that succeeds.
fn run(program: &str, configure: impl FnOnce(&mut Command) -> &mut Command) -> Result<String> {
    let mut command = Command::new(program);
    let run = output(configure(&mut command)).with_context(|| format!("run {program}"))?;
    ensure!(run.status == Some(0), "{command:?}: {:?}\n{}{}", run.status, run.stdout, run.stderr);
    Ok(run.stdout)
}

/// The SHA-256 of a file, in hexadecimal digits.
fn digest(file: &Path) -> Result<String> {
    let sum = run("sha256sum", |command| command.arg(file))?;
    Ok(sum.split_whitespace().next().unwrap_or_default().to_owned())
}
