//! When a child that ended is started again. Pure.

use std::time::Duration;

/// Wait before the first restart.
const WAIT_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two starts.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A child that stayed up this long is well: its next end counts as the first one.
const UPTIME_WELL: Duration = Duration::from_secs(10);

/// Doubles the wait from 100 ms to 5 s for as long as the child keeps ending early.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    ends_in_a_row: u32,
}

impl Backoff {
    /// Wait before the next start, given how long the last one stayed up: `100 ms..=5 s`.
    pub fn wait_after(&mut self, uptime: Duration) -> Duration {
        if uptime >= UPTIME_WELL {
            self.ends_in_a_row = 0;
        }
        let doublings = self.ends_in_a_row.min(16);
        self.ends_in_a_row = self.ends_in_a_row.saturating_add(1);
        (WAIT_FIRST * 2_u32.pow(doublings)).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_starts_over_after_a_good_run() {
        let mut backoff = Backoff::default();
        for (why, uptime_ms, want_ms) in [
            ("first end comes back at once", 30_000, 100),
            ("second early end", 50, 200),
            ("third", 50, 400),
            ("fourth", 50, 800),
            ("fifth", 50, 1_600),
            ("sixth", 50, 3_200),
            ("capped", 50, 5_000),
            ("stays capped", 9_999, 5_000),
            ("ten seconds of work forgive everything", 10_000, 100),
            ("and it counts anew", 0, 200),
        ] {
            let wait = backoff.wait_after(Duration::from_millis(uptime_ms));
            assert_eq!(wait, Duration::from_millis(want_ms), "{why}");
        }
    }

    #[test]
    fn a_child_that_never_stays_up_overflows_nothing() {
        let mut backoff = Backoff { ends_in_a_row: u32::MAX };
        assert_eq!(backoff.wait_after(Duration::ZERO), WAIT_MAX);
        assert_eq!(backoff.wait_after(Duration::ZERO), WAIT_MAX);
    }
}
