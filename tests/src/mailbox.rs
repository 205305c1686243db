//! A receiver of mail: the server that Alertmanager sends its messages to.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// An SMTP server that accepts every message. Its thread ends with the process.
#[derive(Debug)]
pub struct Mailbox {
    address: SocketAddr,
    messages: Receiver<Result<Message>>,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// The header fields, as they were sent.
    pub header: String,
    /// All parts, decoded from quoted-printable and from HTML's character references.
    pub body: String,
}

impl Mailbox {
    /// Listens on a free port of the loopback interface.
    ///
    /// # Errors
    /// Fails if it cannot listen.
    pub fn listen() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (sender, messages) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let message = stream.map_err(Into::into).and_then(receive);
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, messages })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// Fails if there is none within `deadline`, and if its session broke off.
    pub fn next(&self, deadline: Duration) -> Result<Message> {
        self.messages.recv_timeout(deadline).context("no message")?
    }

    /// The messages that it has received and nobody has waited for.
    ///
    /// # Errors
    /// Fails if a session broke off.
    pub fn rest(&self) -> Result<Vec<Message>> {
        self.messages.try_iter().collect()
    }
}

/// Follows one session to the end of its message.
fn receive(mut stream: TcpStream) -> Result<Message> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"220 mailbox\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        let is_data = line.eq_ignore_ascii_case("DATA");
        stream.write_all(if is_data { b"354 send it\r\n" } else { b"250 ok\r\n" })?;
        if is_data {
            let sent = lines.by_ref().map_while(Result::ok).take_while(|line| line != ".");
            // A dot at the beginning of a line is sent twice.
            let message: Vec<_> =
                sent.map(|line| line.strip_prefix('.').unwrap_or(&line).to_owned()).collect();
            stream.write_all(b"250 ok\r\n")?;
            // QUIT, or the end of the connection.
            if lines.next().is_some_and(|line| line.is_ok()) {
                stream.write_all(b"221 bye\r\n")?;
            }
            let text = message.join("\n");
            let (header, body) = text.split_once("\n\n").context("a message without a body")?;
            return Ok(Message { header: header.to_owned(), body: decode(body)? });
        }
    }
    bail!("the session ended without a message")
}

fn decode(body: &str) -> Result<String> {
    let joined = body.replace("=\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_str();
    while let Some((before, after)) = rest.split_once('=') {
        bytes.extend(before.as_bytes());
        let code = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(b'='));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    bytes.extend(rest.as_bytes());
    let references =
        [("&#34;", "\""), ("&#39;", "'"), ("&#43;", "+"), ("&lt;", "<"), ("&gt;", ">")];
    let mut text = String::from_utf8(bytes)?;
    for (reference, character) in references {
        text = text.replace(reference, character);
    }
    Ok(text.replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_decoded() {
        assert_eq!(decode("a=3Db =\nc &#34;d&#34; = &amp;lt;").unwrap(), "a=b c \"d\" = &lt;");
    }
}
