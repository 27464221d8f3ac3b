//! What the machine spent, without the load generator.
//!
//! The generator has a core to itself. What that core does as a user and in system calls is the
//! generator's; what it does in interrupts is the arrival of packets at either end, which on a veth
//! is done by the core that sends. That, and all that the other cores do, counts.

use std::fs;

use anyhow::{Context, Result};

/// Length of a tick in `/proc/stat`, in microseconds (`USER_HZ` is 100; proc(5)).
const TICK_US: f64 = 10_000.0;
const STAT: &str = "/proc/stat";

/// What the machine has spent since it started, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spent {
    ticks: u64,
}

impl Spent {
    /// Until now, without what `generator_core` does for programs.
    pub(super) fn now(generator_core: usize) -> Result<Self> {
        let text = fs::read_to_string(STAT).with_context(|| format!("reading {STAT}"))?;
        parse(&text, generator_core).with_context(|| format!("{STAT} is not as known"))
    }

    /// Microseconds since an earlier look.
    pub(super) fn us_since(self, earlier: Self) -> f64 {
        u32::try_from(self.ticks.saturating_sub(earlier.ticks)).map_or(f64::MAX, f64::from)
            * TICK_US
    }
}

/// Lines `cpuN user nice system idle iowait irq softirq …`.
fn parse(text: &str, generator_core: usize) -> Option<Spent> {
    let generator = format!("cpu{generator_core}");
    let cores = text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    let mut ticks = 0;
    let mut found = false;
    for core in cores {
        let mut words = core.split_whitespace();
        let is_generator = words.next()? == generator;
        found |= is_generator;
        let values: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, _idle, _iowait, irq, softirq, ..] = values[..] else {
            return None;
        };
        ticks += irq + softirq + if is_generator { 0 } else { user + nice + system };
    }
    found.then_some(Spent { ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "cpu  110 22 33 1000 9 44 55 0 0 0\n\
        cpu0 100 20 30 500 5 40 50 0 0 0\n\
        cpu1 10 2 3 500 4 4 5 0 0 0\n\
        intr 1 2 3\n";

    #[test]
    fn the_generators_core_counts_with_its_interrupts_only() {
        assert_eq!(parse(TEXT, 0), Some(Spent { ticks: 40 + 50 + 10 + 2 + 3 + 4 + 5 }));
        assert_eq!(parse(TEXT, 1), Some(Spent { ticks: 4 + 5 + 100 + 20 + 30 + 40 + 50 }));
    }

    #[test]
    fn a_core_that_is_not_there_is_no_generators() {
        assert_eq!(parse(TEXT, 2), None);
        assert_eq!(parse("cpu0 1 2 3\n", 0), None);
    }

    #[test]
    fn a_tick_is_a_hundredth_of_a_second() {
        let (before, after) = (Spent { ticks: 100 }, Spent { ticks: 250 });
        assert!((after.us_since(before) - 1_500_000.0).abs() < f64::EPSILON);
    }
}
