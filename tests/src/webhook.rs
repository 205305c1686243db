//! A receiver of alerts: the webhook that Alertmanager sends them to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// An HTTP server that accepts every POST of JSON. Its thread ends with the process.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    bodies: Receiver<Result<Value>>,
}

impl Webhook {
    /// Listens on a free port of the loopback interface.
    ///
    /// # Errors
    /// Fails if it cannot listen.
    pub fn listen() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (sender, bodies) = channel();
        thread::spawn(move || serve(&listener, &sender));
        Ok(Self { address, bodies })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a body that `wanted` accepts; ignores the others.
    ///
    /// # Errors
    /// Fails if there is none within `deadline`, with the bodies received.
    pub fn await_body(
        &self,
        deadline: Duration,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Result<Value> {
        let end = Instant::now() + deadline;
        let mut others = Vec::new();
        while let Ok(body) = self.bodies.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            let body = body?;
            if wanted(&body) {
                return Ok(body);
            }
            others.push(body.to_string());
        }
        bail!("the webhook received no such body within {deadline:?}, but {others:#?}")
    }

    /// The bodies that it has received and nobody has waited for.
    ///
    /// # Errors
    /// Fails if a request was none of JSON.
    pub fn rest(&self) -> Result<Vec<Value>> {
        self.bodies.try_iter().collect()
    }
}

fn serve(listener: &TcpListener, sender: &Sender<Result<Value>>) {
    for stream in listener.incoming() {
        let body = stream.map_err(Into::into).and_then(answer);
        if sender.send(body).is_err() {
            return;
        }
    }
}

/// Reads one request and answers it with 200.
fn answer(mut stream: TcpStream) -> Result<Value> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().context("content-length")?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(serde_json::from_slice(&body)?)
}
