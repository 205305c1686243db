//! Processors that go offline and online while the tracer counts on each of them.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result};
use tcpstat_tests::agreement::{await_agreement, await_agreement_between_snapshots};
use tcpstat_tests::deadline::{DEADLINE, Progress, poll};
use tcpstat_tests::exporter::Exporter;
use tcpstat_tests::flow::Rest;
use tcpstat_tests::harness::{Test, kernel_test};
use tcpstat_tests::loopback::Churn;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::receive_processor::run_on;
use tcpstat_tests::tcp::Family;

const PROCESSORS: &str = "/sys/devices/system/cpu";

/// The terminal on which QEMU accepts commands, if there is one.
const MONITOR_VARIABLE: &str = "TCPSTAT_MONITOR";

/// What QEMU calls a processor that the machine of that terminal may get, such as `qemu64-x86_64-cpu`.
const TYPE_VARIABLE: &str = "TCPSTAT_PROCESSOR_TYPE";

/// From one command to its repetition.
const COMMAND_INTERVAL: Duration = Duration::from_secs(3);

pub(crate) fn tests() -> Vec<Test> {
    if let Some(monitor) = env::var_os(MONITOR_VARIABLE) {
        let test = |(cpu, tracer)| {
            let monitor = PathBuf::from(monitor.clone());
            let name = format!(
                "a_processor_that_is_plugged_in_later_counts_every_transition_with_{tracer}"
            );
            kernel_test(name, move |_: &Namespace| a_processor_is_plugged_in(&monitor, cpu, tracer))
        };
        return [(1, "btf"), (2, "tracepoint")].map(test).into();
    }
    let test = |tracer| {
        let name =
            format!("while_a_processor_goes_offline_and_online_{tracer}_counts_every_transition");
        kernel_test(name, move |_: &Namespace| a_processor_goes_offline_and_online(tracer))
    };
    ["btf", "tracepoint"].map(test).into()
}

/// The processor does not exist when the tracer starts, and has no device yet.
fn a_processor_is_plugged_in(monitor: &Path, cpu: usize, tracer: &str) -> Result<()> {
    let device = Path::new(PROCESSORS).join(format!("cpu{cpu}"));
    assert!(!device.exists(), "{} exists already", device.display());
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    let before = Rest::await_with(&mut exporter)?;

    let processor = env::var(TYPE_VARIABLE).context(TYPE_VARIABLE)?;
    let command = format!("device_add {processor},socket-id={cpu},core-id=0,thread-id=0");
    let mut monitor = Monitor::open(monitor)?;
    poll("processor's device", DEADLINE, COMMAND_INTERVAL, || {
        if device.exists() {
            return Ok(Progress::Done(()));
        }
        // A serial line may lose bytes. QEMU refuses a processor that exists already.
        monitor.command(&command)?;
        Ok(Progress::NotYet(format!(
            "possible {}, QEMU's answers {:?}",
            processors("possible")?,
            monitor.answers()
        )))
    })?;
    let online = device.join("online");
    fs::write(&online, "1").with_context(|| online.display().to_string())?;
    run_on(cpu)?;
    let churn = Churn { threads: 1, connections: 200, family: Family::Ipv4, resets: true };
    let made: u64 = churn.run()?.transitions().values().sum();
    await_agreement_between_snapshots(&mut exporter)?;
    let after = Rest::await_with(&mut exporter)?;
    after.ensure_counted_since(&mut exporter, &before, made)?;
    Ok(())
}

/// The counters have a row for each possible processor; one of these is offline at the start. The counts of a
/// processor that goes offline stay.
fn a_processor_goes_offline_and_online(tracer: &str) -> Result<()> {
    let all = processors("online")?;
    switch("0")?;
    assert_ne!(processors("possible")?, processors("online")?);
    let mut exporter = Exporter::start(&["--tracer", tracer, "--snapshot-interval=1h"])?;
    let before = Rest::await_with(&mut exporter)?;

    let mut made = 0;
    for online in ["0", "1", "0", "1"] {
        switch(online)?;
        let reduced = processors("online")? != all;
        assert_eq!(reduced, online == "0");
        // One thread: nothing interrupts the tracer between two transitions.
        let churn = Churn { threads: 1, connections: 300, family: Family::Ipv4, resets: true };
        made += churn.run()?.transitions().values().sum::<u64>();
        await_agreement(&mut exporter)?;
    }
    let after = Rest::await_with(&mut exporter)?;
    after.ensure_counted_since(&mut exporter, &before, made)?;
    assert_eq!(exporter.scrape()?.value("tcpstat_consistent", &[])?, 1.0);
    Ok(())
}

/// QEMU's monitor, behind a serial port.
struct Monitor {
    port: File,
    answers: Arc<Mutex<Vec<u8>>>,
}

impl Monitor {
    /// Opens the port and reads it until the process ends.
    fn open(path: &Path) -> Result<Self> {
        let port = File::options().read(true).write(true).open(path);
        let port = port.with_context(|| path.display().to_string())?;
        let answers = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, taken) = (port.try_clone()?, Arc::clone(&answers));
        std::thread::spawn(move || {
            let mut buffer = [0; 256];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                taken
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(&buffer[..length]);
            }
        });
        Ok(Self { port, answers })
    }

    /// Sends one line. The line break before it ends an unfinished line.
    fn command(&mut self, line: &str) -> Result<()> {
        write!(self.port, "\n{line}\n").with_context(|| format!("{line}: to QEMU's monitor"))
    }

    /// The end of QEMU's answers.
    fn answers(&self) -> String {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let from = answers.len().saturating_sub(1_000);
        String::from_utf8_lossy(&answers[from..]).into_owned()
    }
}

/// The list of the processors that are `possible` or `online`.
fn processors(which: &str) -> Result<String> {
    let path = Path::new(PROCESSORS).join(which);
    Ok(fs::read_to_string(&path).with_context(|| path.display().to_string())?.trim().to_owned())
}

/// Sets the second processor offline (`0`) or online (`1`); no effect if it is.
fn switch(online: &str) -> Result<()> {
    let path = Path::new(PROCESSORS).join("cpu1/online");
    fs::write(&path, online).with_context(|| format!("{online} to {}", path.display()))
}
