//! The machine that a kernel boots on: QEMU without KVM, which hosts of continuous integration refuse
//! or have broken.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::apt;
use crate::matrix::variant::Boot;
use crate::process::{self, Step};
use crate::target::Workspace;

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// One run takes some five minutes where a processor is free.
const TIMEOUT_SECONDS: &str = "1500";

/// The emulator.
pub(crate) struct Qemu {
    path: PathBuf,
}

/// Finds the emulator, or installs it.
pub(crate) fn provide(workspace: &Workspace) -> Result<Qemu> {
    if process::on_path(PROGRAM).is_none() {
        apt::install(workspace, PROGRAM, &[PACKAGE])?;
    }
    let path = process::on_path(PROGRAM)
        .with_context(|| format!("{PACKAGE} is installed, but {PROGRAM} is not on PATH"))?;
    Ok(Qemu { path })
}

impl Qemu {
    /// Boots a kernel and waits until it has switched itself off; its console goes to `log`.
    ///
    /// That it did is no word on what it ran, nor on whether it panicked: the console tells.
    pub(crate) fn boot(&self, boot: &Boot, log: &Path) -> Result<()> {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=10", TIMEOUT_SECONDS, "nice", "-n", "5"])
            .arg(&self.path)
            .args(["-accel", "tcg,thread=single", "-smp", boot.variant.processors])
            .args(["-cpu", "max", "-M", "pc"])
            .args(["-m", "1024", "-display", "none", "-nodefaults", "-no-reboot"])
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(boot.kernel.image())
            .arg("-initrd")
            .arg(&boot.initramfs)
            .arg("-append")
            .arg(format!("console=ttyS0 quiet oops=panic panic=-1 {}", boot.variant.arguments));
        if boot.variant.has_monitor {
            // Of no file: the path of one may be too long for a socket.
            let socket = format!("abstract=on,path=tcpstat-matrix-{}", std::process::id());
            command
                .arg("-chardev")
                .arg(format!("socket,id=monitor,{socket},server=on,wait=off"))
                .args(["-mon", "chardev=monitor", "-chardev"])
                .arg(format!("socket,id=guest,{socket}"))
                .args(["-serial", "chardev:guest"]);
        }
        let title = format!("kernel {}", boot.name);
        Step::new(&title, log.to_owned()).run(&mut command)
    }
}
