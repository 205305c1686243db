//! An HTTP/1.1 client on one kept-alive connection, so that a scrape makes no new socket.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use crate::deadline::DEADLINE;
use crate::exposition::Scrape;

/// One connection to a server, until the server ends it.
///
/// Every read and write ends after [`DEADLINE`] with an error.
#[derive(Debug)]
pub struct Scraper {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
    closed: bool,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields, names in lower case; of a repeated one the last.
    pub headers: BTreeMap<String, String>,
    /// Body, without the chunk encoding.
    pub body: String,
}

/// Status, header fields and body of an answer; the body may be compressed.
pub type RawResponse = (u16, BTreeMap<String, String>, Vec<u8>);

impl Response {
    /// The header field of that name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A connection to `address` from `source`, an address of this host or the unspecified one.
///
/// # Errors
/// Fails if no server listens there within [`DEADLINE`], and if `source` is not an address of this host.
pub fn connect_from(source: IpAddr, address: SocketAddr) -> Result<TcpStream> {
    let connect = || -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if !source.is_unspecified() {
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        socket.connect_timeout(&address.into(), DEADLINE)?;
        Ok(socket.into())
    };
    connect().with_context(|| format!("connect from {source} to {address}"))
}

impl Scraper {
    /// Connects.
    ///
    /// # Errors
    /// Fails if no server listens there.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let any = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self::connect_from(any, address)
    }

    /// Connects from `source`, an address of this host.
    ///
    /// # Errors
    /// As [`Scraper::connect`], and if `source` is not an address of this host.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Result<Self> {
        let stream = connect_from(source, address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), address, closed: false })
    }

    /// Waits up to `limit` for each part of an answer.
    ///
    /// # Errors
    /// Fails if the limit is zero.
    pub fn set_patience(&self, limit: Duration) -> Result<()> {
        Ok(self.stream.get_ref().set_read_timeout(Some(limit))?)
    }

    /// `GET path`.
    ///
    /// # Errors
    /// Fails if the server has closed the connection, or does not answer in HTTP/1.1. An answer of any status is
    /// not an error.
    pub fn get(&mut self, path: &str) -> Result<Response> {
        self.request("GET", path, &[])
    }

    /// `GET path` with an `Accept` header.
    ///
    /// # Errors
    /// As [`Scraper::get`].
    pub fn get_as(&mut self, path: &str, accept: &str) -> Result<Response> {
        self.request("GET", path, &[("Accept", accept)])
    }

    /// Any request without a body.
    ///
    /// # Errors
    /// As [`Scraper::get`].
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response> {
        let (status, headers, body) = self.raw_request(method, path, headers)?;
        Ok(Response { status, headers, body: String::from_utf8(body)? })
    }

    /// As [`Scraper::request`], for a body that may not be text.
    ///
    /// # Errors
    /// As [`Scraper::get`].
    pub fn raw_request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<RawResponse> {
        ensure!(!self.closed, "{} has closed the connection", self.address);
        let request = self.head(method, path, headers);
        self.stream.get_mut().write_all(request.as_bytes())?;
        self.response(method).with_context(|| format!("{method} http://{}{path}", self.address))
    }

    /// Length in bytes of the request that [`Scraper::get`] sends for `path`.
    #[must_use]
    pub fn request_length(&self, path: &str) -> usize {
        self.head("GET", path, &[]).len()
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            request.extend([*name, ": ", *value, "\r\n"]);
        }
        request.push_str("\r\n");
        request
    }

    /// `GET /metrics`, which must be answered with 200 and parse.
    ///
    /// # Errors
    /// As [`Scraper::get`] and [`Scrape::parse`].
    pub fn scrape(&mut self) -> Result<Scrape> {
        self.scrape_path("/metrics")
    }

    /// The same of the groups that `path` asks for.
    ///
    /// # Errors
    /// As [`Scraper::scrape`].
    pub fn scrape_path(&mut self, path: &str) -> Result<Scrape> {
        let response = self.get(path)?;
        ensure!(response.status == 200, "{path}: {} {}", response.status, response.body);
        Scrape::parse(&response.body)
    }

    fn response(&mut self, method: &str) -> Result<RawResponse> {
        let line = self.line()?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.split(' ').next());
        let status: u16 = status.with_context(|| format!("status line {line:?}"))?.parse()?;
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').with_context(|| format!("header {line:?}"))?;
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let header = |name: &str| headers.get(name).map(|value| value.to_ascii_lowercase());
        self.closed = header("connection").as_deref() == Some("close");
        let body = if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            Vec::new()
        } else if let Some(coding) = header("transfer-encoding") {
            ensure!(coding == "chunked", "transfer coding {coding}");
            self.chunks()?
        } else if let Some(length) = header("content-length") {
            self.bytes(length.parse().context("content-length")?)?
        } else {
            self.closed = true;
            let mut body = Vec::new();
            self.stream.read_to_end(&mut body)?;
            body
        };
        Ok((status, headers, body))
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            // Extensions follow a semicolon.
            let size = line.split(';').next().unwrap_or_default().trim();
            let size =
                usize::from_str_radix(size, 16).with_context(|| format!("chunk {line:?}"))?;
            if size == 0 {
                // Trailer fields end with an empty line.
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.bytes(size)?);
            ensure!(self.line()?.is_empty(), "a chunk is longer than its size");
        }
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// A line without its end.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix('\n') {
            Some(line) => Ok(line.strip_suffix('\r').unwrap_or(line).to_owned()),
            None => bail!("the server ended the connection after {line:?}"),
        }
    }
}
