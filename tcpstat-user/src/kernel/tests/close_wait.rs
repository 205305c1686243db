//! The sockets in CLOSE_WAIT on the running kernel.

use std::{
    io::Read,
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{super::CloseWaitIterator, can_run};
use crate::clock;

/// When some socket was listed, and the time in ticks then.
fn listed(iterator: &mut CloseWaitIterator) -> (Instant, u64, Instant) {
    let (before, mut now) = (Instant::now(), None);
    iterator.each_socket(|socket| now = Some(socket.now)).unwrap();
    (before, now.unwrap(), Instant::now())
}

/// Longer than a reading takes, so that rates that kernels have differ.
const GAP: Duration = Duration::from_secs(1);

/// Ticks: a tick is whole, and a CPU can see it late.
const LATE: f64 = 5.0;

#[test]
fn the_kernels_clock_ticks_at_the_rate_that_its_resolution_gives() {
    let Some(_turn) = can_run() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut accepted, _) = listener.accept().unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(accepted.read(&mut [0]).unwrap(), 0);

    let rate = f64::from(clock::tick_rate().unwrap().0.get());
    let mut iterator = CloseWaitIterator::load().unwrap();
    let (first, from, _) = listed(&mut iterator);
    thread::sleep(GAP);
    let (_, to, last) = listed(&mut iterator);
    let most = (last - first).as_secs_f64() * rate + LATE;
    let least = GAP.as_secs_f64() * rate - LATE;
    let ticks = u32::try_from(to - from).unwrap();
    assert!((least..=most).contains(&f64::from(ticks)), "{ticks} in {least} to {most}");
}
