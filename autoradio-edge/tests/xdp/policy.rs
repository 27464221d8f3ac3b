//! What the daemon's settings change: rates, sizes, the draw, tracing and the histogram.

use std::collections::HashSet;

use autoradio_common::prefix::{of_v4, of_v6, sticky_draw};
use autoradio_common::rate::RateLimit;
use autoradio_common::settings::TraceFilter;
use autoradio_common::verdict::Verdict;
use autoradio_edge::clock;
use autoradio_edge::dataplane::KernelPolicy;

use super::rules::{V4, cookie, keys, option, with_options};
use super::{Bench, userspace};
use crate::frames::{APEX, CLIENT_PORT, CLIENT_V4, CLIENT_V6, QuerySpec, frame_v4, frame_v6};
use crate::reply::reply_message;

/// `count` answers without EDNS: how many were given, truncated and dropped.
fn burst(bench: &mut Bench, query: &[u8], count: u32) -> [u32; 3] {
    let mut counts = [0; 3];
    for _ in 0..count {
        let index = match bench.ask("burst", query).0 {
            Verdict::Answered => 0,
            Verdict::AnsweredSlip => 1,
            Verdict::DropRateLimited => 2,
            other => panic!("{other:?}"),
        };
        counts[index] += 1;
    }
    counts
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn a_network_over_its_rate_gets_truncated_replies_and_none_unless_it_has_a_cookie() {
    let mut bench = Bench::new();
    bench.kernel.set_cookies(keys(1, 0)).expect("set");
    // So slow that no answer is paid for while the test runs.
    let rate = RateLimit { cost_ns: 1 << 50, burst_ns: 9 << 50, slip: 3, zero: 0 };
    bench.kernel.set_policy(&KernelPolicy { sticky: false, rate }).expect("set");
    let query = QuerySpec::default().message();
    assert_eq!(burst(&mut bench, &query, 40), [10, 10, 20]);
    let valid = with_options(&option(10, &cookie(1, V4, 60)));
    assert_eq!(burst(&mut bench, &valid, 5), [5, 0, 0], "a valid cookie is exempt");
    let forged = with_options(&option(10, &cookie(3, V4, 60)));
    assert_eq!(burst(&mut bench, &forged, 3), [0, 1, 2], "a forged one is not");
    let v6 = bench.run("another network", &frame_v6(&query)).0;
    assert_eq!(v6, Verdict::Answered);
    bench.kernel.set_policy(&KernelPolicy::default()).expect("set");
    assert_eq!(burst(&mut bench, &query, 5), [5, 0, 0], "no limit");
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn truncated_replies_have_the_question_the_opt_record_and_nothing_else() {
    let mut bench = Bench::new();
    let rate = RateLimit { cost_ns: 1 << 50, burst_ns: 0, slip: 1, zero: 0 };
    bench.kernel.set_policy(&KernelPolicy { sticky: false, rate }).expect("set");
    let plain = QuerySpec::default().message();
    assert_eq!(bench.ask("the first", &plain).0, Verdict::Answered);
    let subnet = option(8, b"\x00\x01\x18\x00\xc0\x00\x02");
    for (why, query, additionals) in
        [("plain", plain, 0), ("EDNS", with_options(b""), 1), ("subnet", with_options(&subnet), 1)]
    {
        let (verdict, reply) = bench.ask(why, &query);
        assert_eq!(verdict, Verdict::AnsweredSlip, "{why}");
        assert_eq!(reply[..12], [0x12, 0x34, 0x87, 0, 0, 1, 0, 0, 0, 0, 0, additionals], "{why}");
        // Without DO, which is not echoed, the query's own end is the reply's.
        let mut want = query[12..].to_vec();
        if additionals == 1 {
            want[23 + 7] = 0;
        }
        assert_eq!(reply[12..], want, "{why}");
    }
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn answers_over_the_clients_size_are_truncated() {
    let mut bench = Bench::new();
    bench.zone = super::zone_of(40, 32);
    bench.kernel.publish(&bench.zone).expect("published");
    let query = QuerySpec::default().message();
    let (verdict, reply) = bench.ask("512 bytes", &query);
    assert_eq!(verdict, Verdict::AnsweredTruncated);
    assert_eq!(reply, userspace(&query, &bench.zone, 0));
    assert_eq!(bench.ask("1232 bytes", &with_options(b"")).0, Verdict::Answered);
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn a_sticky_draw_gives_one_network_one_answer() {
    let mut bench = Bench::new();
    let policy = KernelPolicy { sticky: true, rate: RateLimit::default() };
    bench.kernel.set_policy(&policy).expect("set");
    let query = QuerySpec::default().message();
    for (frame, draw) in [
        (frame_v4(&query), of_v4(CLIENT_V4)),
        (frame_v6(&query), of_v6(CLIENT_V6[..8].try_into().expect("eight bytes"))),
    ] {
        let draw = sticky_draw(draw);
        let want = userspace(&query, &bench.zone, draw);
        let answers: HashSet<_> =
            (0..50).map(|_| reply_message(&bench.run("sticky", &frame).1)).collect();
        assert_eq!(answers, HashSet::from([want]));
    }
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn queries_are_shown_while_somebody_looks() {
    let mut bench = Bench::new();
    let mut events = bench.kernel.trace_events().expect("the first");
    assert!(bench.kernel.trace_events().is_none(), "only one may look");
    let (query, absent) = (with_options(b""), [b"\x01x".as_slice(), APEX].concat());
    let absent = QuerySpec { name: &absent, qtype: 28, ..QuerySpec::default() }.message();
    bench.ask("before", &query);
    assert_eq!(events.next(), None);
    let until_ns = clock::monotonic_ns() + 60_000_000_000;
    bench.kernel.set_trace(TraceFilter { until_ns, name_lower: [0; 64] }).expect("set");
    bench.ask("every one", &query);
    bench.run("every one", &frame_v6(&absent));
    let (first, second) = (events.next().expect("an event"), events.next().expect("another"));
    assert_eq!(first.verdict, Verdict::Answered as u32);
    assert_eq!((first.family, first.client_port, first.qtype), (4, CLIENT_PORT, 1));
    assert_eq!(first.client[..4], CLIENT_V4);
    assert_eq!((first.dns_flags, usize::from(first.message_bytes)), (0x0100, query.len()));
    assert_eq!(first.name_lower[..usize::from(first.name_bytes)], *APEX);
    assert!(first.name_lower[usize::from(first.name_bytes)..].iter().all(|byte| *byte == 0));
    assert_eq!((second.family, second.client, second.qtype), (6, CLIENT_V6, 28));
    assert_eq!(second.verdict, Verdict::AnsweredNxDomain as u32);
    let mut name_lower = [0; 64];
    name_lower[..APEX.len()].copy_from_slice(APEX);
    bench.kernel.set_trace(TraceFilter { until_ns, name_lower }).expect("set");
    bench.ask("another name", &absent);
    bench.ask("the name", &query);
    assert_eq!(events.by_ref().map(|event| event.qtype).collect::<Vec<_>>(), [1]);
    for _ in 0..5_000 {
        bench.ask("a full buffer", &query);
    }
    let shown = events.count();
    assert!((1_000..5_000).contains(&shown), "{shown}: what does not fit is lost, and no query");
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn the_histogram_counts_each_query_once_while_it_is_on() {
    let mut bench = Bench::new();
    let query = QuerySpec::default().message();
    bench.ask("off", &query);
    assert_eq!(bench.kernel.latency().expect("read").iter().sum::<u64>(), 0);
    bench.kernel.set_histogram(true).expect("set");
    for _ in 0..100 {
        bench.ask("on", &query);
    }
    let buckets = bench.kernel.latency().expect("read");
    assert_eq!(buckets.iter().sum::<u64>(), 100, "{buckets:?}");
    // Nothing takes less than 16 ns, and most take less than 32 µs.
    assert_eq!(buckets[..4].iter().sum::<u64>(), 0, "{buckets:?}");
    assert!(buckets[..15].iter().sum::<u64>() > 50, "{buckets:?}");
}
