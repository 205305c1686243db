//! How a kernel is booted: in QEMU without KVM, which is missing or broken on many CI hosts.

use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result};

use crate::apt;
use crate::architecture::Architecture;
use crate::matrix::kernel::Kernel;
use crate::matrix::machine::Machine;
use crate::process::{Step, on_path};
use crate::target::Workspace;

/// One run takes some ten minutes where a processor is free.
const TIMEOUT_SECONDS: &str = "1500";

/// A way to boot a kernel.
#[derive(Clone, Copy)]
pub(crate) struct Variant {
    /// What the report appends to the version of a kernel booted this way.
    suffix: &'static str,
    /// The programs that the guest runs, one after the other.
    pub(crate) programs: &'static str,
    /// Added to the kernel's command line.
    arguments: &'static str,
    /// QEMU's processors. Two take turns: with a thread for each, some kernels panic. Some of the possible
    /// ones are never added.
    processors: &'static str,
    /// Whether the guest can send commands to QEMU: its monitor is at the other end of the second serial port.
    has_monitor: bool,
    /// The tests that run in it, if not all.
    pub(crate) filter: Option<&'static str>,
    /// Whether it runs only the tests on what differs between kernels and architectures.
    pub(crate) is_subset: bool,
}

const USUAL: Variant = Variant {
    suffix: "",
    programs: "tests scopes storm who events",
    arguments: "",
    processors: "2,maxcpus=4",
    has_monitor: false,
    filter: None,
    is_subset: false,
};

/// Two halves, so that the processors of the host share them evenly; the longer one is the first.
const HALVES: [Variant; 2] = [
    Variant { programs: "tests", ..USUAL },
    Variant { programs: "scopes storm who events", suffix: " other tests", ..USUAL },
];

/// On another architecture, and on kernels between the oldest and the newest: the tests on what differs.
const SUBSET: Variant = Variant { programs: "tests scopes who events", is_subset: true, ..USUAL };

/// On kernels between the oldest and the newest, which take turns, as there is no time for more. The oldest and the newest run
/// every test with both programs, and so does the host, whose kernel is one of those between.
const MIDDLE: [Variant; 2] =
    [SUBSET, Variant { programs: "scopes storm", suffix: " scopes and storm", ..USUAL }];

/// With no IPv6 at all, which no network namespace can be made to look like: no address family, no
/// /proc/net/tcp6.
const WITHOUT_IPV6: Variant = Variant {
    suffix: " without IPv6",
    arguments: "ipv6.disable=1",
    filter: Some("with_only_ipv4"),
    ..USUAL
};

/// With one processor at first; the tests plug more in.
const LATE_PROCESSORS: Variant = Variant {
    suffix: " with late processors",
    arguments: "",
    processors: "1,maxcpus=4,sockets=4,cores=1,threads=1",
    has_monitor: true,
    filter: Some("a_processor_that_is_plugged_in_later"),
    ..USUAL
};

/// All boots, the longest first: each kernel of this machine's architecture as it is; those of other architectures; the
/// last one without IPv6, and the last one before 6.9 with processors that come late (since 6.9 a processor that is not
/// there at boot is not possible). Where `filter` asks for certain tests, only the boots that may run them.
pub(crate) fn variants<'a>(kernels: &'a [Kernel], filter: &[String]) -> Vec<(&'a Kernel, Variant)> {
    let is_native = |kernel: &&Kernel| kernel.architecture() == Architecture::X86_64;
    let (kernels, others): (Vec<_>, Vec<_>) = kernels.iter().partition(is_native);
    let (ends, middle) =
        if filter.is_empty() { (&HALVES[..], &MIDDLE[..]) } else { (&[USUAL][..], &[USUAL][..]) };
    let mut boots = Vec::new();
    for (half, (of_ends, of_middle)) in ends.iter().zip(middle).enumerate() {
        boots.extend(kernels.iter().enumerate().filter_map(|(place, &kernel)| {
            let is_middle = place > 0 && place + 1 < kernels.len();
            let has_turn = middle.len() == 1 || place % middle.len() == half;
            (!is_middle || has_turn)
                .then_some((kernel, if is_middle { *of_middle } else { *of_ends }))
        }));
    }
    let of_others = if filter.is_empty() { SUBSET } else { Variant { is_subset: false, ..SUBSET } };
    boots.extend(others.into_iter().map(|kernel| (kernel, of_others)));
    let reduced = kernels.last().map(|&kernel| (kernel, WITHOUT_IPV6));
    let late = kernels.iter().rfind(|kernel| kernel.series() < (6, 9));
    let late = late.map(|&kernel| (kernel, LATE_PROCESSORS));
    boots.extend(reduced.into_iter().chain(late).filter(|(_, variant)| {
        let own = variant.filter.unwrap_or_default();
        filter.is_empty() || filter.iter().any(|word| own.contains(word.as_str()))
    }));
    boots
}

/// A kernel that is ready to be booted.
pub(crate) struct Boot<'a> {
    /// What the report calls it.
    pub(crate) name: String,
    pub(crate) qemu: &'a Qemu,
    pub(crate) kernel: Kernel,
    pub(crate) variant: Variant,
    pub(crate) initramfs: PathBuf,
}

impl Variant {
    /// What the report calls that kernel booted this way.
    pub(crate) fn name_of(&self, kernel: &Kernel) -> String {
        format!("{}{}", kernel.name(), self.suffix)
    }
}

/// The emulator of an architecture.
pub(crate) struct Qemu {
    program: PathBuf,
    machine: &'static Machine,
}

impl Qemu {
    /// Finds the emulator, or installs it.
    pub(crate) fn provide(workspace: &Workspace, architecture: Architecture) -> Result<Self> {
        let machine = Machine::of(architecture);
        let Machine { program: name, package, .. } = machine;
        if on_path(name).is_none() {
            apt::install(workspace, name, &[package], "")?;
        }
        let missing = || format!("{package} is installed, but {name} is not on PATH");
        Ok(Self { program: on_path(name).with_context(missing)?, machine })
    }

    /// Boots a kernel and waits until it has switched itself off; its console goes to `log`, which alone shows
    /// what ran, and whether the kernel panicked.
    pub(crate) fn boot(&self, boot: &Boot<'_>, log: &Path) -> Result<()> {
        let variant = &boot.variant;
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=10", TIMEOUT_SECONDS, "nice", "-n", "5"])
            .arg(&self.program)
            .args(["-accel", "tcg,thread=single", "-smp", variant.processors])
            .args(["-cpu", self.machine.processor, "-M", self.machine.board])
            .args(["-m", "1024", "-display", "none", "-nodefaults", "-no-reboot"])
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(boot.kernel.image())
            .arg("-initrd")
            .arg(&boot.initramfs);
        let mut arguments = format!(
            "console={} quiet oops=panic panic=-1 {}",
            self.machine.console, variant.arguments
        );
        if variant.has_monitor {
            // The kernel adds them to the environment of its first process.
            let kind = format!("TCPSTAT_PROCESSOR_TYPE={}-x86_64-cpu", self.machine.processor);
            arguments = format!("{arguments} TCPSTAT_MONITOR=/dev/ttyS1 {kind}");
            // Of no file: the path of one may be too long for a socket.
            let socket = format!("abstract=on,path=tcpstat-matrix-{}", process::id());
            command
                .arg("-chardev")
                .arg(format!("socket,id=monitor,{socket},server=on,wait=off"))
                .args(["-mon", "chardev=monitor", "-chardev"])
                .arg(format!("socket,id=guest,{socket}"))
                .args(["-serial", "chardev:guest"]);
        }
        command.args(["-append", &arguments]);
        let title = format!("kernel {}", boot.name);
        Step::new(&title, log.to_owned()).run(&mut command)
    }
}
