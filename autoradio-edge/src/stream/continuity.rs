//! When a stream is lost: whose is played next, and when there is nothing left to try. Pure.
//!
//! The own mount is asked again at once and then with growing pauses. Listeners get the fallback mount's stream
//! - at once, while nobody has heard anything yet: there is nothing to go on with;
//! - [`STREAM_ABSENT_MS`] after the own mount's Icecast began to say that it has no source. That is a sure answer, and a
//!   source which only changes hands is back sooner;
//! - else when the mount's grace has passed: a master that cannot be reached is usually followed by another one, to which the
//!   source comes within seconds.
//!
//! Listeners are closed when the grace has passed and the fallback does not play either.

use std::time::{Duration, Instant};

use autoradio_common::limits::{STREAM_ABSENT_MS, STREAM_REDIAL_MS_MAX, STREAM_REDIAL_MS_MIN};

use super::error::StreamError;
use super::terms::Terms;

/// What is known of a stream that does not play.
#[derive(Debug, Default)]
pub(super) struct Continuity {
    /// When it was lost; `None` while it plays, and before it has played.
    lost_at: Option<Instant>,
    /// Since when the own mount is known to have no source.
    absent_since: Option<Instant>,
    /// Tries in a row that failed.
    failures: u32,
}

impl Continuity {
    /// Something plays: the own mount, or its fallback.
    pub(super) fn plays(&mut self, own: bool) {
        self.lost_at = None;
        self.failures = 0;
        if own {
            self.absent_since = None;
        }
    }

    /// What played has ended.
    pub(super) fn lost(&mut self, now: Instant) {
        self.lost_at = Some(now);
    }

    /// The own mount could not be had.
    pub(super) fn failed(&mut self, error: &StreamError, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.absent_since = error.is_absence().then(|| self.absent_since.unwrap_or(now));
    }

    /// Whether the fallback's turn has come.
    pub(super) fn wants_fallback(&self, terms: &Terms, now: Instant) -> bool {
        let Some(lost_at) = self.lost_at else { return true };
        let absent_max = Duration::from_millis(STREAM_ABSENT_MS);
        let absent = self.absent_since.is_some_and(|since| now - since >= absent_max);
        absent || now - lost_at >= terms.grace
    }

    /// Whether those who listen have waited long enough. It never is over for a stream that nobody has heard.
    pub(super) fn is_over(&self, terms: &Terms, now: Instant) -> bool {
        self.lost_at.is_some_and(|lost_at| now - lost_at >= terms.grace)
    }

    /// Pause before the own mount is tried again: doubled with each failure, and never past the end of the grace.
    pub(super) fn pause(&self, terms: &Terms, now: Instant) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let pause = (STREAM_REDIAL_MS_MIN << doublings).min(STREAM_REDIAL_MS_MAX);
        let pause = Duration::from_millis(pause);
        let Some(lost_at) = self.lost_at else { return pause };
        let left = terms.grace.saturating_sub(now - lost_at);
        pause.min(left.max(Duration::from_millis(STREAM_REDIAL_MS_MIN)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const GRACE: Duration = Duration::from_secs(30);

    fn terms(grace: Duration) -> Terms {
        Terms { grace, fallback: None, burst_bytes: 0 }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn dead() -> StreamError {
        StreamError::Silent { address: ([127, 0, 0, 1], 8_000).into() }
    }

    #[test]
    fn a_stream_that_is_lost_is_tried_at_once_and_then_with_pauses_that_double() {
        let (mut stream, now, terms) = (Continuity::default(), clock::now(), terms(GRACE));
        stream.plays(true);
        stream.lost(now);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            stream.failed(&dead(), now);
            pauses.push(stream.pause(&terms, now).as_millis());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_000, 1_000]);
        stream.plays(true);
        stream.lost(now);
        stream.failed(&dead(), now);
        assert_eq!(stream.pause(&terms, now), ms(50), "what has played begins anew");
        assert_eq!(stream.pause(&terms, now + ms(29_940)), ms(50));
    }

    #[test]
    fn listeners_wait_for_their_own_mount_before_they_get_the_fallback_and_are_closed_after_the_grace()
     {
        let (now, terms) = (clock::now(), terms(GRACE));
        for (why, heard, error, after, fallback, over) in [
            ("nobody has heard anything", false, StreamError::NoSource, ms(0), true, false),
            ("nor anything from a dead master", false, dead(), GRACE, true, false),
            ("just lost", true, StreamError::NoSource, ms(STREAM_ABSENT_MS - 1), false, false),
            ("no source for long", true, StreamError::NoSource, ms(STREAM_ABSENT_MS), true, false),
            ("no word of the master", true, dead(), ms(29_999), false, false),
            ("none for long", true, dead(), GRACE, true, true),
        ] {
            let mut stream = Continuity::default();
            if heard {
                stream.plays(true);
                stream.lost(now);
            }
            stream.failed(&error, now);
            assert_eq!(stream.wants_fallback(&terms, now + after), fallback, "{why}");
            assert_eq!(stream.is_over(&terms, now + after), over, "{why}");
        }
    }

    #[test]
    fn a_fallback_that_ends_is_taken_again_at_once_while_the_own_mount_is_known_to_be_silent() {
        let (mut stream, now, terms) = (Continuity::default(), clock::now(), terms(GRACE));
        stream.failed(&StreamError::NoSource, now);
        stream.plays(false);
        let later = now + ms(2 * STREAM_ABSENT_MS);
        stream.lost(later);
        stream.failed(&StreamError::NoSource, later);
        assert!(stream.wants_fallback(&terms, later));
        stream.failed(&dead(), later);
        assert!(!stream.wants_fallback(&terms, later), "its master may have changed");
        assert!(!stream.is_over(&terms, later));
    }

    #[test]
    fn without_grace_listeners_are_closed_when_nothing_plays() {
        let (mut stream, now, terms) = (Continuity::default(), clock::now(), terms(ms(0)));
        stream.plays(true);
        stream.lost(now);
        assert!(stream.wants_fallback(&terms, now) && stream.is_over(&terms, now));
    }
}
