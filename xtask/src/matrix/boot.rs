//! How a kernel is booted: in QEMU without KVM, which is missing or broken on many CI hosts.

use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result};

use crate::apt;
use crate::matrix::kernel::Kernel;
use crate::process::{Step, on_path};
use crate::target::Workspace;

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// `max` has five levels of page tables and more that takes time to emulate: a fifth of that of the tests.
const PROCESSOR: &str = "qemu64";

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
}

const USUAL: Variant = Variant {
    suffix: "",
    programs: "tests scopes storm who events",
    arguments: "",
    processors: "2,maxcpus=4",
    has_monitor: false,
    filter: None,
};

/// Two halves, so that the processors of the host share them evenly; the longer one is the first.
const HALVES: [Variant; 2] = [
    Variant { programs: "tests", ..USUAL },
    Variant { programs: "scopes storm who events", suffix: " other tests", ..USUAL },
];

/// The second half on kernels between the oldest and the newest: the guests have no time for `who` and `events` on all.
const MIDDLE: Variant = Variant { programs: "scopes storm", suffix: " scopes and storm", ..USUAL };

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

/// All boots, the longest first: each kernel as it is, the last one without IPv6, and the last one before 6.9
/// with processors that come late (since 6.9 a processor that is not there at boot is not possible). Where
/// `filter` asks for certain tests, only the boots that may run them.
pub(crate) fn variants<'a>(kernels: &'a [Kernel], filter: &[String]) -> Vec<(&'a Kernel, Variant)> {
    let usual = if filter.is_empty() { &HALVES[..] } else { &[USUAL] };
    let mut boots = Vec::new();
    for variant in usual {
        boots.extend(kernels.iter().enumerate().map(|(place, kernel)| {
            let is_middle = place > 0 && place + 1 < kernels.len();
            let has_less = is_middle && variant.programs == HALVES[1].programs;
            (kernel, if has_less { MIDDLE } else { *variant })
        }));
    }
    let reduced = kernels.last().map(|kernel| (kernel, WITHOUT_IPV6));
    let late = kernels.iter().rfind(|kernel| kernel.series() < (6, 9));
    let late = late.map(|kernel| (kernel, LATE_PROCESSORS));
    boots.extend(reduced.into_iter().chain(late).filter(|(_, variant)| {
        let own = variant.filter.unwrap_or_default();
        filter.is_empty() || filter.iter().any(|word| own.contains(word.as_str()))
    }));
    boots
}

/// A kernel that is ready to be booted.
pub(crate) struct Boot {
    /// What the report calls it.
    pub(crate) name: String,
    pub(crate) kernel: Kernel,
    pub(crate) variant: Variant,
    pub(crate) initramfs: PathBuf,
}

impl Variant {
    /// What the report calls that kernel booted this way.
    pub(crate) fn name_of(&self, kernel: &Kernel) -> String {
        format!("{}{}", kernel.version(), self.suffix)
    }
}

/// The emulator.
pub(crate) struct Qemu(PathBuf);

impl Qemu {
    /// Finds the emulator, or installs it.
    pub(crate) fn provide(workspace: &Workspace) -> Result<Self> {
        if on_path(PROGRAM).is_none() {
            apt::install(workspace, PROGRAM, &[PACKAGE], "")?;
        }
        let missing = || format!("{PACKAGE} is installed, but {PROGRAM} is not on PATH");
        on_path(PROGRAM).map(Self).with_context(missing)
    }

    /// Boots a kernel and waits until it has switched itself off; its console goes to `log`, which alone shows
    /// what ran, and whether the kernel panicked.
    pub(crate) fn boot(&self, boot: &Boot, log: &Path) -> Result<()> {
        let variant = &boot.variant;
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=10", TIMEOUT_SECONDS, "nice", "-n", "5"])
            .arg(&self.0)
            .args(["-accel", "tcg,thread=single", "-smp", variant.processors])
            .args(["-cpu", PROCESSOR, "-M", "pc"])
            .args(["-m", "1024", "-display", "none", "-nodefaults", "-no-reboot"])
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(boot.kernel.image())
            .arg("-initrd")
            .arg(&boot.initramfs);
        let mut arguments =
            format!("console=ttyS0 quiet oops=panic panic=-1 {}", variant.arguments);
        if variant.has_monitor {
            // The kernel adds them to the environment of its first process.
            let kind = format!("TCPSTAT_PROCESSOR_TYPE={PROCESSOR}-x86_64-cpu");
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
