//! Fuzzes what tcpstat reads from outside: libFuzzer around each target of `tcpstat_user::fuzzing`.
//!
//! The crates of the workspace are compiled through tests/fuzz/rustc, their dependencies as for the unit tests. Inputs
//! begin with the files of fixtures/fuzz/TARGET, and with those of [`MORE_INPUTS`]. An input that fails belongs into
//! fixtures/fuzz/TARGET once the fault is repaired: from then on every run begins with it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;

use crate::files;
use crate::object;
use crate::process::{self, Step};
use crate::target::Workspace;
use crate::tools;

/// Time for each target in `cargo xtask test`.
pub(crate) const SHORT: Duration = Duration::from_mins(1);

/// The target that a run of the binary fuzzes.
const TARGET_VARIABLE: &str = "TCPSTAT_FUZZ_TARGET";

const WRAPPER: &str = "tests/fuzz/rustc";
const INPUTS: &str = "fixtures/fuzz";

/// Directories with more inputs of a target.
const MORE_INPUTS: [(&str, &str); 2] =
    [("procfs", "fixtures/proc"), ("web-config", "fixtures/web-config")];

/// Settings of libFuzzer: an input is at most 64 KiB, one run at most 1 GiB.
const SETTINGS: [&str; 3] = ["-max_len=65536", "-rss_limit_mb=1024", "-print_final_stats=1"];

/// Maximum time for one input. libFuzzer measures it by the wall clock, and between idle times minutes may pass.
const TIMEOUT: &str = "-timeout=5";
const IDLE_TIMEOUT: &str = "-timeout=300";

/// The binary with all targets.
pub(crate) struct Fuzzer(PathBuf);

impl Fuzzer {
    /// Builds it. The BPF object must have been built.
    pub(crate) fn build(workspace: &Workspace) -> Result<Self> {
        tools::install_missing(workspace, &[tools::COMPILER])?;
        let mut command = object::host_cargo(workspace);
        command.env("RUSTC_WORKSPACE_WRAPPER", workspace.root().join(WRAPPER)).args([
            "build",
            "--locked",
            "--package",
            "tcpstat-fuzz",
            "--features",
            "fuzzing",
        ]);
        Step::new("building the fuzzer", workspace.log("build-fuzzer")).run(&mut command)?;
        // The next build of the workspace puts the binary without the feature in its place.
        let binary = workspace.target().join("xtask/tcpstat-fuzz");
        fs::copy(workspace.target().join("debug/tcpstat-fuzz"), &binary)?;
        Ok(Self(binary))
    }

    /// The names of all targets; an error if one has no inputs to begin with, or there are inputs for none.
    fn targets(&self, workspace: &Workspace) -> Result<Vec<String>> {
        let names = process::probe(Command::new(&self.0).env_remove(TARGET_VARIABLE));
        let names =
            names.with_context(|| format!("{} does not list its targets", self.0.display()))?;
        let names: Vec<_> = names.lines().map(str::to_owned).collect();
        let inputs = workspace.root().join(INPUTS);
        let folders = files::entries(&inputs)?.into_iter().filter(|path| path.is_dir());
        let mut folders: Vec<_> = folders.map(|path| files::relative(&inputs, &path)).collect();
        folders.sort_unstable();
        ensure!(folders == names, "{INPUTS} has {folders:?}, but the targets are {names:?}");
        Ok(names)
    }

    /// Fuzzes each target for that time, one after the other; of all targets those whose name contains `filter`. With
    /// `idle`, only while nothing else wants a processor.
    pub(crate) fn run(
        &self,
        workspace: &Workspace,
        filter: &str,
        time: Duration,
        idle: bool,
    ) -> Result<()> {
        let all = self.targets(workspace)?;
        let targets: Vec<_> = all.iter().filter(|name| name.contains(filter)).collect();
        ensure!(
            !targets.is_empty(),
            "{filter}: no target has that in its name; there are {}",
            all.join(", ")
        );
        let mut failed = Vec::new();
        for target in targets {
            if let Err(error) = self.run_one(workspace, target, time, idle) {
                println!("{error:#}");
                let log = fs::read(log_of(workspace, target)).unwrap_or_default();
                failed.push(format!("{target}: {}", finding(&String::from_utf8_lossy(&log))));
            }
        }
        if !failed.is_empty() {
            bail!("the fuzzer found inputs that fail:\n{}", failed.join("\n"));
        }
        Ok(())
    }

    fn run_one(
        &self,
        workspace: &Workspace,
        target: &str,
        time: Duration,
        idle: bool,
    ) -> Result<()> {
        let found = workspace.target().join("fuzz").join(target);
        let failing = workspace.target().join("fuzz").join(format!("{target}-"));
        fs::create_dir_all(&found)?;
        let mut command = Command::new(&self.0);
        if !idle {
            command = Command::new("nice");
            command.args(["-n", "10"]).arg(&self.0);
        }
        command
            .env(TARGET_VARIABLE, target)
            .args(SETTINGS)
            .arg(if idle { IDLE_TIMEOUT } else { TIMEOUT })
            .arg(format!("-max_total_time={}", time.as_secs()))
            .arg(format!("-artifact_prefix={}", failing.display()))
            .arg(&found)
            .arg(workspace.root().join(INPUTS).join(target));
        let more = MORE_INPUTS.iter().filter(|(name, _)| *name == target);
        command.args(more.map(|(_, folder)| workspace.root().join(folder)));
        if idle {
            command = process::idle(&command);
        }
        let title = format!("fuzz {target}");
        Step { shown: is_count, ..Step::new(&title, log_of(workspace, target)) }.run(&mut command)
    }
}

fn log_of(workspace: &Workspace, target: &str) -> PathBuf {
    workspace.log(&format!("fuzz-{target}"))
}

/// The message of the panic, libFuzzer's summary, and the input: what a log says of the input that fails.
fn finding(log: &str) -> String {
    let mut lines = log.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.starts_with("thread '") {
            found.extend(lines.next());
        } else if ["SUMMARY: ", "Base64: "].iter().any(|prefix| line.starts_with(prefix)) {
            found.push(line);
        }
    }
    if found.is_empty() { "its log does not say why".to_owned() } else { found.join("; ") }
}

/// How many inputs there were.
fn is_count(line: &str) -> bool {
    line.starts_with("stat::number_of_executed_units")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_has_the_message_the_summary_and_the_input() {
        let log = "INFO: seed corpus\nthread '<unnamed>' (7) panicked at src/a.rs:9:5:\nx is too long\n\
            stack backtrace:\nSUMMARY: libFuzzer: deadly signal\nBase64: eHg=\nstat::peak_rss_mb: 91\n";
        assert_eq!(finding(log), "x is too long; SUMMARY: libFuzzer: deadly signal; Base64: eHg=");
        assert_eq!(finding("killed"), "its log does not say why");
    }
}
