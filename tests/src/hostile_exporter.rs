//! An HTTP server that answers as it likes: for clients that trust nobody.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Bytes that one connection gets at most, whatever it takes.
const MOST: usize = 128 << 20;

/// How long one connection is answered at most.
const LONGEST: Duration = Duration::from_secs(20);

/// A request's path and header fields, as they came.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// The lines after the first.
    pub fields: Vec<String>,
}

/// A server on a port of its own of the loopback, in the network namespace of the thread that started it.
#[derive(Debug)]
pub struct Hostile {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Hostile {
    /// Answers every connection's first request by `answer`, and closes it then. It goes on until the
    /// process ends.
    ///
    /// # Errors
    /// Fails when there is no loopback.
    pub fn start(answer: fn(&str, &mut Answer) -> std::io::Result<()>) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let server = Self { address: listener.local_addr()?, asked: Arc::default() };
        let asked = Arc::clone(&server.asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = Arc::clone(&asked);
                thread::spawn(move || {
                    let Ok(request) = read(&stream) else { return };
                    asked.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                    let until = Instant::now() + LONGEST;
                    // It fails when the client has had enough.
                    let _ = answer(&request.path, &mut Answer { stream, left: MOST, until });
                });
            }
        });
        Ok(server)
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it has been asked for so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read(stream: &TcpStream) -> Result<Asked> {
    stream.set_read_timeout(Some(LONGEST))?;
    stream.set_write_timeout(Some(LONGEST))?;
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let mut lines = lines.take_while(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    Ok(Asked { path, fields: lines.collect() })
}

/// What a client gets.
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
    /// Fails when the client has gone, or has had as much as a test may take.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let bytes = bytes.as_ref();
        self.left = self.left.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::Other)?;
        if Instant::now() > self.until {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        self.stream.write_all(bytes)
    }

    /// A whole answer.
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

    /// The beginning of a body that ends with the connection.
    ///
    /// # Errors
    /// As [`Answer::send`].
    pub fn begin(&mut self, kind: &str) -> std::io::Result<()> {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"))
    }

    /// Sends `bytes` again and again.
    ///
    /// # Errors
    /// Always, in the end, as [`Answer::send`].
    pub fn for_ever(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        loop {
            self.send(bytes.as_ref())?;
        }
    }
}
