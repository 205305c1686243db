//! The current time. `ledger` and `history` get it as a value.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use nix::time::{ClockId, clock_getres, clock_gettime};

use crate::{ages::TickRate, history::Moment};

/// The current moment, by wall clock and by time since boot. Takes no system call: the vDSO has both clocks.
#[must_use]
pub fn now() -> Moment {
    // Every kernel since 2.6.39 has this clock.
    let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from);
    Moment { unix_ms: unix_ms(wall()), uptime_ms: milliseconds(uptime) }
}

/// The wall clock.
pub(crate) fn wall() -> SystemTime {
    #[cfg(feature = "lose-events")]
    return SystemTime::now() + stepped();
    #[cfg(not(feature = "lose-events"))]
    SystemTime::now()
}

/// How far the tests have set the wall clock forward: the seconds in the file that `TCPSTAT_CLOCK` names.
#[cfg(feature = "lose-events")]
fn stepped() -> Duration {
    let text =
        std::env::var_os("TCPSTAT_CLOCK").and_then(|path| std::fs::read_to_string(path).ok());
    text.and_then(|text| text.trim().parse().ok()).map_or(Duration::ZERO, Duration::from_secs)
}

/// CLOCK_MONOTONIC in nanoseconds: what `bpf_ktime_get_ns` returns.
pub(crate) fn kernel_nanoseconds() -> u64 {
    // Every kernel has this clock.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// How many nanoseconds the Unix time is ahead of [`kernel_nanoseconds`] now.
pub(crate) fn unix_ahead_of_kernel() -> u64 {
    let unix = wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX).saturating_sub(kernel_nanoseconds())
}

/// The CPU time that the calling thread has used. Takes a system call.
pub(crate) fn thread_cpu() -> Duration {
    // Every kernel since 2.6.12 has this clock.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// How often the kernel's clock in ticks (`jiffies`) ticks. `None` if the kernel does not say it.
///
/// The resolution of this clock is one tick (`KTIME_LOW_RES` is `TICK_NSEC`). `sysconf(_SC_CLK_TCK)` is 100 on every
/// kernel.
pub(crate) fn tick_rate() -> Option<TickRate> {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE).map(Duration::from).ok()?;
    let second = Duration::from_secs(1).as_nanos();
    let ticks = (second + tick.as_nanos() / 2).checked_div(tick.as_nanos())?;
    NonZeroU32::new(u32::try_from(ticks).ok()?).map(TickRate)
}

/// Milliseconds since the Unix epoch; 0 for a time before it.
#[must_use]
pub fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, milliseconds)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_never_goes_back() {
        let (first, second) = (now(), now());
        assert!(first.uptime_ms > 0 && second.uptime_ms >= first.uptime_ms, "{first:?} {second:?}");
    }

    #[test]
    fn the_cpu_time_of_a_thread_grows_while_it_works_and_not_while_another_works() {
        const WORK: Duration = Duration::from_millis(20);
        let before = thread_cpu();
        let other = std::thread::spawn(|| while thread_cpu() < WORK {});
        other.join().unwrap();
        let waited = thread_cpu().saturating_sub(before);
        assert!(waited < WORK, "{waited:?}");
    }

    #[test]
    fn a_time_before_the_epoch_is_0() {
        let time = |ms: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        assert_eq!(unix_ms(time(1500)), 1500);
        assert_eq!(unix_ms(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}
