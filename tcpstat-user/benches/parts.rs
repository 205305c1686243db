//! The time of the parts of a snapshot and of a scrape: `cargo bench --package tcpstat-user`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tcpstat_user::{kernel::CountersReplica, metrics::Format};

mod workloads;
use workloads::{
    Table, connections, expose, rewind_by_address, rewind_by_tuple, values, values_with_scopes,
};

const ROWS: u16 = 10_000;

fn snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    let table = Table::with_rows(ROWS.into());
    group.bench_function("read and parse", |bencher| bencher.iter(|| table.list()));
    group.bench_function("rewind by tuple", |bencher| bencher.iter(|| rewind_by_tuple(ROWS)));
    group.bench_function("rewind by address", |bencher| bencher.iter(|| rewind_by_address(ROWS)));
    group.finish();
}

fn scrape(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scrape");
    group.bench_function("ledger", |bencher| bencher.iter(connections));
    for (name, format) in [("classic", Format::Classic), ("openmetrics", Format::OpenMetrics)] {
        group.bench_function(name, |bencher| {
            bencher.iter_batched(values, |values| expose(values, format), BatchSize::SmallInput);
        });
        group.bench_function(format!("{name} with 300 scopes"), |bencher| {
            let expose = |values| expose(values, format);
            bencher.iter_batched(values_with_scopes, expose, BatchSize::SmallInput);
        });
    }
    group.finish();
}

/// Reads the counters of slots, right after another reading, and after other memory has replaced them in the caches.
fn counters(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("counters");
    let mut other_memory = vec![0_u8; 64 << 20];
    for (cpus, slots) in [(2, 1), (256, 1), (2, 256), (256, 256)] {
        let counters = CountersReplica::new(slots, cpus).expect("enough memory");
        let read = || {
            for transitions in counters.read() {
                black_box(transitions);
            }
        };
        let name = format!("{slots} slots of {cpus} CPUs");
        group.bench_function(&name, |bencher| bencher.iter(read));
        group.bench_function(format!("{name}, not in the caches"), |bencher| {
            let evict = || other_memory.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            bencher.iter_batched(evict, |()| read(), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(parts, snapshot, scrape, counters);
criterion_main!(parts);
