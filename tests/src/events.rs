//! A reader of server-sent events.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::deadline::DEADLINE;
use crate::scraper::connect_from;

/// An answer that may be a stream of events. Every read ends after [`DEADLINE`] with an error.
#[derive(Debug)]
pub struct EventStream {
    stream: BufReader<TcpStream>,
    /// Status code of the answer.
    pub status: u16,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its name.
    pub name: String,
    /// Its data.
    pub data: Value,
}

impl EventStream {
    /// Requests `path` and reads the head of the answer.
    ///
    /// # Errors
    /// Fails if no server listens there, or if it does not answer in HTTP.
    pub fn open(address: SocketAddr, path: &str) -> Result<Self> {
        Self::open_from(Ipv4Addr::UNSPECIFIED.into(), address, path)
    }

    /// As [`EventStream::open`], from `source`, an address of this host.
    ///
    /// # Errors
    /// As [`EventStream::open`], and if `source` is not an address of this host.
    pub fn open_from(source: IpAddr, address: SocketAddr, path: &str) -> Result<Self> {
        let stream = connect_from(source, address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        let mut stream = BufReader::new(stream);
        // The server sends no chunks to HTTP/1.0.
        write!(stream.get_mut(), "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let head = line(&mut stream)?.context("no answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("status line {head:?}"))?;
        while !line(&mut stream)?.context("the connection ended within the head")?.is_empty() {}
        Ok(Self { stream, status })
    }

    /// The next event; `None` when the stream has ended.
    ///
    /// # Errors
    /// Fails if there is none within [`DEADLINE`], and if its data is not JSON.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        let mut name = String::new();
        while let Some(line) = line(&mut self.stream)? {
            if let Some(value) = line.strip_prefix("event: ") {
                value.clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Ok(Some(Event { name, data: serde_json::from_str(data)? }));
            } else {
                ensure!(line.is_empty() || line.starts_with(':'), "not an event: {line}");
            }
        }
        Ok(None)
    }

    /// The rest of the answer.
    ///
    /// # Errors
    /// Fails when it does not end within [`DEADLINE`].
    pub fn rest(mut self) -> Result<String> {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.stream, &mut rest)?;
        Ok(rest)
    }
}

/// The next line without its end; `None` at the end of the answer.
fn line(stream: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim_end().to_owned()))
}
