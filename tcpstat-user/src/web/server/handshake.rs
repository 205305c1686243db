//! TLS handshakes. Each is a connection, so their number is bounded; and each has the time of a request.

use std::{io, sync::Arc};

use rustls::ServerConfig;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::info;

use super::{Client, Connection, log_limit::LogLimit, monitored_stream::MonitoredStream};
use crate::web::tls;

/// The answer to a client that does not speak TLS.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Connection: close\r\n\r\nthis port serves HTTPS: use https:// in the address\n";

/// Handshakes of all connections.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    failures: LogLimit,
}

impl Handshakes {
    /// Performs the handshake on `stream`; `None` if it fails, which ends the connection.
    pub(super) async fn perform(
        &self,
        stream: MonitoredStream,
        connection: &Connection,
        config: Arc<ServerConfig>,
    ) -> Option<TlsStream<MonitoredStream>> {
        connection.activity.handshake_began();
        let first = stream.first_byte().await.ok().flatten()?;
        // A record of TLS begins with a control character, a request with the name of its method.
        if first.is_ascii_alphabetic() {
            stream.try_answer(NOT_TLS);
            return None;
        }
        match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => {
                connection.activity.handshake_done();
                Some(stream)
            }
            Err(cause) => {
                self.report(&cause, connection.client);
                None
            }
        }
    }

    /// Not the end of a connection: a health check opens one and closes it.
    fn report(&self, cause: &io::Error, client: Client) {
        let is_end = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        if !is_end.contains(&cause.kind())
            && let Some(times) = self.failures.count()
        {
            info!(times, %client, "a TLS handshake failed: {}", reason(cause));
        }
    }
}

fn reason(cause: &io::Error) -> String {
    let error = cause.get_ref().and_then(|error| error.downcast_ref());
    error.map_or_else(|| cause.to_string(), tls::in_words)
}
