//! The two builds, in their order: the BPF object, then the binary that embeds it.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Error, Result};
use fs_err as fs;

use crate::architecture::Architecture;
use crate::process::{self, Step};
use crate::setup::{self, Bpf};
use crate::target::{BPF_TARGET, Workspace};
use crate::{apt, architecture, cargo, cargo_tools, files};

/// Names the object to tcpstat-user's build script. Every host build has it: if it came and went, the script
/// would run again each time.
const OBJECT_VARIABLE: &str = "TCPSTAT_BPF_OBJECT";

/// The same for the object of the feature below.
const LOSING_OBJECT_VARIABLE: &str = "TCPSTAT_BPF_OBJECT_LOSING";

/// The tracer loses events on purpose.
pub(crate) const LOSING_FEATURE: [&str; 2] = ["--features", "lose-events"];

/// The program's own BTF, and the debug information that the linker makes it from. The BTF names each source.
const BPF_RUSTFLAGS: &str = "-C debuginfo=2 -C link-arg=--btf";

/// The arguments of cargo that cargo-auditable passes on.
const AUDITABLE_ARGUMENTS: &str = r#"{"offline":false,"locked":true,"frozen":false,"config":[]}"#;

/// bpf-linker does its own link-time optimization, so the fat one of the release profile is for the binary only.
const BPF_PROFILE: &str = "profile.release.lto='thin'";

/// Builds the object and the release binary, and says where they are.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    build_object_alone(workspace)?;
    build_binary(workspace, Architecture::host()?, host_cargo(workspace), &[], false)?;
    put_binary_of_host(workspace)?;
    announce(workspace)
}

/// Builds the object and no binary.
pub(crate) fn build_object_alone(workspace: &Workspace) -> Result<()> {
    build_object(workspace, &setup::bpf(workspace)?, &[])
}

/// Builds the objects that the tests need: that of the tracer that loses events on purpose, and the usual one.
pub(crate) fn build_for_tests(workspace: &Workspace) -> Result<()> {
    let bpf = setup::bpf(workspace)?;
    build_object(workspace, &bpf, &LOSING_FEATURE)?;
    // Cargo puts both in the same place.
    fs::copy(workspace.bpf_object(), workspace.losing_bpf_object())?;
    build_object(workspace, &bpf, &[])
}

/// Builds the release binaries of the objects that [`build_for_tests`] has built, and says where the usual one is: the
/// one that is released.
pub(crate) fn build_binaries(workspace: &Workspace) -> Result<()> {
    let host = Architecture::host()?;
    build_binary(workspace, host, host_cargo(workspace), &LOSING_FEATURE, false)?;
    fs::copy(host.binary(workspace), workspace.losing_binary())?;
    build_released(workspace, host, false)?;
    put_binary_of_host(workspace)?;
    announce(workspace)
}

/// Builds the binary for `architecture` as it is released: with the list of its crates. The object must have been built.
/// `idle`: only while nothing else wants a processor.
pub(crate) fn build_released(
    workspace: &Workspace,
    architecture: Architecture,
    idle: bool,
) -> Result<()> {
    let auditable = cargo_tools::provide(workspace, cargo_tools::AUDITABLE, idle)?;
    let folder = auditable.parent().map(Path::to_owned);
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(folder.into_iter().chain(env::split_paths(&path)))?;
    let mut command = host_cargo(workspace);
    // What `cargo auditable` sets, with one difference: cargo makes the path of a wrapper part of the names in the
    // binary, so the wrapper has none.
    command
        .env("PATH", path)
        .env("RUSTC_WORKSPACE_WRAPPER", cargo_tools::AUDITABLE.0)
        .env("CARGO_AUDITABLE_ORIG_ARGS", AUDITABLE_ARGUMENTS);
    build_binary(workspace, architecture, command, &[], idle)
}

fn build_binary(
    workspace: &Workspace,
    architecture: Architecture,
    mut command: Command,
    features: &[&str],
    idle: bool,
) -> Result<()> {
    architecture.provide(workspace)?;
    command.args(["build", "--release", "--locked", "--package", "tcpstat-user"]).args(features);
    architecture.build_for(workspace, &mut command)?;
    if idle {
        command = process::idle(&command);
    }
    let name = architecture.name();
    step(&format!("building tcpstat for {name}"), workspace.log(&format!("build-{name}")))
        .run(&mut command)
}

/// Builds, then becomes `tcpstat serve`. Returns only what went wrong.
pub(crate) fn serve(workspace: &Workspace, args: &[String]) -> Error {
    if let Err(error) = build(workspace) {
        return error;
    }
    let binary = workspace.binary();
    if !apt::is_root() && process::on_path("sudo").is_some() {
        println!(
            "without privileges it serves from /proc only: `sudo {}` gives the tracer",
            workspace.shown(&binary)
        );
    }
    let mut command = Command::new(&binary);
    cargo::forget_caller(&mut command);
    command.arg("serve");
    if !args.iter().any(|arg| arg.starts_with("--web.listen-address")) {
        command.arg("--web.listen-address=127.0.0.1:10048");
    }
    Error::new(command.args(args).exec()).context(format!("cannot run {}", binary.display()))
}

/// A cargo command for the host that knows the BPF object.
pub(crate) fn host_cargo(workspace: &Workspace) -> Command {
    let mut command = cargo::host(workspace);
    command
        .env(OBJECT_VARIABLE, workspace.bpf_object())
        .env(LOSING_OBJECT_VARIABLE, workspace.losing_bpf_object());
    command
}

fn announce(workspace: &Workspace) -> Result<()> {
    for file in [workspace.bpf_object(), workspace.binary()] {
        let kib = fs::metadata(&file)?.len().div_ceil(1024);
        println!("{} ({kib} KiB)", workspace.shown(&file));
    }
    Ok(())
}

fn build_object(workspace: &Workspace, bpf: &Bpf, features: &[&str]) -> Result<()> {
    let Bpf { toolchain, linker } = bpf;
    let mut command = cargo::other(workspace, &toolchain.cargo(), &toolchain.rustc());
    if toolchain.is_stable() {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    command
        .env("PATH", linker.search_path()?)
        .args(["build", "--release", "--locked", "--target", BPF_TARGET, "-Z", "build-std=core"])
        .args(["--config", BPF_PROFILE])
        .args(["--package", "tcpstat-ebpf", "--bin", "tcpstat-ebpf", "--target-dir"])
        .arg(workspace.bpf_target())
        .args(features)
        .env(
            "CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS",
            format!("{BPF_RUSTFLAGS} {}", architecture::without_paths(workspace)?.join(" ")),
        );
    step("building the BPF object", workspace.log("build-bpf")).run(&mut command)
}

/// Puts the release binary for this machine where people expect it.
pub(crate) fn put_binary_of_host(workspace: &Workspace) -> Result<()> {
    let binary = workspace.binary();
    fs::create_dir_all(binary.parent().unwrap_or(&binary))?;
    // Not over the file: it may be running.
    files::remove(&binary)?;
    fs::copy(Architecture::host()?.binary(workspace), &binary)?;
    Ok(())
}

fn step(title: &str, log: PathBuf) -> Step<'_> {
    Step { shown: is_warning, tail: 80, ..Step::new(title, log) }
}

/// A warning, or where it is: the lints of the host builds do not see the code for BPF.
fn is_warning(line: &str) -> bool {
    line.starts_with("warning") || line.trim_start().starts_with("--> ")
}
