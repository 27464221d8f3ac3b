//! Response-rate limiting: the rule, the same in the kernel and in userspace.
//!
//! The generic cell rate algorithm (ITU-T I.371 §A): a bucket is one moment, up to which the answers given so far are paid
//! for. Each answer moves it on by its cost; whoever is too far ahead of now is over the limit. Of the answers over it every
//! `slip`-th goes out truncated, so that a real resolver asks again by TCP, which no forger can.
//!
//! The buckets of client prefixes stand in a table of fixed size. A prefix may stand in any of the few cells of its set. A
//! newcomer takes the cell that owes least, so its bucket starts full and the bucket that stood there is forgotten: nobody is
//! limited for another's queries, and whoever is over the limit stays known longest. Sets are chosen by a secret, so that
//! nobody can make a prefix forget its bucket by asking in the name of another.

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

/// Cells of one set.
pub const RATE_WAYS: usize = 4;
/// Tells a prefix, of 57 bits, from an empty cell.
const TAKEN: u64 = 1 << 63;

/// The bucket of whom.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateCell {
    /// As [`owner`] says; 0: nobody's.
    pub owner: u64,
    /// Their bucket.
    pub bucket: Bucket,
}

/// The cells that a prefix may stand in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateSet {
    /// In no order.
    pub cells: [RateCell; RATE_WAYS],
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

impl RateSet {
    /// Takes one answer out of the bucket of `prefix`.
    #[inline(always)]
    pub fn take(&mut self, prefix: u64, limit: &RateLimit, now_ns: u64) -> Rate {
        let owner = owner(prefix);
        let mut least = 0;
        for index in 0..RATE_WAYS {
            let cell = &mut self.cells[index];
            if cell.owner == owner {
                return cell.bucket.take(limit, now_ns);
            }
            if cell.bucket.paid_until_ns < self.cells[least].bucket.paid_until_ns {
                least = index;
            }
        }
        // The owner comes last: who finds it on another CPU finds the bill empty.
        let cell = &mut self.cells[least];
        cell.bucket.paid_until_ns = 0;
        let rate = cell.bucket.take(limit, now_ns);
        cell.owner = owner;
        rate
    }
}

/// The mark of a prefix in its cell.
#[inline(always)]
pub const fn owner(prefix: u64) -> u64 {
    prefix | TAKEN
}

/// Which of `sets`, a power of two, a prefix stands in.
///
/// The finaliser of `MurmurHash3` (Appleby 2011), behind the secret.
#[inline(always)]
pub const fn set_index(prefix: u64, secret: u64, sets: usize) -> usize {
    let mut mixed = prefix ^ secret;
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (mixed ^ (mixed >> 33)) as usize & (sets - 1)
}

const _: () = {
    assert!(size_of::<RateSet>() == RATE_WAYS * 24);
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
    fn a_set_keeps_who_owes_and_gives_newcomers_a_full_bucket() {
        let (mut set, limit) = (RateSet::default(), RateLimit::per_second(2, 0));
        for prefix in 0..3 {
            assert_eq!(set.take(prefix, &limit, S), Rate::Answer, "an empty cell for {prefix}");
            assert_eq!(set.take(prefix, &limit, S), Rate::Answer, "the burst of {prefix}");
            assert_eq!(set.take(prefix, &limit, S), Rate::Drop, "{prefix} is over its rate");
        }
        for prefix in 3..100 {
            assert_eq!(set.take(prefix, &limit, S), Rate::Answer, "{prefix} takes the last cell");
        }
        for prefix in 0..3 {
            assert_eq!(set.take(prefix, &limit, S), Rate::Drop, "{prefix} is still known");
        }
        assert_eq!(set.take(0, &limit, 2 * S), Rate::Answer, "a second on");
    }

    #[test]
    fn neighbouring_networks_spread_over_all_sets() {
        let mut counts = [0_u32; 64];
        for prefix in 0..6_400 {
            counts[set_index(prefix, 7, 64)] += 1;
        }
        // 100 are expected of each; six standard deviations are 60.
        assert!(counts.iter().all(|count| (40..160).contains(count)), "{counts:?}");
    }

    #[test]
    fn rates_beyond_the_clock_and_zero_are_what_they_say() {
        assert!(!RateLimit::per_second(0, 2).is_on());
        assert!(RateLimit::per_second(1_000_000_000, 2).is_on());
        assert_eq!(count(&mut Bucket::default(), &RateLimit::per_second(1, 0), S, 5), [1, 0, 4]);
    }
}
