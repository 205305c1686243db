//! The kernel matrix: the kernel tests, inside stock Debian kernels under QEMU.
//!
//! Nothing of a kernel is installed: packages are downloaded by an apt configuration of the matrix's
//! own, and unpacked under the target directory. Each kernel boots into an initramfs that holds
//! static builds of tcpstat and of the tests, and a few programs of this machine.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use std::{io, iter, thread};

use anyhow::{Result, bail, ensure};

use crate::matrix::archive::Archive;
use crate::matrix::choice::Wanted;
use crate::matrix::initramfs::Base;
use crate::matrix::kernel::Kernel;
use crate::matrix::report::Row;
use crate::matrix::variant::Boot;
use crate::target::Workspace;
use crate::tools::Tools;

mod archive;
mod choice;
mod console;
mod guest;
mod initramfs;
mod kernel;
mod left_out;
mod machine;
mod modules;
mod packages;
mod report;
mod sources;
mod variant;

/// Without a word on which kernels, fewer than these are too few.
const FEWEST: usize = 4;

/// Kernels are emulated one per processor, though not more than this.
const AT_ONCE: usize = 4;

/// Runs the tests on every kernel of `names` (such as `5.10`), or on those of the matrix if there are
/// none; `filter` goes to the test binary. The BPF object must have been built.
///
/// Succeeds when enough kernels could be had and all of them passed.
pub(crate) fn run(
    workspace: &Workspace,
    tools: &Tools,
    names: &[String],
    filter: &[String],
) -> Result<()> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "the kernels of the matrix are for x86_64, which this machine is not"
    );
    let wanted = if names.is_empty() {
        Wanted::matrix()
    } else {
        names.iter().map(|name| Wanted::parse(name)).collect::<Result<_>>()?
    };
    let qemu = machine::provide(workspace)?;
    let programs = guest::build(workspace)?;
    let archive = Archive::open(workspace)?;
    let base = Base::assemble(workspace, &archive, &programs, tools)?;
    let (kernels, missing) = obtain(workspace, &archive, &wanted)?;
    let obtained = kernels.len();
    let boots = variant::all(&kernels, filter)
        .into_iter()
        .map(|(kernel, variant)| {
            let filter = variant.filter.map_or_else(|| filter.to_vec(), |only| vec![only.into()]);
            let name = variant.name_of(kernel);
            let initramfs = base.for_kernel(kernel, &name, &filter)?;
            Ok(Boot { name, kernel: kernel.clone(), variant, initramfs })
        })
        .collect::<Result<_>>()?;
    left_out::announce();
    let rows = boot_all(workspace, &qemu, boots);

    let table = format!("{}\n{}", report::table(&rows, &missing), report::losses(&rows));
    println!("\n{table}");
    let file = workspace.log("matrix").with_extension("md");
    fs_err::write(&file, &table)?;
    rows.iter().filter(|row| !row.passed()).for_each(Row::print_failures);
    verdict(&rows, obtained, &missing, names.is_empty())
}

/// The kernels that could be had, each one once, and in words those that could not.
fn obtain(
    workspace: &Workspace,
    archive: &Archive,
    wanted: &[Wanted],
) -> Result<(Vec<Kernel>, Vec<String>)> {
    let offered = archive.kernels()?;
    let (mut kernels, mut missing) = (Vec::<Kernel>::new(), Vec::new());
    for wanted in wanted {
        let taken: Vec<_> = kernels.iter().map(Kernel::series).collect();
        match kernel::obtain(workspace, archive, &wanted.candidates(&offered, &taken)) {
            Ok(kernel) => {
                println!("kernel {wanted}: {}", kernel.version());
                kernels.push(kernel);
            }
            Err(error) => {
                println!("kernel {wanted} cannot be had: {error:#}");
                missing.push(format!("{wanted}: {error:#}"));
            }
        }
    }
    Ok((kernels, missing))
}

/// Boots all, one per processor at a time; the rows are in the order of the kernels.
fn boot_all(workspace: &Workspace, qemu: &machine::Qemu, boots: Vec<Boot>) -> Vec<Row> {
    let at_once = thread::available_parallelism().map_or(1, usize::from).min(AT_ONCE);
    let queue = Mutex::new(boots.into_iter().enumerate());
    let work = || {
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let boot = |(index, boot)| (index, boot_one(workspace, qemu, boot));
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

fn boot_one(workspace: &Workspace, qemu: &machine::Qemu, boot: Boot) -> Row {
    let started = Instant::now();
    let log = workspace.log(&format!("matrix-{}", boot.name.replace(' ', "-")));
    let ended = qemu.boot(&boot, &log);
    let row = Row::new(boot.name, ended, log, started.elapsed());
    // Locked, so that what is printed of a kernel stays together.
    let _console = io::stdout().lock();
    row.print(workspace);
    row
}

fn verdict(rows: &[Row], obtained: usize, missing: &[String], whole_matrix: bool) -> Result<()> {
    let failed: Vec<_> = rows.iter().filter(|row| !row.passed()).map(Row::version).collect();
    if !failed.is_empty() {
        bail!("the kernel tests failed on {}", failed.join(", "));
    }
    let enough = if whole_matrix { obtained >= FEWEST } else { missing.is_empty() };
    ensure!(enough, "too few kernels: {obtained} ran; {}", missing.join("; "));
    Ok(())
}
