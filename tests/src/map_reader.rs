//! A thread that reads a BPF map repeatedly. Meanwhile the kernel runs no program of a classic tracepoint on that
//! processor, and counts the skipped events (`trace_call_bpf`, since 6.7).

#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper here")]

use std::io::Error;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};

use crate::bpf_call;
use crate::receive_processor::run_on;
use anyhow::{Context, Result};

/// The thread reads until this is dropped.
#[derive(Debug)]
pub struct MapReader {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Copying this takes long enough to be interrupted.
const VALUE_BYTES: u32 = 1 << 20;

// include/uapi/linux/bpf.h
const BPF_MAP_CREATE: i32 = 0;
const BPF_MAP_LOOKUP_ELEM: i32 = 1;
const BPF_MAP_TYPE_ARRAY: u32 = 2;

/// `union bpf_attr` for `BPF_MAP_CREATE`, only the fields in use.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// `union bpf_attr` for `BPF_MAP_LOOKUP_ELEM`.
#[repr(C)]
struct Lookup {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl MapReader {
    /// Starts it on processor `cpu`.
    ///
    /// # Errors
    /// Fails if bpf(2) is refused, and if there is no such processor.
    pub fn start(cpu: usize) -> Result<Self> {
        let map = create_map().context("BPF_MAP_CREATE")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (report, reported) = channel();
        let thread = thread::spawn(move || {
            let done = run_on(cpu);
            let reads = done.is_ok();
            // The receiver waits for this.
            let _ = report.send(done);
            let mut value = vec![0; VALUE_BYTES as usize];
            while reads && !stopped.load(Ordering::Relaxed) {
                lookup(&map, &mut value);
            }
        });
        reported.recv().context("the thread ended early")??;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for MapReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the thread that reads a map panicked");
        }
    }
}

fn create_map() -> Result<OwnedFd, Error> {
    let attr = Create {
        map_type: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: VALUE_BYTES,
        max_entries: 1,
    };
    // SAFETY: the attributes are those of the command.
    unsafe { bpf_call::open(BPF_MAP_CREATE, &attr) }
}

fn lookup(map: &OwnedFd, value: &mut [u8]) {
    let key = 0_u32;
    let attr = Lookup {
        map_fd: map.as_raw_fd().unsigned_abs(),
        padding: 0,
        key: (&raw const key) as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // A lookup that fails is repeated.
    // SAFETY: key and value are as large as the map's, and outlive the call.
    let _ = unsafe { bpf_call::call(BPF_MAP_LOOKUP_ELEM, &attr) };
}
