//! How busy the machine was: all its cores, whoever had them.
//!
//! Busy is what is not idle. The kernel keeps idle time by its clock, to the microsecond, each time that a core falls idle or
//! wakes (`tick_nohz_stop_idle`, of every kernel with `CONFIG_NO_HZ`); user, system and softirq time it only samples, at
//! each tick, and a server that works in bursts of microseconds is then counted as what the tick happens to meet.

use std::fs;

use anyhow::{Context, Result};

use crate::clock::Stopwatch;

/// Length of a tick in `/proc/stat`, in microseconds (`USER_HZ` is 100; proc(5)).
const TICK_US: f64 = 10_000.0;
const STAT: &str = "/proc/stat";

/// A span of time, and how idle the machine was before it.
#[derive(Clone, Copy)]
pub(super) struct Watch {
    clock: Stopwatch,
    idle: Idle,
}

impl Watch {
    pub(super) fn start() -> Result<Self> {
        let idle = Idle::now()?;
        Ok(Self { clock: Stopwatch::start(), idle })
    }

    /// Microseconds of cores that were busy, and of time, since the start.
    pub(super) fn busy_and_elapsed_us(self) -> Result<(f64, f64)> {
        let idle = Idle::now()?;
        let elapsed_us = self.clock.elapsed().as_secs_f64() * 1e6;
        Ok((idle.busy_us(self.idle, elapsed_us), elapsed_us))
    }
}

/// What the cores did not work since the machine started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Idle {
    ticks: u64,
    cores: u32,
}

impl Idle {
    fn now() -> Result<Self> {
        let text = fs::read_to_string(STAT).with_context(|| format!("reading {STAT}"))?;
        parse(&text).with_context(|| format!("{STAT} is not as known"))
    }

    /// Microseconds of all cores' time since `earlier` that they were not idle.
    fn busy_us(self, earlier: Self, elapsed_us: f64) -> f64 {
        let ticks = self.ticks.saturating_sub(earlier.ticks);
        let idle_us = u32::try_from(ticks).map_or(f64::MAX, f64::from) * TICK_US;
        (elapsed_us * f64::from(self.cores) - idle_us).max(0.0)
    }
}

/// Lines `cpuN user nice system idle iowait irq softirq steal …`. Steal is the time of other machines on the same hardware.
fn parse(text: &str) -> Option<Idle> {
    let cores = text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    let mut sum = Idle { ticks: 0, cores: 0 };
    for core in cores {
        let values: Vec<u64> =
            core.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
        let [_user, _nice, _system, idle, iowait, _irq, _softirq, steal, ..] = values[..] else {
            return None;
        };
        sum = Idle { ticks: sum.ticks + idle + iowait + steal, cores: sum.cores + 1 };
    }
    (sum.cores > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cpu  110 22 33 1300 9 44 55 3 0 0\n\
        cpu0 100 20 30 500 5 40 50 1 0 0\n\
        cpu1 10 2 3 800 4 4 5 2 0 0\n\
        intr 1 2 3\n";

    #[test]
    fn idle_is_what_no_core_worked_for_this_machine() {
        assert_eq!(parse(TEXT), Some(Idle { ticks: 500 + 5 + 1 + 800 + 4 + 2, cores: 2 }));
        assert_eq!(parse("cpu0 1 2 3\n"), None);
        assert_eq!(parse("intr 1 2 3\n"), None);
    }

    #[test]
    fn what_is_not_idle_is_busy_and_a_tick_is_a_hundredth_of_a_second() {
        let (before, after) = (Idle { ticks: 100, cores: 2 }, Idle { ticks: 250, cores: 2 });
        assert!((after.busy_us(before, 1_000_000.0) - 500_000.0).abs() < f64::EPSILON);
        // Ticks are rounded: a wholly idle machine is not busy for less than no time.
        assert!(after.busy_us(before, 749_000.0).abs() < f64::EPSILON);
    }
}
