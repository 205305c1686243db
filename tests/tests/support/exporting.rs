//! Starting, scraping and stopping an exporter. This program itself plays the exporter.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use anyhow::{Context, Result};
use tcpstat_tests::exporter::{ALL_SERIES, Options};
use tcpstat_tests::harness::Test;
use tcpstat_tests::netns::Namespace;
use tcpstat_tests::proc_view;
use tcpstat_tests::scraper::Scraper;
use tcpstat_tests::tcp::{Family, State};
use tcpstat_tests::unprivileged::NO_CAPABILITIES;
use tcpstat_tests::{hermetic_tests, kernel_tests};

/// The argument on which this program plays the exporter.
pub(crate) const SUBCOMMAND: &str = "serve";

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = kernel_tests![
        an_exporter_runs_in_the_namespace,
        scrapes_share_one_connection,
        an_unprivileged_exporter_has_no_rights
    ];
    tests.extend(hermetic_tests![
        a_free_port_is_read_from_the_log,
        an_exporter_that_ends_is_reported,
        sigterm_ends_an_exporter,
        a_server_that_hangs_up_is_reported
    ]);
    tests
}

fn an_exporter_runs_in_the_namespace(namespace: &Namespace) -> Result<()> {
    let mut exporter = stand_in()?.env("PLAY_WORD", "spoken").args(["--some.flag"]).start()?;
    assert_eq!(exporter.address(), "127.0.0.1:10048".parse()?);
    assert_eq!(exporter.get("/netns")?.body, format!("net:[{}]", namespace.inum()));
    assert_eq!(exporter.get("/word")?.body, "spoken");
    assert_eq!(
        exporter.get("/args")?.body,
        "serve --web.listen-address=127.0.0.1:10048 --some.flag"
    );
    Ok(())
}

fn scrapes_share_one_connection(_: &Namespace) -> Result<()> {
    let mut exporter = stand_in()?.start()?;
    for _ in 0..5 {
        let connections = exporter.scrape()?.connections()?;
        assert_eq!(connections[&(Family::Ipv4, State::Listen)], 1);
    }
    assert_eq!(exporter.get("/missing")?.status, 404);
    let accepted = exporter.scraper().get_as("/accept", "text/plain")?;
    assert_eq!(
        (accepted.body.as_str(), accepted.header("content-length")),
        ("text/plain", Some("10"))
    );
    let seen = proc_view::connections()?;
    assert_eq!(seen[&(Family::Ipv4, State::Listen)], 1);
    assert_eq!(seen[&(Family::Ipv4, State::Established)], 2);
    Ok(())
}

fn an_unprivileged_exporter_has_no_rights(_: &Namespace) -> Result<()> {
    let mut exporter = stand_in()?.as_nobody(NO_CAPABILITIES).start()?;
    let status = exporter.get("/status")?.body;
    for line in [
        "Uid:\t65534\t",
        "Gid:\t65534\t",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
    ] {
        assert!(status.contains(line), "no {line} in {status}");
    }
    Ok(())
}

fn a_free_port_is_read_from_the_log() -> Result<()> {
    let mut exporter = anywhere()?.start()?;
    assert_ne!(exporter.address().port(), 0);
    assert!(exporter.log().contains(&format!("http://{}", exporter.address())));
    assert_eq!(exporter.get("/-/ready")?.status, 200);
    Ok(())
}

fn an_exporter_that_ends_is_reported() -> Result<()> {
    let error = anywhere()?.args(["--play.end"]).start().expect_err("the process ends");
    let error = format!("{error:#}");
    assert!(error.contains("exit status: 1") && error.contains("cannot go on"), "{error}");
    Ok(())
}

fn sigterm_ends_an_exporter() -> Result<()> {
    assert_eq!(anywhere()?.start()?.stop()?.signal(), Some(15));
    Ok(())
}

fn a_server_that_hangs_up_is_reported() -> Result<()> {
    let exporter = anywhere()?.start()?;
    let mut scraper = Scraper::connect(exporter.address())?;
    assert_eq!(scraper.get("/until-end")?.body, "this long");
    assert!(scraper.get("/args").is_err());
    Ok(())
}

fn stand_in() -> Result<Options> {
    Ok(Options::default().binary(env::current_exe()?))
}

/// For tests that share the machine's loopback.
fn anywhere() -> Result<Options> {
    Ok(stand_in()?.listen(SocketAddr::from(([127, 0, 0, 1], 0))))
}

/// Serves a few paths until killed.
pub(crate) fn play_exporter() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<()> {
    let args: Vec<_> = env::args().skip(1).collect();
    anyhow::ensure!(!args.contains(&"--play.end".to_owned()), "this cannot go on");
    let address = args.iter().find_map(|arg| arg.strip_prefix("--web.listen-address="));
    let listener = TcpListener::bind(address.context("no address")?)?;
    eprintln!("listening on http://{}/metrics", listener.local_addr()?);
    eprintln!("stub: ready");
    loop {
        let (stream, _) = listener.accept()?;
        std::thread::spawn(move || answer_all(stream).map_err(|error| eprintln!("{error:#}")));
    }
}

fn answer_all(stream: TcpStream) -> Result<()> {
    let mut not_ready = 2;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        while head.last().is_none_or(|line: &String| line != "\r\n") {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            head.push(line);
        }
        let path = head[0].split(' ').nth(1).context("no path")?;
        let stream = reader.get_mut();
        match path {
            "/-/ready" if not_ready > 0 => {
                not_ready -= 1;
                stream.write_all(
                    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nnot",
                )?;
            }
            "/metrics" | ALL_SERIES => stream.write_all(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                15\r\n# TYPE ignored gauge\n\r\n\
                36;extension=1\r\ntcpstat_connections{family=\"ipv4\",state=\"listen\"} 1.0\n\r\n\
                0\r\nTrailer: yes\r\n\r\n",
            )?,
            "/until-end" => {
                return Ok(
                    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthis long")?
                );
            }
            path => match answer(path, &head)? {
                Some(body) => write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )?,
                None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?,
            },
        }
    }
}

fn answer(path: &str, head: &[String]) -> Result<Option<String>> {
    Ok(Some(match path {
        "/-/ready" => String::new(),
        "/netns" => std::fs::read_link("/proc/self/ns/net")?.display().to_string(),
        "/status" => std::fs::read_to_string("/proc/self/status")?,
        "/word" => env::var("PLAY_WORD")?,
        "/args" => env::args().skip(1).collect::<Vec<_>>().join(" "),
        "/accept" => {
            let accept = head.iter().find_map(|line| line.strip_prefix("Accept: "));
            accept.context("no Accept header")?.trim().to_owned()
        }
        _ => return Ok(None),
    }))
}
