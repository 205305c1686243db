//! Serves the metrics of all hosts of a fleet on one port: that of host 17 at `/PROFILE/17/metrics`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::host::Fleet;
use super::template::Template;

/// Maximum length of the head of a request, in bytes.
const MAX_HEAD: u64 = 16 * 1024;

/// Answers on `listener` until the process ends; `profiles` has the template of each profile.
///
/// # Errors
/// Fails if no more connections can be accepted.
pub fn serve(
    listener: &TcpListener,
    fleet: Fleet,
    profiles: BTreeMap<String, Template>,
) -> Result<()> {
    let profiles = Arc::new(profiles);
    for stream in listener.incoming() {
        let (stream, profiles) = (stream.context("accept a connection")?, profiles.clone());
        // A client keeps its connection for thousands of hosts, so there are few.
        thread::spawn(move || answer_all(stream, fleet, &profiles));
    }
    Ok(())
}

/// The end of a connection is no error.
fn answer_all(stream: TcpStream, fleet: Fleet, profiles: &BTreeMap<String, Template>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut body = String::new();
    while let Some(path) = request(&mut stream)? {
        body.clear();
        let status = match host(&path, fleet, profiles) {
            Some((template, number)) => {
                template.write(&fleet.host(number, now()), &mut body);
                "200 OK"
            }
            None => "404 Not Found",
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let stream = stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
    }
    Ok(())
}

/// The path of the next request; `None` at the end of the connection.
fn request(stream: &mut BufReader<TcpStream>) -> Result<Option<String>> {
    let mut head = stream.take(MAX_HEAD);
    let mut first = String::new();
    if head.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        ensure!(head.read_line(&mut line)? > 0, "a request ends within its head");
    }
    let path = first.split(' ').nth(1).context("a request has no path")?;
    Ok(Some(path.to_owned()))
}

fn host<'a>(
    path: &str,
    fleet: Fleet,
    profiles: &'a BTreeMap<String, Template>,
) -> Option<(&'a Template, u64)> {
    let (profile, rest) = path.strip_prefix('/')?.split_once('/')?;
    let number = rest.strip_suffix("/metrics")?.parse().ok()?;
    let template = profiles.get(profile)?;
    (number < fleet.hosts).then_some((template, number))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
