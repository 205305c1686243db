//! Puts the tracer's BPF object where `kernel::load` includes it, makes the runbook HTML, and names
//! the build's revision.
//!
//! `cargo xtask build` makes the object and gives its path in `TCPSTAT_BPF_OBJECT`. Without it (an
//! editor, a plain `cargo check`) the binary has no tracer, and says so at its start. With the feature
//! `lose-events` it is the object of that feature, in `TCPSTAT_BPF_OBJECT_LOSING`.

mod runbook;

use std::{env, fs, path::PathBuf, process::Command};

const RUNBOOK: &str = "docs/runbook.md";

fn main() {
    let losing = env::var_os("CARGO_FEATURE_LOSE_EVENTS").is_some();
    let variable = if losing { "TCPSTAT_BPF_OBJECT_LOSING" } else { "TCPSTAT_BPF_OBJECT" };
    println!("cargo::rerun-if-env-changed={variable}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let object = match env::var_os(variable) {
        Some(path) => {
            println!("cargo::rerun-if-changed={}", path.display());
            let object =
                fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            without_debug_information(&object)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        }
        None => Vec::new(),
    };
    fs::write(out.join("tcpstat.bpf.o"), object).expect("OUT_DIR is writable");
    println!("cargo::rerun-if-changed={RUNBOOK}");
    println!("cargo::rerun-if-changed=build");
    let markdown = fs::read_to_string(RUNBOOK).unwrap_or_else(|error| panic!("{RUNBOOK}: {error}"));
    fs::write(out.join("runbook.html"), runbook::html(&markdown)).expect("OUT_DIR is writable");
    println!("cargo::rustc-env=TCPSTAT_REVISION={}", revision());
}

/// The object without the sections that only debuggers read, four fifths of it. Its BTF stays.
fn without_debug_information(object: &[u8]) -> Result<Vec<u8>, object::build::Error> {
    let mut builder = object::build::elf::Builder::read(object)?;
    for section in &mut builder.sections {
        let name: &[u8] = &section.name;
        section.delete = name.strip_prefix(b".rel").unwrap_or(name).starts_with(b".debug_");
    }
    builder.delete_orphans();
    // LLVM puts all names into one section. What is written here has one for those of sections.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.data = object::build::elf::SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// The commit that is built, or `unknown` outside a checkout.
fn revision() -> String {
    let Some(head) = git(&["rev-parse", "--git-path", "HEAD"]) else { return "unknown".to_owned() };
    // None for a commit without a branch. A worktree has its own HEAD, and its branch is beside those of the others.
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    let branch = branch.and_then(|branch| git(&["rev-parse", "--git-path", &branch]));
    // The next commit of a packed branch makes its file.
    let is_packed = |branch: &String| !fs::exists(branch).unwrap_or(false);
    let branch = match branch {
        Some(branch) if is_packed(&branch) => git(&["rev-parse", "--git-path", "refs/heads"]),
        branch => branch,
    };
    for path in [Some(head), branch].into_iter().flatten() {
        // A path that does not exist would make cargo run this script in every build.
        if fs::exists(&path).unwrap_or(false) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

/// What git answers, in one line; `None` if it fails.
fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let answer =
        output.status.success().then(|| String::from_utf8(output.stdout).ok()).flatten()?;
    Some(answer.trim().to_owned())
}
