//! A call that the filter of system calls refuses, in a running exporter: ptrace(2) makes a thread of it call, as foreign code in
//! the process would.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};
use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tcpstat_tests::binary::path_from;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::harness::Test;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::owned_child::OwnedChild;
use tcpstat_tests::scraper::Scraper;
use tempfile::NamedTempFile;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![a_refused_call_in_a_running_exporter_is_logged_and_changes_nothing]
}

/// The instruction `syscall`.
const SYSCALL: [u8; 2] = [0x0f, 0x05];

const ADDRESS: &str = "127.0.0.1:10048";

/// An exporter. Those of [`Options`](tcpstat_tests::exporter::Options) may have no such line in their log.
struct Serving {
    child: OwnedChild,
    log: NamedTempFile,
}

impl Serving {
    fn start() -> Result<Self> {
        let log = NamedTempFile::new()?;
        let mut command = Command::new(path_from("TCPSTAT_BIN")?);
        command.args(["serve", "--tracer=off", "--web.listen-address", ADDRESS]);
        command.args(["--log.format=logfmt"]).stdin(Stdio::null()).stderr(log.reopen()?);
        Ok(Self { child: command.spawn()?.into(), log })
    }

    fn await_line(&self, part: &str) -> Result<String> {
        wait_until(part, DEADLINE, || {
            let log = fs::read_to_string(self.log.path())?;
            let line = log.lines().find(|line| line.contains(part)).map(str::to_owned);
            Ok(line.map_or(Progress::NotYet(log), Progress::Done))
        })
    }

    /// The thread of that name.
    fn thread(&self, name: &str) -> Result<Pid> {
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let thread = thread?;
            if fs::read_to_string(thread.path().join("comm"))?.trim() == name {
                let id = thread.file_name().into_string().unwrap_or_default();
                return Ok(Pid::from_raw(id.parse()?));
            }
        }
        bail!("no thread {name}")
    }
}

fn await_stop(thread: Pid) -> Result<Signal> {
    match waitpid(thread, Some(WaitPidFlag::__WALL))? {
        WaitStatus::Stopped(_, signal) => Ok(signal),
        other => bail!("{other:?}"),
    }
}

/// The registers of the thread, which is stopped where it waits in a system call.
fn stop_in_a_call(thread: Pid) -> Result<user_regs_struct> {
    wait_until("thread that waits", DEADLINE, || {
        ptrace::attach(thread)?;
        await_stop(thread)?;
        let registers = ptrace::getregs(thread)?;
        let code = ptrace::read(thread, (registers.rip - 2) as ptrace::AddressType)?;
        if code.to_ne_bytes().starts_with(&SYSCALL) {
            return Ok(Progress::Done(registers));
        }
        ptrace::detach(thread, None)?;
        Ok(Progress::NotYet(format!("it runs at {:x}", registers.rip)))
    })
}

/// Makes the stopped thread call execve, and lets it wait again. What the call returns.
fn execve(thread: Pid, waiting: user_regs_struct) -> Result<i64> {
    let number = u64::try_from(libc::SYS_execve)?;
    // No call is to be started again: the number is -1.
    let none = u64::MAX;
    let calling = user_regs_struct {
        rip: waiting.rip - 2,
        rax: number,
        orig_rax: none,
        rdi: 0,
        rsi: 0,
        rdx: 0,
        ..waiting
    };
    ptrace::setregs(thread, calling)?;
    ptrace::cont(thread, None)?;
    let signal = await_stop(thread)?;
    ensure!(signal == Signal::SIGSYS, "{signal}");
    ptrace::syscall(thread, signal)?;
    // The handler makes calls too, and then returns behind the instruction.
    let answer = loop {
        await_stop(thread)?;
        let registers = ptrace::getregs(thread)?;
        if registers.rip == waiting.rip {
            break registers.rax.cast_signed();
        }
        ptrace::syscall(thread, None)?;
    };
    let interrupted = i64::from(-libc::EINTR).cast_unsigned();
    ptrace::setregs(thread, user_regs_struct { rax: interrupted, orig_rax: none, ..waiting })?;
    ptrace::detach(thread, None)?;
    Ok(answer)
}

fn a_refused_call_in_a_running_exporter_is_logged_and_changes_nothing(_: &Namespace) -> Result<()> {
    let mut serving = Serving::start()?;
    serving.await_line("msg=ready")?;
    let thread = serving.thread("tracker")?;
    let answer = execve(thread, stop_in_a_call(thread)?)?;
    assert_eq!(answer, i64::from(-libc::EPERM));
    let line = serving.await_line("refused the system call")?;
    ensure!(line.contains("level=error") && line.contains("execve"), "{line}");
    ensure!(line.ends_with("number=59"), "{line}");
    // It goes on, and the same thread takes the last step of its life.
    ensure!(Scraper::connect(ADDRESS.parse()?)?.get("/metrics")?.status == 200);
    kill(Pid::from_raw(serving.child.id().try_into()?), Signal::SIGTERM)?;
    ensure!(serving.child.wait()?.success());
    Ok(())
}
