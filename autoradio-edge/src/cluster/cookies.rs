//! The cluster's secrets for DNS cookies: their record, when they are rolled, and which of them count now. Pure.
//!
//! A roll makes `next` the current secret, `current` the previous one, and draws a new `next` (RFC 9018 §5: a secret is known
//! everywhere before it is used, and checked for as long as cookies made with it are valid). So the record always holds what
//! the next roll brings, and one transaction is the whole roll.

use std::fmt;

use autoradio_common::cookie::CookieKeys;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::SCHEMA_VERSION;

/// Name of the record below `secrets/`.
pub(super) const COOKIES: &str = "dns-cookie";

/// How long a secret is current, in seconds.
const ROLL_EVERY_S: u64 = 24 * 3_600;
/// Least time between two rolls as one node sees them, in seconds, whatever the clocks say: no cookie that is still valid
/// may lose its secret, and those of [`PREVIOUS_S`] must have changed sides.
const ROLL_GAP_S: u64 = 3 * 3_600;
/// How long after a roll the previous secret is checked, in seconds: a cookie lives one hour, and clocks differ by minutes.
const PREVIOUS_S: u64 = 2 * 3_600;

/// One secret: 128 bits, in JSON as 32 hexadecimal digits. Never shown.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CookieSecret(pub [u8; 16]);

impl TryFrom<String> for CookieSecret {
    type Error = &'static str;

    /// The error does not repeat what it was given.
    fn try_from(digits: String) -> Result<Self, Self::Error> {
        let hexadecimal = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let whole = u128::from_str_radix(&digits, 16).ok().filter(|_| hexadecimal);
        whole.map(|whole| Self(whole.to_be_bytes())).ok_or("a secret has 32 hexadecimal digits")
    }
}

impl From<CookieSecret> for String {
    fn from(secret: CookieSecret) -> Self {
        format!("{:032x}", u128::from_be_bytes(secret.0))
    }
}

impl fmt::Debug for CookieSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("CookieSecret(..)")
    }
}

/// `secrets/dns-cookie`: made by the first node, rolled by any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CookieRecord {
    /// Schema of this record: [`SCHEMA_VERSION`].
    pub schema: u32,
    /// What was current before the last roll.
    pub previous: CookieSecret,
    /// What makes cookies.
    pub current: CookieSecret,
    /// What the next roll makes current.
    pub next: CookieSecret,
    /// When the last roll was, in seconds of Unix time, by the clock of the node that did it.
    pub rolled_unix_s: u64,
    /// Fields of a newer version, kept as they are.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// How old a record is, by two clocks of which neither is always right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordAge {
    /// Since `rolled_unix_s`, by this node's calendar, in seconds; 0 where that lies ahead.
    pub wall_s: u64,
    /// Since this process first saw the record as it is, by a clock that never jumps, in seconds.
    pub seen_s: u64,
}

impl CookieRecord {
    /// The first record of a cluster, of three random secrets.
    pub fn first([previous, current, next]: [CookieSecret; 3], now_unix_s: u64) -> Self {
        let unknown = Map::new();
        Self { schema: SCHEMA_VERSION, previous, current, next, rolled_unix_s: now_unix_s, unknown }
    }

    /// The record after a roll, with another `next`.
    #[must_use]
    pub fn rolled(&self, next: CookieSecret, now_unix_s: u64) -> Self {
        Self {
            previous: self.current,
            current: self.next,
            next,
            rolled_unix_s: now_unix_s,
            ..self.clone()
        }
    }

    /// What the data path makes and checks cookies with: beside the current secret the previous one for two hours after a
    /// roll, and then the next one, so that a node which hears of the next roll late knows the cookies of those that have.
    pub fn keys(&self, age: RecordAge) -> CookieKeys {
        let just_rolled = age.wall_s < PREVIOUS_S && age.seen_s < PREVIOUS_S;
        let other = if just_rolled { self.previous } else { self.next };
        CookieKeys { current: CookieKeys::key(self.current.0), other: CookieKeys::key(other.0) }
    }
}

impl RecordAge {
    /// Whether the secrets should be rolled: a day has passed by the calendar or, if the calendar is wrong, as this process
    /// has seen it. Never sooner than three hours after it saw the last roll: a node whose calendar is wrong rolls early, but
    /// not again and again, and costs no valid cookie.
    pub fn is_due(self) -> bool {
        let a_day = self.wall_s >= ROLL_EVERY_S || self.seen_s >= ROLL_EVERY_S;
        a_day && self.seen_s >= ROLL_GAP_S
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;

    fn record() -> CookieRecord {
        CookieRecord::first([1, 2, 3].map(|byte| CookieSecret([byte; 16])), 1_000_000)
    }

    fn key(byte: u8) -> [u64; 2] {
        CookieKeys::key([byte; 16])
    }

    #[test]
    fn a_secret_is_known_before_it_is_current_and_for_hours_after() {
        for (why, wall_s, seen_s, other) in [
            ("just rolled", 0, 0, 1),
            ("cookies of before are still valid", 2 * HOUR - 1, 2 * HOUR - 1, 1),
            ("they are not any more", 2 * HOUR, 2 * HOUR, 3),
            ("a day later", 24 * HOUR, 24 * HOUR, 3),
            ("this process has just started", 20 * HOUR, 0, 3),
            ("the roller's calendar is ahead", 0, 2 * HOUR, 3),
            ("it was set back after the roll", 0, 10, 1),
        ] {
            let keys = record().keys(RecordAge { wall_s, seen_s });
            assert_eq!((keys.current, keys.other), (key(2), key(other)), "{why}");
        }
    }

    #[test]
    fn a_roll_moves_every_secret_on() {
        let rolled = record().rolled(CookieSecret([4; 16]), 2_000_000);
        let secrets = [rolled.previous, rolled.current, rolled.next];
        assert_eq!(secrets, [2, 3, 4].map(|byte| CookieSecret([byte; 16])));
        let before = record().keys(RecordAge { wall_s: 24 * HOUR, seen_s: 24 * HOUR });
        let after = rolled.keys(RecordAge { wall_s: 0, seen_s: 0 });
        assert_eq!((before.current, before.other), (after.other, after.current));
    }

    #[test]
    fn secrets_are_rolled_daily_and_never_again_and_again() {
        for (why, wall_s, seen_s, want) in [
            ("just rolled", 0, 0, false),
            ("not yet a day", 24 * HOUR - 1, 24 * HOUR - 1, false),
            ("a day", 24 * HOUR, 24 * HOUR, true),
            ("a day, and this process is younger", 24 * HOUR, 4 * HOUR, true),
            ("it has just started", 100 * HOUR, 0, false),
            ("its calendar is years ahead", 50_000 * HOUR, 3 * HOUR - 1, false),
            ("it rolls early once", 50_000 * HOUR, 3 * HOUR, true),
            ("another's calendar was years ahead", 0, 24 * HOUR - 1, false),
            ("a day has passed all the same", 0, 24 * HOUR, true),
        ] {
            assert_eq!(RecordAge { wall_s, seen_s }.is_due(), want, "{why}");
        }
    }

    #[test]
    fn the_record_reads_back_keeps_what_it_does_not_know_and_shows_no_secret() {
        let text = serde_json::to_string(&record()).unwrap();
        assert!(text.contains(&"02".repeat(16)), "{text}");
        let newer = text.replacen('{', r#"{"later":7,"#, 1);
        let read: CookieRecord = serde_json::from_str(&newer).unwrap();
        let rolled = serde_json::to_value(read.rolled(CookieSecret([4; 16]), 9)).unwrap();
        assert_eq!((&rolled["later"], &rolled["rolled_unix_s"]), (&7.into(), &9.into()));
        let shown = format!("{read:?}");
        assert!(!shown.contains("0202") && !shown.contains("2, 2"), "{shown}");
        for bad in ["0202", "+2020202020202020202020202020202", "g2g2", &"é".repeat(16)] {
            let damaged = text.replacen(&"02".repeat(16), bad, 1);
            let error = serde_json::from_str::<CookieRecord>(&damaged).expect_err(bad).to_string();
            assert!(error.contains("32 hexadecimal") && !error.contains(bad), "{error}");
        }
    }
}
