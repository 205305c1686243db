//! The server, with clients that read slowly or not at all.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    thread::{scope, sleep},
};

use axum::{
    Extension,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use socket2::{Domain, Socket, Type};
use tokio::runtime::{Builder, Runtime};

use super::{connections::LARGE_ANSWERS, *};

/// More than the buffers of both sockets hold.
const BODY_BYTES: usize = 2_000_000;
/// A slow client takes seconds to read the third of it after which the socket is writable again.
const SEND_BUFFER_BYTES: usize = 200_000;
const RECEIVE_BUFFER_BYTES: usize = 8192;

/// How long a client waits for a byte. It only bounds a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with `answers` slots on a free port of the loopback.
struct TestServer {
    address: SocketAddr,
    _runtime: Runtime,
    _stop: watch::Sender<bool>,
}

impl TestServer {
    fn start(answers: usize) -> Self {
        let body = || vec![b'x'; BODY_BYTES];
        let large = async move |Extension(connection): Extension<Arc<Connection>>| -> Response {
            match connection.become_large().await {
                Some(()) => body().into_response(),
                None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            }
        };
        let router =
            Router::new().route("/", get(async move || body())).route("/large", get(large));
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let socket = socket();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(128).unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let listener = {
            let _context = runtime.enter();
            TcpListener::from_std(socket.into()).unwrap()
        };
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(Server::new(router, answers, 1024).serve(vec![listener], stopped));
        Self { address, _runtime: runtime, _stop: stop }
    }

    fn send(&self, request: &str) -> Socket {
        let mut socket = socket();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.connect(&self.address.into()).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        socket
    }

    fn get(&self, path: &str) -> Socket {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: tcpstat\r\nConnection: close\r\n\r\n"))
    }
}

/// A socket with these buffers, which those that it accepts inherit.
fn socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_send_buffer_size(SEND_BUFFER_BYTES).unwrap();
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
    socket
}

/// The start of the answer, which begins with its status.
fn status(socket: &mut Socket) -> io::Result<Vec<u8>> {
    let mut start = vec![0; "HTTP/1.1 200".len()];
    socket.read_exact(&mut start)?;
    Ok(start)
}

/// The rest of the answer; between two reads, a pause while `slowly`.
fn rest(socket: &mut Socket, slowly: &AtomicBool) -> io::Result<usize> {
    let (mut buffer, mut bytes) = ([0; 4096], 0);
    loop {
        match socket.read(&mut buffer)? {
            0 => return Ok(bytes),
            read => bytes += read,
        }
        if slowly.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(30));
        }
    }
}

/// `answers` clients read `path` slowly, and others get 503. Then the slow ones get the rest.
fn slow_clients_get_whole_answers(server: &TestServer, path: &str, answers: usize) {
    let slowly = AtomicBool::new(true);
    scope(|threads| {
        let begin = |_| {
            let mut socket = server.get(path);
            assert_eq!(status(&mut socket).unwrap(), b"HTTP/1.1 200");
            socket
        };
        let slow: Vec<_> = (0..answers).map(begin).collect();
        let slow: Vec<_> = slow
            .into_iter()
            .map(|mut socket| {
                let slowly = &slowly;
                threads.spawn(move || rest(&mut socket, slowly))
            })
            .collect();
        let others: Vec<_> =
            (0..3).map(|_| threads.spawn(|| status(&mut server.get(path)))).collect();
        let others: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
        slowly.store(false, Ordering::Relaxed);
        for client in slow {
            let bytes = client.join().unwrap().expect("the whole answer");
            assert!(bytes > BODY_BYTES, "{bytes}");
        }
        for other in others {
            assert_eq!(other.unwrap(), b"HTTP/1.1 503");
        }
    });
}

#[test]
fn large_answers_above_the_limit_reset_none_that_is_read_slowly() {
    slow_clients_get_whole_answers(&TestServer::start(40), "/large", LARGE_ANSWERS);
}

#[test]
fn answers_above_the_limit_reset_none_that_is_read_slowly() {
    slow_clients_get_whole_answers(&TestServer::start(2), "/", 2);
}

#[test]
fn an_answer_that_is_not_read_is_ended_for_another_one() {
    for (path, answers, slots) in [("/", 2, 2), ("/large", LARGE_ANSWERS, 40)] {
        let server = TestServer::start(slots);
        let begin = |_| {
            let mut socket = server.get(path);
            assert_eq!(status(&mut socket).unwrap(), b"HTTP/1.1 200");
            socket
        };
        let held: Vec<_> = (0..answers).map(begin).collect();
        let read = AtomicBool::new(false);
        let mut other = server.get(path);
        assert_eq!(status(&mut other).unwrap(), b"HTTP/1.1 200", "{path}");
        assert!(rest(&mut other, &read).unwrap() > BODY_BYTES, "{path}");
        let ended = held.into_iter().map(|mut socket| rest(&mut socket, &read));
        assert_eq!(ended.filter(Result::is_err).count(), 1, "{path}");
    }
}

/// A connection that is closed with unread bytes is reset.
#[test]
fn a_request_with_a_body_that_nobody_reads_gets_a_whole_answer() {
    let server = TestServer::start(2);
    let body = "x".repeat(60_000);
    let length = body.len();
    let head = format!("GET / HTTP/1.1\r\nHost: tcpstat\r\nContent-Length: {length}\r\n\r\n");
    let mut socket = server.send(&head);
    let mut writer = socket.try_clone().unwrap();
    scope(|threads| {
        threads.spawn(move || {
            let _ = writer.write_all(body.as_bytes());
            let _ = writer.shutdown(Shutdown::Write);
        });
        assert_eq!(status(&mut socket).unwrap(), b"HTTP/1.1 200");
        let bytes = rest(&mut socket, &AtomicBool::new(false)).expect("the whole answer");
        assert!(bytes > BODY_BYTES, "{bytes}");
    });
}
