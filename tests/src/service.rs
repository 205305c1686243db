//! A small service, and its clients. It reads each connection to its end and closes it, except if the client asks for
//! the defect: then it forgets to close, and the socket stays in CLOSE_WAIT.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

use crate::deadline::DEADLINE;
use crate::netns::within;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The service closes the connection after its client.
    Close,
    /// The service keeps the connection after its client has closed it.
    Leak,
}

impl Request {
    fn word(self) -> &'static [u8] {
        match self {
            Self::Close => b"close",
            Self::Leak => b"leak",
        }
    }

    fn send(self, port: u16) -> Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("connect to the service on port {port}"))?;
        stream.write_all(self.word())?;
        if self == Self::Close {
            stream.shutdown(Shutdown::Write)?;
            stream.set_read_timeout(Some(DEADLINE))?;
            ensure!(stream.read(&mut [0])? == 0, "port {port} answers");
        }
        Ok(())
    }
}

/// Serves on a thread that ends with the process.
pub(crate) fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    thread::spawn(move || {
        let mut leaked = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut word = Vec::new();
            if stream.read_to_end(&mut word).is_ok() && word == Request::Leak.word() {
                leaked.push(stream);
            }
        }
    });
    Ok(())
}

/// A thread that makes one request after the other.
#[derive(Debug)]
pub struct Clients {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<Result<u64>>>,
}

impl Clients {
    /// Begins with requests to that port, in the network namespace of the calling thread or of an open file, with
    /// `pause` between two of them.
    #[must_use]
    pub fn start(request: Request, port: u16, namespace: Option<File>, pause: Duration) -> Self {
        let (stop, stopped) = channel();
        let work = move || repeat(request, port, pause, &stopped);
        let thread = thread::spawn(move || match namespace {
            Some(file) => within(&file, work),
            None => work(),
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }

    /// Ends it, and returns how many requests it has made.
    ///
    /// # Errors
    /// Fails with the error of a request.
    pub fn end(mut self) -> Result<u64> {
        self.join()
    }

    fn join(&mut self) -> Result<u64> {
        self.stop.take();
        let thread = self.thread.take().context("it has ended")?;
        thread.join().map_err(|_| anyhow!("a client panicked"))?
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        if self.thread.is_some()
            && let Err(error) = self.join()
        {
            eprintln!("a client ended early: {error:#}");
        }
    }
}

fn repeat(request: Request, port: u16, pause: Duration, stopped: &Receiver<()>) -> Result<u64> {
    let mut made = 0;
    loop {
        request.send(port)?;
        made += 1;
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return Ok(made);
        }
    }
}
