//! Response-rate limiting: the rule, the same in the kernel and in userspace.
//!
//! The generic cell rate algorithm (ITU-T I.371 §A): a bucket is one moment, up to which the answers given so far are paid
//! for. Each answer moves it on by its cost; whoever is too far ahead of now is over the limit. Of the answers over it every
//! `slip`-th goes out truncated, so that a real resolver asks again by TCP, which no forger can.

/// The limit, as the operator set it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Time that one answer takes of a bucket, in nanoseconds; 0: no limit.
    pub cost_ns: u64,
    /// How far ahead of now a bucket may be, in nanoseconds.
    pub burst_ns: u64,
    /// Every how manieth answer over the limit goes out truncated; 0: none.
    pub slip: u32,
    /// Always zero.
    pub zero: u32,
}

/// The answers of one client prefix.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Until when the answers given are paid for, in nanoseconds of the limiter's clock.
    pub paid_until_ns: u64,
    /// Answers over the limit so far.
    pub limited: u64,
}

/// What becomes of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// It is given.
    Answer,
    /// A truncated one is given instead (TC=1, no records).
    Slip,
    /// None is given.
    Drop,
}

impl RateLimit {
    /// A limit of so many answers a second, with a burst of one second's; 0: no limit.
    pub const fn per_second(answers: u32, slip: u32) -> Self {
        if answers == 0 {
            return Self { cost_ns: 0, burst_ns: 0, slip: 0, zero: 0 };
        }
        let cost_ns = 1_000_000_000 / answers as u64;
        Self { cost_ns, burst_ns: 1_000_000_000 - cost_ns, slip, zero: 0 }
    }

    /// Whether there is a limit.
    #[inline(always)]
    pub const fn is_on(&self) -> bool {
        self.cost_ns != 0
    }
}

impl Bucket {
    /// Takes one answer out of the bucket, if it is not empty.
    #[inline(always)]
    pub fn take(&mut self, limit: &RateLimit, now_ns: u64) -> Rate {
        let start_ns = if self.paid_until_ns > now_ns { self.paid_until_ns } else { now_ns };
        if start_ns - now_ns <= limit.burst_ns {
            self.paid_until_ns = start_ns + limit.cost_ns;
            return Rate::Answer;
        }
        self.limited += 1;
        let slips = limit.slip != 0 && self.limited.is_multiple_of(u64::from(limit.slip));
        if slips { Rate::Slip } else { Rate::Drop }
    }
}

const _: () = {
    assert!(size_of::<RateLimit>() == 24);
    assert!(size_of::<Bucket>() == 16);
};

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn count(bucket: &mut Bucket, limit: &RateLimit, now_ns: u64, queries: u32) -> [u32; 3] {
        let mut counts = [0; 3];
        for _ in 0..queries {
            counts[bucket.take(limit, now_ns) as usize] += 1;
        }
        counts
    }

    #[test]
    fn a_prefix_gets_its_rate_and_one_seconds_burst() {
        let limit = RateLimit::per_second(100, 2);
        let mut bucket = Bucket::default();
        assert_eq!(count(&mut bucket, &limit, 50 * S, 300), [100, 100, 100], "a burst of 300");
        assert_eq!(
            count(&mut bucket, &limit, 50 * S + S / 2, 100),
            [50, 25, 25],
            "half a second on"
        );
        assert_eq!(count(&mut bucket, &limit, 60 * S, 100), [100, 0, 0], "no more is saved up");
    }

    #[test]
    fn slip_says_how_many_of_the_limited_are_truncated() {
        for (slip, want) in [(0, [10, 0, 90]), (1, [10, 90, 0]), (3, [10, 30, 60])] {
            let limit = RateLimit::per_second(10, slip);
            assert_eq!(count(&mut Bucket::default(), &limit, S, 100), want, "slip {slip}");
        }
    }

    #[test]
    fn rates_beyond_the_clock_and_zero_are_what_they_say() {
        assert!(!RateLimit::per_second(0, 2).is_on());
        assert!(RateLimit::per_second(1_000_000_000, 2).is_on());
        assert_eq!(count(&mut Bucket::default(), &RateLimit::per_second(1, 0), S, 5), [1, 0, 4]);
    }
}
