//! The only place where time is read.
#![expect(clippy::disallowed_methods, reason = "this is where time enters")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time.
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds of Unix time, for people and for DNS cookies, whose age and whose secrets' turns go by the calendar that all
/// nodes share (RFC 9018 §4.3). It jumps when somebody sets the clock: that costs cookies, and nothing else is decided by it.
pub fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Milliseconds of Unix time, for people, as [`unix_s`].
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The moment as HTTP writes it (RFC 9110 §5.6.7).
pub fn http_date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

/// Milliseconds on the boot-time clock, which never goes back.
pub fn boot_ms() -> u64 {
    boot_ns() / 1_000_000
}

/// Nanoseconds on the boot-time clock (`CLOCK_BOOTTIME`).
///
/// # Panics
///
/// Never on Linux, which always has this clock.
pub fn boot_ns() -> u64 {
    nanoseconds(nix::time::ClockId::CLOCK_BOOTTIME)
}

/// Nanoseconds on the monotonic clock (`CLOCK_MONOTONIC`), the one of the queries that the kernel program shows: unlike the boot-time
/// clock it stands still while the machine sleeps.
///
/// # Panics
///
/// Never on Linux, which always has this clock.
pub fn monotonic_ns() -> u64 {
    nanoseconds(nix::time::ClockId::CLOCK_MONOTONIC)
}

/// Length of the kernel's tick in nanoseconds: its coarse clocks go on by as much.
///
/// # Panics
///
/// Never on Linux, which always has this clock.
pub fn tick_ns() -> u64 {
    let clock = nix::time::ClockId::CLOCK_MONOTONIC_COARSE;
    whole(nix::time::clock_getres(clock).expect("Linux always has this clock"))
}

fn nanoseconds(clock: nix::time::ClockId) -> u64 {
    whole(nix::time::clock_gettime(clock).expect("Linux always has this clock"))
}

fn whole(time: nix::sys::time::TimeSpec) -> u64 {
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds * 1_000_000_000 + nanos
}
