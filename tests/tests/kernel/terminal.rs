//! The terminal view, in a real terminal, over real sockets.

use std::fs::{self, File};
use std::io::Read;
use std::net::Ipv6Addr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tcpstat_tests::binary::path_from;
use tcpstat_tests::deadline::{DEADLINE, Progress, wait_until};
use tcpstat_tests::exporter::{Exporter, FREQUENT_SNAPSHOTS};
use tcpstat_tests::harness::Test;
use tcpstat_tests::held::Addressing;
use tcpstat_tests::kernel_tests;
use tcpstat_tests::listeners::Stuck;
use tcpstat_tests::loopback::{Churn, Pairs};
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::states;
use tcpstat_tests::tcp::Family;
use tcpstat_tests::terminal::Terminal;
use tcpstat_tests::unprivileged::ReachableBinary;
use tcpstat_tests::wire::Wire;

pub(crate) fn tests() -> Vec<Test> {
    kernel_tests![
        top_shows_new_sockets_and_handles_keys,
        top_shows_rates_while_sockets_change_state,
        top_fits_every_terminal_size,
        top_restores_the_terminal_when_it_quits,
        top_restores_the_terminal_after_every_signal_except_sigkill,
        top_ends_well_when_its_terminal_goes_away,
        top_ends_well_when_the_terminal_that_it_draws_on_goes_away,
        top_handles_a_paste_of_20_kb,
        top_shows_a_running_exporter_and_reconnects_after_its_restart,
        top_without_privileges_shows_snapshots_and_says_so,
        top_shows_causes_ages_and_listeners,
        top_shows_causes_ages_and_listeners_of_a_running_exporter
    ]
}

/// `top` in a terminal. The script prints the terminal's settings before and after it, and stays open.
pub(crate) fn top(size: (u16, u16)) -> Result<Terminal> {
    let binary = path_from("TCPSTAT_BIN")?;
    let script = format!(
        "ulimit -c 0; stty -a | grep -o -- '-*icanon\\|-*echo ' | tr '\\n' ' '; echo before; \
         {} top --interval 200ms; \
         echo \"ended with $?\"; stty -a | grep -o -- '-*icanon\\|-*echo ' | tr '\\n' ' '; \
         echo after; exec sleep 1000",
        binary.display()
    );
    Terminal::open(&script, size)
}

/// The number after the name of a state.
pub(crate) fn sockets(screen: &str, state: &str) -> Option<u64> {
    let (_, rest) = screen.split_once(&format!("{state} "))?;
    rest.split_whitespace().next()?.replace(',', "").parse().ok()
}

fn top_shows_new_sockets_and_handles_keys(_: &Namespace) -> Result<()> {
    let terminal = top((80, 24))?;
    terminal.await_screen("no socket", |screen| sockets(screen, "established") == Some(0))?;
    let pairs = Pairs::connect(7, Family::Ipv4)?;
    let more = Pairs::connect(600, Family::Ipv6)?;
    let screen = terminal.await_screen("the sockets", |screen| {
        sockets(screen, "established") == Some(1_214) && sockets(screen, "listen") == Some(2)
    })?;
    assert!(screen.contains("consistent") && screen.contains("1,216 sockets"), "{screen}");

    terminal.press("f")?;
    terminal.await_screen("those of IPv4", |screen| {
        screen.contains("family: ipv4") && sockets(screen, "established") == Some(14)
    })?;
    terminal.press("f")?;
    terminal.press("f")?;
    terminal.press("Space")?;
    terminal.await_screen("a pause", |screen| screen.contains("PAUSED"))?;
    drop(more);
    // Keys still work.
    terminal.press("s")?;
    let screen = terminal.await_screen("another order", |screen| screen.contains("sort: count"))?;
    assert_eq!(sockets(&screen, "established"), Some(1_214), "{screen}");
    terminal.press("Space")?;
    terminal.await_screen("the sockets of the meantime", |screen| {
        !screen.contains("PAUSED") && sockets(screen, "established") == Some(14)
    })?;
    terminal.press("?")?;
    terminal.await_screen("the help", |screen| screen.contains("pause and continue"))?;
    terminal.press("Escape")?;
    terminal.await_screen("no help", |screen| !screen.contains("pause and continue"))?;
    drop(pairs);
    Ok(())
}

fn top_shows_rates_while_sockets_change_state(_: &Namespace) -> Result<()> {
    let terminal = top((80, 24))?;
    terminal.await_screen("its start", |screen| screen.contains("none at the moment"))?;
    let churn = Churn { threads: 1, connections: 50_000, family: Family::Ipv4, resets: true };
    let churning = std::thread::spawn(move || {
        churn.run_until(std::time::Instant::now() + std::time::Duration::from_secs(2))
    });
    let screen = terminal.await_screen("transitions", |screen| {
        screen.contains("listen → syn_recv") && screen.contains("/s █")
    })?;
    let row = screen.lines().find(|line| line.starts_with("syn_recv")).context("no syn_recv")?;
    let rates: Vec<_> = row.split_whitespace().skip(3).take(2).collect();
    assert_eq!(rates.len(), 2, "{screen}");
    assert!(rates.iter().all(|rate| *rate != "0" && *rate != "-"), "{screen}");
    churning.join().expect("no panic")?;
    terminal.await_screen("calm", |screen| screen.contains("none at the moment"))?;
    Ok(())
}

fn top_fits_every_terminal_size(_: &Namespace) -> Result<()> {
    let _pairs = Pairs::connect(3, Family::Ipv4)?;
    let terminal = top((120, 40))?;
    for (columns, rows) in [(80, 24), (40, 10), (60, 16), (200, 50)] {
        terminal.resize(columns, rows)?;
        let fits = |screen: &str| {
            let lines: Vec<_> = screen.trim_end().lines().collect();
            let keys = lines.last().is_some_and(|line| line.starts_with("q quit"));
            keys && lines.len() == usize::from(rows) && sockets(screen, "established") == Some(6)
        };
        let what = format!("view of {columns} by {rows}");
        let screen = terminal.await_screen(&what, fits)?;
        assert_eq!(screen.matches("q quit").count(), 1, "{screen}");
    }
    Ok(())
}

/// Whether the screen and the line discipline are as before, and `top` ended with `status`.
fn is_restored(screen: &str, status: u8) -> bool {
    let lines: Vec<_> = screen.trim_end().lines().collect();
    lines.len() == 3
        && lines[0].ends_with("before")
        && lines[1] == format!("ended with {status}")
        && lines[2].starts_with("icanon echo")
        && lines[0].replace("before", "after") == lines[2]
}

fn top_restores_the_terminal_when_it_quits(_: &Namespace) -> Result<()> {
    for key in ["q", "C-c"] {
        let terminal = top((80, 24))?;
        terminal.await_screen("its start", |screen| screen.contains("q quit"))?;
        terminal.press(key)?;
        terminal.await_screen("restored terminal", |screen| is_restored(screen, 0))?;
    }
    Ok(())
}

fn top_restores_the_terminal_after_every_signal_except_sigkill(_: &Namespace) -> Result<()> {
    // `top` quits on some signals, and dies of the others.
    let quits = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
    let dies = [
        Signal::SIGABRT,
        Signal::SIGSEGV,
        Signal::SIGBUS,
        Signal::SIGILL,
        Signal::SIGQUIT,
        Signal::SIGSYS,
        Signal::SIGTRAP,
        Signal::SIGUSR1,
        Signal::SIGALRM,
        Signal::SIGXCPU,
    ];
    for signal in quits.into_iter().chain(dies) {
        let terminal = top((80, 24))?;
        terminal.await_screen("its start", |screen| screen.contains("q quit"))?;
        assert_eq!(terminal.format("#{alternate_on} #{cursor_flag}")?, "1 0");
        kill(Pid::from_raw(foreground(&terminal)?), signal)?;
        let status = if quits.contains(&signal) { 0 } else { 128 + signal as u8 };
        let what = format!("restored terminal after {signal}");
        terminal.await_screen(&what, |screen| {
            // The shell prints how a process died, in a line of its own.
            let lines: Vec<_> = screen.trim_end().lines().collect();
            let own: Vec<_> = lines.iter().filter(|line| is_own(line)).copied().collect();
            lines.len() - own.len() <= 1 && is_restored(&own.join("\n"), status)
        })?;
        assert_eq!(terminal.format("#{alternate_on} #{cursor_flag}")?, "0 1", "{signal}");
    }
    Ok(())
}

/// The window closes, with the signal and without it, as below `nohup`.
fn top_ends_well_when_its_terminal_goes_away(_: &Namespace) -> Result<()> {
    let binary = path_from("TCPSTAT_BIN")?;
    let folder = tempfile::tempdir()?;
    let [printed, status] = ["printed", "status"].map(|name| folder.path().join(name));
    for hangup in [":", ""] {
        for stderr in [None, Some(&printed)] {
            let stderr = stderr.map_or_else(String::new, |path| format!("2>{}", path.display()));
            let script = format!(
                "ulimit -c 0; trap '{hangup}' HUP; {} top --interval 200ms {stderr}; \
                 echo $? >{status}.new; mv {status}.new {status}",
                binary.display(),
                status = status.display()
            );
            let terminal = Terminal::open(&script, (80, 24))?;
            terminal.await_screen("its start", |screen| screen.contains("q quit"))?;
            drop(terminal);
            let ended = wait_until("the end of top", DEADLINE, || {
                Ok(match fs::read_to_string(&status) {
                    Ok(ended) => Progress::Done(ended),
                    Err(error) => Progress::NotYet(error.to_string()),
                })
            })?;
            assert_eq!(ended.trim(), "0", "{script}");
            fs::remove_file(&status)?;
        }
        assert_eq!(fs::read_to_string(&printed)?, "");
    }
    Ok(())
}

/// No signal and no end of the input comes with it, and there is no other terminal whose size could be asked for.
fn top_ends_well_when_the_terminal_that_it_draws_on_goes_away(_: &Namespace) -> Result<()> {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let (keyboard, screen) = (openpty(&size, None)?, openpty(&size, None)?);
    for master in [&keyboard.master, &screen.master] {
        fcntl(master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    let folder = tempfile::tempdir()?;
    let errors = folder.path().join("errors");
    let mut top = Command::new("setsid")
        .arg(path_from("TCPSTAT_BIN")?)
        .args(["top", "--interval=200ms"])
        .env("TERM", "xterm")
        .stdin(keyboard.slave)
        .stdout(screen.slave)
        .stderr(File::create(&errors)?)
        .spawn()?;
    let mut drawn = Vec::new();
    let mut terminal = File::from(screen.master);
    while !String::from_utf8_lossy(&drawn).contains("quit") {
        let mut chunk = [0; 4096];
        let bytes = terminal.read(&mut chunk)?;
        drawn.extend(&chunk[..bytes]);
    }
    drop(terminal);
    let ended = wait_until("the end of top", DEADLINE, || {
        let ended = top.try_wait()?;
        Ok(ended.map_or_else(|| Progress::NotYet("it runs".to_owned()), Progress::Done))
    });
    if ended.is_err() {
        top.kill()?;
    }
    let errors = fs::read_to_string(&errors)?;
    ensure!(ended?.success() && errors.is_empty(), "{:?}, {errors}", top.try_wait()?);
    Ok(())
}

/// Whether the script of [`top`] printed that line.
fn is_own(line: &str) -> bool {
    ["before", "after"].iter().any(|word| line.ends_with(word)) || line.starts_with("ended with")
}

fn top_handles_a_paste_of_20_kb(_: &Namespace) -> Result<()> {
    let terminal = top((80, 24))?;
    terminal.await_screen("its start", |screen| screen.contains("established"))?;
    // In a bracketed paste no character is a key: it neither quits nor pauses.
    terminal.paste(&"quit p f s ".repeat(1_900), true)?;
    // Without brackets every character is a key.
    terminal.paste(&"fs+-pp".repeat(3_400), false)?;
    terminal.press("?")?;
    let screen =
        terminal.await_screen("the help", |screen| screen.contains("pause and continue"))?;
    assert!(!screen.contains("PAUSED"), "{screen}");
    terminal.press("q")?;
    terminal.await_screen("restored terminal", |screen| is_restored(screen, 0))?;
    Ok(())
}

/// The process id of the program that the terminal's shell runs.
fn foreground(terminal: &Terminal) -> Result<i32> {
    let shell = terminal.shell()?;
    let path = format!("/proc/{shell}/task/{shell}/children");
    let children = fs::read_to_string(&path).context(path)?;
    Ok(children.split_whitespace().next().context("the shell runs nothing")?.parse()?)
}

fn top_shows_a_running_exporter_and_reconnects_after_its_restart(_: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&["--tracer=auto"])?;
    let url = format!("http://{}", exporter.address());
    let binary = path_from("TCPSTAT_BIN")?;
    let script = format!("exec {} top --connect {url} --interval 200ms", binary.display());
    let terminal = Terminal::open(&script, (120, 24))?;
    terminal.await_screen("its start", |screen| screen.contains("established"))?;
    // The sockets of the exporter and of `top` are IPv4.
    let _pairs = Pairs::connect(7, Family::Ipv6)?;
    terminal.press("f")?;
    terminal.press("f")?;
    let seen = |screen: &str| {
        screen.contains("family: ipv6") && sockets(screen, "established") == Some(14)
    };
    let screen = terminal.await_screen("the sockets", seen)?;
    assert!(screen.contains(&url) && screen.contains("consistent"), "{screen}");
    exporter.stop()?;
    let screen = terminal.await_screen("its end", |screen| screen.contains("no connection"))?;
    assert!(seen(&screen), "the last numbers are gone: {screen}");
    let _exporter = Exporter::start(&["--tracer=auto"])?;
    terminal.await_screen("its return", |screen| {
        seen(screen) && screen.contains("consistent") && !screen.contains("no connection")
    })?;
    Ok(())
}

fn top_without_privileges_shows_snapshots_and_says_so(_: &Namespace) -> Result<()> {
    let binary = ReachableBinary::copy()?;
    let terminal = Terminal::open(&binary.top_script(), (100, 24))?;
    let screen = terminal.await_screen("its start", |screen| screen.contains("established"))?;
    assert!(screen.contains("snapshots only"), "{screen}");
    assert!(screen.contains("grant CAP_BPF and CAP_PERFMON"), "{screen}");
    let _pairs = Pairs::connect(4, Family::Ipv4)?;
    terminal.await_screen("the sockets", |screen| sockets(screen, "established") == Some(8))?;
    Ok(())
}

/// The words after `start` in the first line that begins with it.
fn cells<'a>(screen: &'a str, start: &str) -> Vec<&'a str> {
    let line = screen.lines().find_map(|line| line.strip_prefix(start));
    line.map(|rest| rest.split_whitespace().collect()).unwrap_or_default()
}

/// Makes a refused connect, resets in CLOSE_WAIT, a leak, and a full queue, and waits until `terminal` shows them.
fn assert_details(terminal: &Terminal, namespace: &Namespace) -> Result<()> {
    terminal.press("d")?;
    terminal.await_screen("no leak", |screen| screen.contains("CLOSE_WAIT  no socket"))?;
    let wire = Wire::open(namespace)?;
    let full = Stuck::start(Ipv6Addr::LOCALHOST.into(), 4, 5)?;
    for hold in [states::close_wait, states::close_wait, states::syn_sent] {
        let mut held = hold(&wire, Addressing::Ipv6)?;
        held.remote()?.rst()?;
        held.await_row("end of the socket", |row| row.is_none())?;
    }
    let _leak = states::close_wait(&wire, Addressing::Ipv4)?;
    let screen = terminal.await_screen("what happened", |screen| {
        let refused = cells(screen, "syn_sent    refused");
        let reset = cells(screen, "close_wait  reset");
        let happened = |cells: &[&str]| cells.len() == 2 && cells[0] != "-" && cells[0] != "0";
        happened(&refused)
            && happened(&reset)
            && reset[1] == "2"
            && cells(screen, "CLOSE_WAIT  oldest ").contains(&"1h:")
            && cells(screen, &full.address.to_string()).starts_with(&["5", "4", "full"])
    })?;
    assert!(screen.contains("1m: 0  5m: 0  1h: 0"), "{screen}");
    terminal.press("d")?;
    terminal.await_screen("the states", |screen| sockets(screen, "close_wait") == Some(1))?;
    Ok(())
}

fn top_shows_causes_ages_and_listeners(namespace: &Namespace) -> Result<()> {
    let binary = path_from("TCPSTAT_BIN")?;
    let script =
        format!("exec {} top --interval 200ms --snapshot-interval 200ms", binary.display());
    let terminal = Terminal::open(&script, (100, 24))?;
    terminal.await_screen("its start", |screen| screen.contains("established"))?;
    assert_details(&terminal, namespace)
}

fn top_shows_causes_ages_and_listeners_of_a_running_exporter(namespace: &Namespace) -> Result<()> {
    let exporter = Exporter::start(&FREQUENT_SNAPSHOTS)?;
    let binary = path_from("TCPSTAT_BIN")?;
    let script = format!(
        "exec {} top --connect http://{} --interval 200ms",
        binary.display(),
        exporter.address()
    );
    let terminal = Terminal::open(&script, (100, 24))?;
    terminal.await_screen("its start", |screen| screen.contains("established"))?;
    assert_details(&terminal, namespace)
}
