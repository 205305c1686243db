//! An HTTP server with invalid or endless answers, to test clients that must not trust a server.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Limit of the bytes for one connection.
const MAX_BYTES: usize = 128 << 20;

/// Limit of the duration of one connection.
const MAX_DURATION: Duration = Duration::from_secs(20);

/// The path and the header fields of a request.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The path.
    pub path: String,
    /// The lines after the first.
    pub fields: Vec<String>,
}

/// A server on a free port of the loopback, in the network namespace of the thread that started it.
#[derive(Debug)]
pub struct Hostile {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Hostile {
    /// Answers the first request of every connection with `answer`, then closes the connection. The server
    /// runs until the process ends.
    ///
    /// # Errors
    /// Fails if it cannot listen on the loopback.
    pub fn start(answer: fn(&str, &mut Answer) -> std::io::Result<()>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let server = Self { address: listener.local_addr()?, requests: Arc::default() };
        let requests = Arc::clone(&server.requests);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let requests = Arc::clone(&requests);
                thread::spawn(move || {
                    let Ok(request) = read(&stream) else { return };
                    requests.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                    let until = Instant::now() + MAX_DURATION;
                    // It fails when the client closes the connection.
                    let _ = answer(&request.path, &mut Answer { stream, left: MAX_BYTES, until });
                });
            }
        });
        Ok(server)
    }

    /// Its address, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(stream: &TcpStream) -> Result<Request> {
    stream.set_read_timeout(Some(MAX_DURATION))?;
    stream.set_write_timeout(Some(MAX_DURATION))?;
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut lines = lines.take_while(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Request { path, fields: lines.collect() })
}

/// The answer to a client.
#[derive(Debug)]
pub struct Answer {
    stream: TcpStream,
    left: usize,
    until: Instant,
}

impl Answer {
    /// Sends `bytes`.
    ///
    /// # Errors
    /// Fails if the client has closed the connection, or after the limits of one connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let bytes = bytes.as_ref();
        self.left = self.left.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::Other)?;
        if Instant::now() > self.until {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.stream.write_all(bytes)
    }

    /// Sends a complete answer.
    ///
    /// # Errors
    /// As [`Answer::send`].
    pub fn whole(&mut self, status: &str, kind: &str, body: &str) -> std::io::Result<()> {
        let length = body.len();
        self.send(format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{body}"
        ))
    }

    /// Sends the head of an answer whose body ends with the connection.
    ///
    /// # Errors
    /// As [`Answer::send`].
    pub fn begin(&mut self, kind: &str) -> std::io::Result<()> {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"))
    }

    /// Sends `bytes` again and again.
    ///
    /// # Errors
    /// Always, as [`Answer::send`].
    pub fn repeat(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        loop {
            self.send(bytes.as_ref())?;
        }
    }
}
