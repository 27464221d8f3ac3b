//! A bucket of turns that fills with time. Pure.

use std::time::{Duration, Instant};

use autoradio_common::limits::{HTTP_DIRECT_CHECKS_BURST, HTTP_DIRECT_CHECKS_PER_S};

/// Time in which one turn comes back.
const TURN: Duration = Duration::from_millis(1_000 / HTTP_DIRECT_CHECKS_PER_S as u64);

/// Turns for checks that strangers ask for: so many at once, and so many a second.
#[derive(Debug)]
pub(super) struct Bucket {
    /// When the bucket will be full again, or was.
    full_at: Instant,
}

impl Bucket {
    /// One with all its turns.
    pub(super) fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Takes a turn, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + TURN;
        let left = full_at - now <= TURN * HTTP_DIRECT_CHECKS_BURST;
        if left {
            self.full_at = full_at;
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_burst_is_allowed_and_after_it_what_comes_back_each_second() {
        let start = clock::now();
        let mut bucket = Bucket::full(start);
        let taken = |bucket: &mut Bucket, at: Duration| {
            (0..100).filter(|_| bucket.take(start + at)).count() as u32
        };
        assert_eq!(taken(&mut bucket, Duration::ZERO), HTTP_DIRECT_CHECKS_BURST);
        assert_eq!(taken(&mut bucket, Duration::from_secs(1)), HTTP_DIRECT_CHECKS_PER_S);
        assert_eq!(taken(&mut bucket, Duration::from_secs(3_600)), HTTP_DIRECT_CHECKS_BURST);
    }
}
