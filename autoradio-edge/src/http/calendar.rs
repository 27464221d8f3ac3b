//! Moments of Unix time in the words of Icecast's pages and logs. Pure.

use std::time::{Duration, UNIX_EPOCH};

/// The last second that a year of four digits has.
const LAST_UNIX_S: u64 = 253_402_300_799;
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `2026-11-25T04:29:31+0000`
pub(super) fn iso8601(unix_s: u64) -> String {
    rfc3339(unix_s).replace('Z', "+0000")
}

/// `Wed, 25 Nov 2026 04:29:31 +0000`
pub(super) fn mail(unix_s: u64) -> String {
    let weekday = WEEKDAYS[(unix_s / 86_400 % 7) as usize];
    let (year, month, day, time) = parts(unix_s);
    format!("{weekday}, {day} {month} {year} {time} +0000")
}

/// `25/Nov/2026:04:29:31 +0000`, as in NCSA's log
pub(super) fn ncsa(unix_s: u64) -> String {
    let (year, month, day, time) = parts(unix_s);
    format!("{day}/{month}/{year}:{time} +0000")
}

fn parts(unix_s: u64) -> (String, &'static str, String, String) {
    let text = rfc3339(unix_s);
    let month: usize = text[5..7].parse().unwrap_or(1);
    (text[..4].to_owned(), MONTHS[month - 1], text[8..10].to_owned(), text[11..19].to_owned())
}

/// `2026-11-25T04:29:31Z`
fn rfc3339(unix_s: u64) -> String {
    let moment = UNIX_EPOCH + Duration::from_secs(unix_s.min(LAST_UNIX_S));
    humantime::format_rfc3339_seconds(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_told_as_icecast_tells_them() {
        let moment = 1_795_580_971;
        assert_eq!(iso8601(moment), "2026-11-25T04:29:31+0000");
        assert_eq!(mail(moment), "Wed, 25 Nov 2026 04:29:31 +0000");
        assert_eq!(ncsa(moment), "25/Nov/2026:04:29:31 +0000");
        assert_eq!(mail(0), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(mail(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
        assert!(ncsa(u64::MAX).starts_with("31/Dec/9999"));
    }
}
