//! What the operator is shown of DNS: rates, traced queries, percentiles. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use autoradio_edge::api::{DnsCounters, DnsLatency, TracedQuery};
use serde::Serialize;

/// How fast packets came to one end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Rate {
    /// `kernel` or `userspace`.
    pub(crate) by: &'static str,
    /// Verdict of the kernel, or outcome and transport of userspace.
    pub(crate) verdict: String,
    /// Packets a second within the interval, to one decimal.
    pub(crate) per_second: f64,
    /// All since the program was loaded, or the daemon started.
    pub(crate) total: u64,
}

/// How fast packets came to which end between two readings of the counters; ends that nothing ever came to are left out.
pub(crate) fn rates(before: &DnsCounters, after: &DnsCounters) -> Vec<Rate> {
    let none = BTreeMap::new();
    let kernels = [before, after].map(|counters| counters.kernel.as_ref().unwrap_or(&none));
    let ms = after.at_ms.saturating_sub(before.at_ms).max(1);
    let per_second = |packets: u64| {
        let tenths = packets.saturating_mul(10_000) / ms;
        f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
    };
    let of = |by, [before, after]: [&BTreeMap<String, u64>; 2]| -> Vec<Rate> {
        let grown = after.iter().filter(|(_, total)| **total > 0).map(|(verdict, total)| {
            // A program that was replaced in between counts from zero.
            let new = total.saturating_sub(before.get(verdict).copied().unwrap_or(0));
            Rate { by, verdict: verdict.clone(), per_second: per_second(new), total: *total }
        });
        grown.collect()
    };
    [of("kernel", kernels), of("userspace", [&before.userspace, &after.userspace])].concat()
}

/// A traced query in one line: when, who, what, how it ended.
pub(crate) fn trace_line(query: &TracedQuery) -> String {
    let at = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(query.unix_ms));
    let client = std::net::SocketAddr::new(query.client, query.port);
    let name = query.name.as_deref().unwrap_or("-");
    let kind = if query.name.is_some() { type_name(query.qtype) } else { "-".to_owned() };
    let flags = flags(query.flags).join(",");
    let flags = if flags.is_empty() { "-" } else { &flags };
    format!("{at}  {client}  {name}  {kind}  {flags}  {}  {}", query.bytes, query.verdict)
}

/// The head of such lines.
pub(crate) const TRACE_HEAD: &str = "TIME  CLIENT  NAME  TYPE  FLAGS  BYTES  VERDICT";

/// A type as people write it (RFC 3597 §5 for those without a name here).
pub(crate) fn type_name(qtype: u16) -> String {
    let name = match qtype {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        12 => "PTR",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        43 => "DS",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        252 => "AXFR",
        255 => "ANY",
        257 => "CAA",
        other => return format!("TYPE{other}"),
    };
    name.to_owned()
}

/// The flags that are set, as dig names them.
pub(crate) fn flags(flags: u16) -> Vec<&'static str> {
    let named = [
        (0x8000, "qr"),
        (0x0400, "aa"),
        (0x0200, "tc"),
        (0x0100, "rd"),
        (0x0080, "ra"),
        (0x0020, "ad"),
        (0x0010, "cd"),
    ];
    named.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect()
}

/// How long the kernel program took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LatencyView {
    /// For how long it was timed, in seconds.
    pub(crate) seconds: u64,
    /// Queries meanwhile.
    pub(crate) queries: u64,
    /// Empty without queries.
    pub(crate) percentiles: Vec<Percentile>,
    /// Queries by time, as they were counted.
    pub(crate) buckets: Vec<u64>,
}

/// How long so many percent of the queries took at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Percentile {
    /// How many percent.
    pub(crate) percent: &'static str,
    /// In nanoseconds: the upper end of a bucket, up to twice as long as it really was.
    pub(crate) at_most_ns: u64,
}

/// Which percentiles are shown, in parts of a thousand.
const PERCENTILES: [(&str, u64); 5] =
    [("50", 500), ("90", 900), ("99", 990), ("99.9", 999), ("100", 1_000)];

/// Percentiles of a histogram.
pub(crate) fn latency(timed: DnsLatency) -> LatencyView {
    let queries = timed.buckets.iter().sum();
    let up_to = |thousandths: u64| {
        let rank = (u128::from(queries) * u128::from(thousandths)).div_ceil(1_000);
        let mut seen = 0;
        let bucket = timed.buckets.iter().position(|count| {
            seen += u128::from(*count);
            seen >= rank
        });
        1_u64 << (bucket.unwrap_or(0) + 1).min(63)
    };
    let percentiles = PERCENTILES.iter().filter(|_| queries > 0);
    let percentiles = percentiles
        .map(|(percent, part)| Percentile { percent, at_most_ns: up_to(*part) })
        .collect();
    LatencyView { seconds: timed.seconds, queries, percentiles, buckets: timed.buckets }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(at_ms: u64, kernel: &[(&str, u64)], userspace: &[(&str, u64)]) -> DnsCounters {
        let map =
            |of: &[(&str, u64)]| of.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        DnsCounters { at_ms, kernel: Some(map(kernel)), userspace: map(userspace) }
    }

    #[test]
    fn rates_are_of_the_time_that_passed_and_not_of_what_was_asked_for() {
        let before = counters(1_000, &[("answered", 10), ("pass_edns", 0)], &[]);
        let after = counters(3_000, &[("answered", 30), ("pass_edns", 0)], &[("NoError udp", 4)]);
        let rate = |by, verdict: &str, per_second, total| {
            let verdict = verdict.to_owned();
            Rate { by, verdict, per_second, total }
        };
        let want = [rate("kernel", "answered", 10.0, 30), rate("userspace", "NoError udp", 2.0, 4)];
        assert_eq!(rates(&before, &after), want);
        let replaced = counters(3_000, &[("answered", 5)], &[]);
        assert_eq!(rates(&before, &replaced), [rate("kernel", "answered", 0.0, 5)]);
        let off = DnsCounters { kernel: None, ..after };
        assert_eq!(rates(&off, &off), [rate("userspace", "NoError udp", 0.0, 4)]);
    }

    #[test]
    fn a_query_is_one_line_and_says_so_where_it_was_not_read() {
        let query = TracedQuery {
            unix_ms: 1_700_000_000_123,
            client: "2001:db8::1".parse().unwrap(),
            port: 53_000,
            name: Some("radio.test.".to_owned()),
            qtype: 65,
            flags: 0x0120,
            bytes: 51,
            verdict: "answered_no_data".to_owned(),
        };
        let want = "2023-11-14T22:13:20.123Z  [2001:db8::1]:53000  radio.test.  HTTPS  rd,ad  51  \
            answered_no_data";
        assert_eq!(trace_line(&query), want);
        let unread = TracedQuery { name: None, qtype: 0, flags: 0, ..query };
        assert!(trace_line(&unread).contains("  -  -  -  51  "), "{}", trace_line(&unread));
        assert_eq!(type_name(4_711), "TYPE4711");
    }

    #[test]
    fn percentiles_are_upper_bounds() {
        let mut buckets = vec![0; 32];
        (buckets[6], buckets[8], buckets[12]) = (90, 9, 1);
        let view = latency(DnsLatency { seconds: 1, buckets });
        assert_eq!(view.queries, 100);
        let got: Vec<_> = view.percentiles.iter().map(|it| (it.percent, it.at_most_ns)).collect();
        let want = [("50", 128), ("90", 128), ("99", 512), ("99.9", 8_192), ("100", 8_192)];
        assert_eq!(got, want);
        let nothing = latency(DnsLatency { seconds: 1, buckets: vec![0; 32] });
        assert!(nothing.percentiles.is_empty());
    }
}
