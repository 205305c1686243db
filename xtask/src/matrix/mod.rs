//! The kernel matrix: the kernel tests, inside stock Debian kernels under QEMU.
//!
//! Nothing of a kernel is installed: packages are downloaded by an apt configuration of the matrix's
//! own, and unpacked under the target directory. Each kernel boots into an initramfs that holds
//! tcpstat, the tests, and a few programs of this machine, with their libraries. Guests on ARM64 have a cross build
//! of both, and Debian's programs.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use std::{io, iter, thread};

use anyhow::{Context, Result, bail, ensure};

use crate::architecture::{self, Architecture};
use crate::matrix::archive::Archive;
use crate::matrix::boot::{Boot, Qemu};
use crate::matrix::choice::{Series, Wanted};
use crate::matrix::initramfs::Base;
use crate::matrix::kernel::Kernel;
use crate::matrix::report::Row;
use crate::target::Workspace;
use crate::tools::Tools;

mod archive;
mod boot;
mod choice;
mod console;
mod flavour;
mod guest;
mod initramfs;
mod kernel;
mod left_out;
mod machine;
mod modules;
mod report;
mod subset;
mod userland;

/// Minimum number of kernels, if none is named.
const FEWEST: usize = 6;

/// Kernels are emulated one per processor, though not more than this. Three on two processors take as long in all.
const AT_ONCE: usize = 4;

/// What is downloaded or installed for the boots.
pub(crate) struct Fetched {
    platforms: Vec<Platform>,
    /// A busybox that runs on this machine.
    busybox: PathBuf,
    kernels: Vec<Kernel>,
    /// The kernels that are not available, in words.
    missing: Vec<String>,
    /// Kernels of the matrix that are left out, because this machine runs that series.
    left_to_host: usize,
}

/// What the guests of an architecture have in common.
struct Platform {
    architecture: Architecture,
    qemu: Qemu,
    archive: Archive,
}

/// Finds or installs the emulators, and downloads the kernels of `names` (such as `5.10`), or those of the matrix if
/// there are none. Of these, none of the series `on_host`, which runs all tests by itself.
pub(crate) fn fetch(
    workspace: &Workspace,
    names: &[String],
    on_host: Option<Series>,
) -> Result<Fetched> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the matrix is for machines of x86_64, which this machine is not"
    );
    let mut left_to_host = 0;
    let wanted: Vec<_> = if names.is_empty() {
        let is_on_host = |wanted: &Wanted| on_host.is_some_and(|series| wanted.names(series));
        left_to_host = choice::MATRIX.iter().filter(|wanted| is_on_host(wanted)).count();
        choice::MATRIX.into_iter().filter(|wanted| !is_on_host(wanted)).collect()
    } else {
        names.iter().map(|name| Wanted::parse(name)).collect::<Result<_>>()?
    };
    let host = Archive::open(workspace, Architecture::X86_64)?;
    let busybox = host.busybox()?;
    let (mut platforms, mut kernels, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for architecture in architecture::ALL {
        let is_of = |wanted: &&Wanted| wanted.flavour.architecture() == architecture;
        let wanted: Vec<_> = wanted.iter().filter(is_of).copied().collect();
        if wanted.is_empty() {
            continue;
        }
        let qemu = Qemu::provide(workspace, architecture)?;
        let archive = match architecture {
            Architecture::X86_64 => host.clone(),
            Architecture::Aarch64 => Archive::open(workspace, architecture)?,
        };
        let (found, not_found) = obtain(workspace, &archive, &busybox, &wanted)?;
        kernels.extend(found);
        missing.extend(not_found);
        platforms.push(Platform { architecture, qemu, archive });
    }
    Ok(Fetched { platforms, busybox, kernels, missing, left_to_host })
}

/// Builds what guests of another architecture than this machine's run. `idle`: only while nothing else wants a processor.
/// The BPF object must have been built.
pub(crate) fn build_for_others(workspace: &Workspace, idle: bool) -> Result<()> {
    guest::cross_build(workspace, Architecture::Aarch64, idle).map(drop)
}

/// Whether a kernel of `names` runs what is built for this machine.
pub(crate) fn runs_host_build(names: &[String]) -> Result<bool> {
    let wanted = names.iter().map(|name| Wanted::parse(name)).collect::<Result<Vec<_>>>()?;
    let is_native = |wanted: &Wanted| wanted.flavour.architecture() == Architecture::X86_64;
    Ok(names.is_empty() || wanted.iter().any(is_native))
}

/// The series of the kernel that this machine runs; `None` if it is not known.
pub(crate) fn series_of_host() -> Option<Series> {
    choice::series(&fs_err::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

/// Builds the tests, and runs them on every kernel; `filter` goes to the test binaries. tcpstat must have been built.
///
/// Succeeds if the tests passed on all of them, and enough kernels were available: all of `names`, or
/// [`FEWEST`] of the matrix, one that this machine runs among them.
pub(crate) fn run(
    workspace: &Workspace,
    tools: &Tools,
    fetched: Fetched,
    names: &[String],
    filter: &[String],
) -> Result<()> {
    let Fetched { platforms, busybox, kernels, missing, left_to_host } = fetched;
    let mut bases = Vec::new();
    for Platform { architecture, qemu, archive } in &platforms {
        let fill = |root: &Path| match architecture {
            Architecture::X86_64 => {
                userland::of_this_machine(&guest::build(workspace)?, tools, root)
            }
            Architecture::Aarch64 => {
                let programs = guest::cross_build(workspace, *architecture, false)?;
                userland::of_debian(&programs, archive, root)
            }
        };
        let folder = workspace.matrix().join(format!("initramfs-{}", architecture.debian()));
        let base = Base::assemble(folder, busybox.clone(), &archive.busybox()?, fill)?;
        bases.push((*architecture, qemu, base));
    }
    let boots = boot::variants(&kernels, filter).into_iter().map(|(kernel, variant)| {
        let is_it =
            |(architecture, ..): &&(Architecture, _, _)| *architecture == kernel.architecture();
        let (_, qemu, base) = bases.iter().find(is_it).context("a kernel has its platform")?;
        let initramfs = base.for_kernel(kernel, &variant, filter)?;
        let name = variant.name_of(kernel);
        Ok(Boot { name, qemu, kernel: kernel.clone(), variant, initramfs })
    });
    let boots = boots.collect::<Result<_>>()?;
    left_out::announce(left_to_host > 0);
    let rows = boot_all(workspace, boots);

    let table = report::table(&rows, &missing);
    println!("\n{table}");
    fs_err::write(workspace.log("matrix").with_extension("md"), &table)?;
    let failed: Vec<_> = rows.iter().filter(|row| !row.passed()).collect();
    if !failed.is_empty() {
        let versions: Vec<_> = failed.iter().map(|row| row.version()).collect();
        let reasons: String = failed.iter().map(|row| row.reasons()).collect();
        bail!("the kernel tests failed on {}\n{reasons}", versions.join(", "));
    }
    let ran = kernels.len() + left_to_host;
    let enough = if names.is_empty() { ran >= FEWEST } else { missing.is_empty() };
    ensure!(enough, "too few kernels: {ran} ran; {}", missing.join("; "));
    Ok(())
}

/// The kernels that are available, each one once, and in words those that are not.
fn obtain(
    workspace: &Workspace,
    archive: &Archive,
    busybox: &Path,
    wanted: &[Wanted],
) -> Result<(Vec<Kernel>, Vec<String>)> {
    let offered = archive.kernels()?;
    let (mut kernels, mut missing) = (Vec::<Kernel>::new(), Vec::new());
    for wanted in wanted {
        let taken: Vec<_> = kernels
            .iter()
            .filter(|kernel| kernel.flavour() == wanted.flavour)
            .map(Kernel::series)
            .collect();
        let best = wanted.best(&offered, &taken).context("no suite lists it");
        match best.and_then(|package| kernel::obtain(workspace, archive, busybox, package)) {
            Ok(kernel) => {
                println!("kernel {wanted}: {}", kernel.name());
                kernels.push(kernel);
            }
            Err(error) => {
                println!("kernel {wanted} is not available: {error:#}");
                missing.push(format!("{wanted}: {error:#}"));
            }
        }
    }
    Ok((kernels, missing))
}

/// Boots all, one per processor at a time; the rows are in the order of the boots.
fn boot_all(workspace: &Workspace, boots: Vec<Boot<'_>>) -> Vec<Row> {
    let at_once = thread::available_parallelism().map_or(1, usize::from).min(AT_ONCE);
    let queue = Mutex::new(boots.into_iter().enumerate());
    let work = || {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let boot = |(index, boot)| (index, boot_one(workspace, boot));
        iter::from_fn(next).map(boot).collect::<Vec<_>>()
    };
    let mut rows = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let rows =
            workers.into_iter().flat_map(|worker| worker.join().expect("a boot does not panic"));
        rows.collect::<Vec<_>>()
    });
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn boot_one(workspace: &Workspace, boot: Boot<'_>) -> Row {
    let started = Instant::now();
    let log = workspace.log(&format!("matrix-{}", boot.name));
    let ended = boot.qemu.boot(&boot, &log);
    let row = Row::new(boot.name, ended, log, started.elapsed());
    // Locked, so that what is printed of a kernel stays together.
    let _console = io::stdout().lock();
    row.print(workspace);
    row
}
