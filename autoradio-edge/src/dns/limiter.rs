//! Response-rate limiting without locks: the buckets of client prefixes in a table of fixed size. Pure.
//!
//! The rule is that of the kernel's table ([`autoradio_common::rate`]), here for threads: where they meet, a client may get
//! a few answers too many, and one cost of another's at most.

use std::sync::atomic::{AtomicU64, Ordering};

use autoradio_common::limits::DNS_LIMITER_CELLS;
use autoradio_common::rate::{Bucket, RATE_WAYS, Rate, RateLimit, owner, set_index};

/// One bucket.
#[derive(Debug, Default)]
struct Cell {
    /// As in [`RateCell`](autoradio_common::rate::RateCell).
    owner: AtomicU64,
    /// As in [`Bucket`].
    paid_until_ns: AtomicU64,
    /// As in [`Bucket`].
    limited: AtomicU64,
}

/// The table.
#[derive(Debug)]
pub(super) struct Limiter {
    cells: Box<[Cell]>,
    secret: u64,
}

impl Limiter {
    /// An empty table; `secret` is random.
    pub(super) fn new(secret: u64) -> Self {
        let cells = (0..DNS_LIMITER_CELLS).map(|_| Cell::default()).collect();
        Self { cells, secret }
    }

    /// Takes one answer out of the bucket of `prefix`; `now_ns` is of any clock that never goes back.
    pub(super) fn take(&self, prefix: u64, limit: &RateLimit, now_ns: u64) -> Rate {
        let set = self.set(prefix);
        let owner = owner(prefix);
        let own = set.iter().find(|cell| cell.owner.load(Ordering::Acquire) == owner);
        let cell = own.unwrap_or_else(|| Cell::taken_over(set, owner));
        cell.take(owner, limit, now_ns)
    }

    fn set(&self, prefix: u64) -> &[Cell] {
        let first = set_index(prefix, self.secret, DNS_LIMITER_CELLS / RATE_WAYS) * RATE_WAYS;
        &self.cells[first..first + RATE_WAYS]
    }
}

impl Cell {
    /// The cell that owes least, with an empty bill in the name of `owner`. The name comes last: who finds it finds the
    /// bill empty.
    fn taken_over(set: &[Self], owner: u64) -> &Self {
        let mut least = &set[0];
        for cell in &set[1..] {
            if cell.owes_until() < least.owes_until() {
                least = cell;
            }
        }
        least.paid_until_ns.store(0, Ordering::Relaxed);
        least.owner.store(owner, Ordering::Release);
        least
    }

    fn owes_until(&self) -> u64 {
        self.paid_until_ns.load(Ordering::Relaxed)
    }

    fn take(&self, owner: u64, limit: &RateLimit, now_ns: u64) -> Rate {
        let mut before = self.owes_until();
        loop {
            let mut bucket = Bucket { paid_until_ns: before, limited: 0 };
            if bucket.take(limit, now_ns) != Rate::Answer {
                let limited = self.limited.fetch_add(1, Ordering::Relaxed);
                return Bucket { paid_until_ns: before, limited }.take(limit, now_ns);
            }
            let after = bucket.paid_until_ns;
            let (order, cell) = (Ordering::Relaxed, &self.paid_until_ns);
            match cell.compare_exchange_weak(before, after, order, order) {
                Ok(_) => return Rate::Answer,
                Err(now) => before = now,
            }
            if self.owner.load(Ordering::Acquire) != owner {
                return Rate::Answer; // Another prefix has taken the cell: its bill is not ours.
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoradio_common::rate::RateSet;
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn a_prefix_gets_its_rate_whatever_others_do() {
        let (limiter, limit) = (Limiter::new(7), RateLimit::per_second(10, 2));
        let mut counts = [0; 3];
        for _ in 0..30 {
            counts[limiter.take(1, &limit, S) as usize] += 1;
        }
        assert_eq!(counts, [10, 10, 10], "answered, slipped, dropped");
        assert_eq!(limiter.take(2, &limit, S), Rate::Answer, "another prefix");
        assert_eq!(limiter.take(1, &limit, 2 * S), Rate::Answer, "a second on");
    }

    #[test]
    fn a_prefix_over_its_limit_is_not_forgotten_for_others_that_owe_less() {
        let (limiter, limit) = (Limiter::new(7), RateLimit::per_second(1, 0));
        assert_eq!(limiter.take(1, &limit, S), Rate::Answer);
        // As many as there are cells: each set takes in four times as many as it has room for besides.
        for prefix in 0..DNS_LIMITER_CELLS as u64 {
            limiter.take(prefix << 20 | 1 << 19, &limit, S - 1);
        }
        assert_eq!(limiter.take(1, &limit, S), Rate::Drop);
    }

    #[test]
    fn a_newcomer_starts_with_a_full_bucket_where_all_cells_are_taken() {
        let (limiter, limit) = (Limiter::new(7), RateLimit::per_second(1, 0));
        for prefix in 0..8 * DNS_LIMITER_CELLS as u64 {
            assert_eq!(limiter.take(prefix, &limit, S), Rate::Answer, "{prefix}");
        }
    }

    #[test]
    fn threads_together_give_no_more_than_the_limit() {
        let (limiter, limit) = (Limiter::new(7), RateLimit::per_second(1_000, 0));
        let answered = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let answers = |_: &u32| limiter.take(9, &limit, S) == Rate::Answer;
                    let given = (0..2_000).filter(answers).count() as u64;
                    answered.fetch_add(given, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(answered.into_inner(), 1_000);
    }

    proptest! {
        #[test]
        fn any_prefixes_are_judged_as_by_the_kernels_sets(
            steps in prop::collection::vec((0u64..40_000_000, 0u64..40), 1..400),
            rate in 1u32..20,
            slip in 0u32..4,
        ) {
            let (limiter, limit) = (Limiter::new(3), RateLimit::per_second(rate, slip));
            let sets = DNS_LIMITER_CELLS / RATE_WAYS;
            let (mut kernel, mut now_ns) = (vec![RateSet::default(); sets], S);
            // Some that share sets.
            let crowd: Vec<u64> = (0..).filter(|it| set_index(*it, 3, sets) < 4).take(40).collect();
            for (step_ns, number) in steps {
                now_ns += step_ns;
                let prefix = crowd[number as usize];
                let want = kernel[set_index(prefix, 3, sets)].take(prefix, &limit, now_ns);
                prop_assert_eq!(limiter.take(prefix, &limit, now_ns), want);
            }
        }

        #[test]
        fn a_lone_prefix_is_judged_as_by_its_bucket(
            steps in prop::collection::vec(0u64..400_000_000, 1..200),
            rate in 1u32..20,
            slip in 0u32..4,
        ) {
            let (limiter, limit) = (Limiter::new(1), RateLimit::per_second(rate, slip));
            let (mut bucket, mut now_ns) = (Bucket::default(), S);
            for step_ns in steps {
                now_ns += step_ns;
                prop_assert_eq!(limiter.take(3, &limit, now_ns), bucket.take(&limit, now_ns));
            }
        }
    }
}
