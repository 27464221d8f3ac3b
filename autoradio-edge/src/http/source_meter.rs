//! Whether a source keeps within its mount's limits. Pure.

use std::fmt;
use std::time::{Duration, Instant};

use crate::cluster::SourceLimits;

/// How long a source may send at once what it may send in that time. Encoders fill their buffers when they connect, and a variable
/// rate goes up and down over seconds.
const BURST_S: u64 = 10;

/// A limit that a source is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Bits per second.
    Rate,
    /// Bytes in all.
    Bytes,
    /// Seconds in all.
    Seconds,
}

impl fmt::Display for Over {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Rate => "bits per second",
            Self::Bytes => "bytes",
            Self::Seconds => "seconds",
        })
    }
}

/// Measures one connection of a source.
#[derive(Debug)]
pub(super) struct SourceMeter {
    limits: SourceLimits,
    begun: Instant,
    bytes: u64,
    /// Bits that may be sent at this moment; refilled as time passes.
    allowance: f64,
    refilled: Instant,
}

impl SourceMeter {
    /// A source that begins now.
    pub(super) fn new(limits: &SourceLimits, now: Instant) -> Self {
        let allowance = limits.bits_per_second.map_or(0.0, burst);
        Self { limits: limits.clone(), begun: now, bytes: 0, allowance, refilled: now }
    }

    /// Counts audio that has come, and judges.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> Result<(), Over> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.limits.bytes.is_some_and(|most| self.bytes > most) {
            return Err(Over::Bytes);
        }
        if let Some(rate) = self.limits.bits_per_second {
            let passed_s = now.saturating_duration_since(self.refilled).as_secs_f64();
            self.refilled = now;
            self.allowance = (self.allowance + as_f64(rate) * passed_s).min(burst(rate));
            self.allowance -= 8.0 * as_f64(bytes as u64);
            if self.allowance < 0.0 {
                return Err(Over::Rate);
            }
        }
        if self.time_left(now).is_zero() { Err(Over::Seconds) } else { Ok(()) }
    }

    /// How long the source may go on.
    pub(super) fn time_left(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.begun);
        self.limits
            .seconds
            .map_or(Duration::MAX, |most| Duration::from_secs(most).saturating_sub(passed))
    }
}

fn burst(bits_per_second: u64) -> f64 {
    as_f64(bits_per_second.saturating_mul(BURST_S))
}

#[expect(clippy::cast_precision_loss, reason = "a rate is judged to many digits less than that")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn limited(limits: &SourceLimits) -> (SourceMeter, Instant) {
        let now = clock::now();
        (SourceMeter::new(limits, now), now)
    }

    #[test]
    fn a_source_may_begin_with_a_burst_but_not_go_on_above_its_rate() {
        let limits = SourceLimits { bits_per_second: Some(128_000), ..SourceLimits::default() };
        let (mut meter, begun) = limited(&limits);
        let at = |second: u64| begun + Duration::from_secs(second);
        assert_eq!(meter.take(160_000, at(0)), Ok(()), "ten seconds at once");
        for second in 1..600 {
            assert_eq!(meter.take(16_000, at(second)), Ok(()), "second {second}");
        }
        let (mut meter, begun) = limited(&limits);
        let over = (1..60).find(|second| {
            meter.take(32_000, begun + Duration::from_secs(*second)) == Err(Over::Rate)
        });
        assert_eq!(over, Some(10), "twice the rate for ten seconds");
    }

    #[test]
    fn bytes_and_seconds_are_counted_from_the_beginning() {
        let limits = SourceLimits { bytes: Some(10), ..SourceLimits::default() };
        let (mut meter, now) = limited(&limits);
        assert_eq!(meter.take(10, now), Ok(()));
        assert_eq!(meter.take(1, now), Err(Over::Bytes));

        let limits = SourceLimits { seconds: Some(60), ..SourceLimits::default() };
        let (mut meter, now) = limited(&limits);
        assert_eq!(meter.take(1, now + Duration::from_secs(59)), Ok(()));
        assert_eq!(meter.time_left(now + Duration::from_secs(59)), Duration::from_secs(1));
        assert_eq!(meter.take(1, now + Duration::from_secs(60)), Err(Over::Seconds));

        let (mut meter, now) = limited(&SourceLimits::default());
        assert_eq!(meter.take(usize::MAX, now + Duration::from_secs(1 << 30)), Ok(()));
    }
}
