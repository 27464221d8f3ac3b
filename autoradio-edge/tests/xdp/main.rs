//! The kernel program run by the kernel on single frames: packet in, verdict and packet out.

#[path = "../frames/mod.rs"]
mod frames;
mod policy;
#[path = "../frames/reply.rs"]
mod reply;
mod rules;
mod stack;

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use autoradio_common::verdict::{Fate, Verdict};
use autoradio_edge::cluster::{Capacity, NodeRecord, SCHEMA_VERSION, Snapshot};
use autoradio_edge::dataplane::Kernel;
use autoradio_edge::dns::{Asked, Policy, Transport, Zone, ZoneSettings, compile, respond};
use autoradio_edge::placement::place;
use frames::{LOCAL_V4, LOCAL_V6, OPT, QuerySpec, frame_v4, frame_v6};
use hickory_proto::op::Message;
use reply::reply_message;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// A zone of five nodes: five variants.
fn zone(answers_max: usize) -> Zone {
    zone_of(5, answers_max)
}

fn zone_of(nodes: u8, answers_max: usize) -> Zone {
    let node = |number: u8| {
        let record = NodeRecord {
            schema: SCHEMA_VERSION,
            name: format!("node{number}").parse().expect("name"),
            domain: "radio.example.com".into(),
            addresses: vec![IpAddr::from([198, 18, 0, number])],
            peer_address: IpAddr::from([198, 18, 0, number]),
            http_port: 80,
            icecast_port: 8000,
            version: "0".into(),
            id: String::new(),
            capacity: Capacity::default(),
            unknown: serde_json::Map::new(),
        };
        (record.name.clone(), Arc::new(record))
    };
    let snapshot =
        Snapshot { revision: 9, nodes: (1..=nodes).map(node).collect(), ..Snapshot::default() };
    let settings = ZoneSettings::new("radio.example.com", answers_max, &[]).expect("settings");
    compile(&place(&snapshot), &settings)
}

/// What userspace answers to a query.
fn userspace(query: &[u8], zone: &Zone, draw: u8) -> Vec<u8> {
    let (policy, mut reply) = (Policy::named("node1".to_owned()), Vec::new());
    let client = [198, 18, 0, 9].into();
    let asked = Asked { policy: &policy, client, draw, unix_s: 0, via: Transport::Udp };
    respond(query, zone, &asked, &mut reply).expect("a reply");
    reply
}

struct Bench {
    kernel: Kernel,
    zone: Zone,
}

impl Bench {
    fn new() -> Self {
        let addresses = [IpAddr::from(LOCAL_V4), IpAddr::from(LOCAL_V6)];
        let mut kernel = Kernel::load(&addresses).expect("the kernel program loads");
        let zone = zone(3);
        kernel.publish(&zone).expect("published");
        Self { kernel, zone }
    }

    /// Runs one frame; checks the promises that hold for every frame; gives the verdict and the frame after it.
    fn run(&mut self, why: &str, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let before = self.kernel.verdicts().expect("counters");
        let (action, out) = self.kernel.test_run(frame).expect("test run");
        let after = self.kernel.verdicts().expect("counters");
        let counted: Vec<_> =
            before.iter().zip(&after).filter(|(b, a)| a.1 == b.1 + 1).map(|(b, _)| b.0).collect();
        assert_eq!(counted.len(), 1, "{why}: one verdict counted");
        match counted[0].fate() {
            Fate::Answered => assert_eq!(action, XDP_TX, "{why}"),
            Fate::Dropped => assert_eq!(action, XDP_DROP, "{why}"),
            Fate::Passed => {
                assert_eq!(action, XDP_PASS, "{why}");
                assert!(out == frame, "{why}: a passed frame comes out as it went in");
            }
        }
        (counted[0], out)
    }

    /// Checks that the frame with `query` is answered, strictly, with what userspace answers to one of the draws.
    fn check_answered(&mut self, why: &str, frame: &[u8], query: &[u8]) {
        let (verdict, out) = self.run(why, frame);
        assert_eq!(verdict, Verdict::Answered, "{why}");
        let message = reply_message(&out);
        let decoded = Message::from_vec(&message).unwrap_or_else(|error| panic!("{why}: {error}"));
        assert_eq!(decoded.answers.len(), 3, "{why}");
        let same = (0..=255).any(|draw| userspace(query, &self.zone, draw) == message);
        assert!(same, "{why}: userspace answers the same bytes");
    }
}

/// Queries for the apex's addresses in every shape the kernel answers.
fn answered_queries() -> Vec<(&'static str, Vec<u8>)> {
    let edns = [1, 0, 0, 1];
    let cookie = [&OPT[..9], b"\x00\x0c\x00\x0a\x00\x08abcdefgh"].concat();
    let two_options = [&OPT[..9], b"\x00\x09\x00\x0b\x00\x00\xff\x00\x00\x01x"].concat();
    let small = b"\x00\x00\x29\x00\x10\x00\x00\x00\x00\x00\x00";
    let spec = QuerySpec::default;
    let mixed: &[u8] = b"\x05RaDiO\x07eXample\x03COM\x00";
    vec![
        ("plain", spec().message()),
        ("without recursion wanted", QuerySpec { flags: 0, ..spec() }.message()),
        ("checking disabled, authentic data", QuerySpec { flags: 0x0130, ..spec() }.message()),
        ("mixed case", QuerySpec { name: mixed, ..spec() }.message()),
        ("EDNS", QuerySpec { counts: edns, after: OPT, ..spec() }.message()),
        ("EDNS below the floor", QuerySpec { counts: edns, after: small, ..spec() }.message()),
        ("EDNS with a cookie", QuerySpec { counts: edns, after: &cookie, ..spec() }.message()),
        (
            "EDNS, unknown options",
            QuerySpec { counts: edns, after: &two_options, ..spec() }.message(),
        ),
    ]
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn the_apex_is_answered_as_userspace_answers_it() {
    let mut bench = Bench::new();
    for (why, query) in answered_queries() {
        bench.check_answered(&format!("{why}, IPv4"), &frame_v4(&query), &query);
        bench.check_answered(&format!("{why}, IPv6"), &frame_v6(&query), &query);
        let padded = [frame_v4(&query), vec![0; 7]].concat();
        bench.check_answered(&format!("{why}, padded frame"), &padded, &query);
    }
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn every_variant_is_drawn() {
    let mut bench = Bench::new();
    let query = QuerySpec::default().message();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..2_000 {
        seen.insert(bench.run("plain", &frame_v4(&query)).1);
    }
    assert_eq!(seen.len(), 5);
}

fn message_verdicts() -> Vec<(&'static str, Vec<u8>, Verdict)> {
    let spec = QuerySpec::default;
    let edns = [1, 0, 0, 1];
    let with_opt = |after: &'static [u8]| QuerySpec { counts: edns, after, ..spec() }.message();
    let long = [[b"\x3f".as_slice(), &[b'x'; 63]].concat(), b"\x00".to_vec()].concat();
    let response = QuerySpec { flags: 0x8100, ..spec() };
    let mut short = spec().message();
    short.truncate(16);
    let mut pointer = spec().message();
    pointer[12] = 0xc0;
    vec![
        ("a response", response.message(), Verdict::PassNotQuery),
        ("NOTIFY", QuerySpec { flags: 0x2000, ..spec() }.message(), Verdict::PassNotQuery),
        ("truncated flag", QuerySpec { flags: 0x0300, ..spec() }.message(), Verdict::PassNotQuery),
        (
            "no question",
            QuerySpec { counts: [0, 0, 0, 0], ..spec() }.message(),
            Verdict::PassNotQuery,
        ),
        (
            "two questions",
            QuerySpec { counts: [2, 0, 0, 0], ..spec() }.message(),
            Verdict::PassNotQuery,
        ),
        (
            "an answer",
            QuerySpec { counts: [1, 1, 0, 0], ..spec() }.message(),
            Verdict::PassNotQuery,
        ),
        ("bytes behind", QuerySpec { after: b"x", ..spec() }.message(), Verdict::PassNotQuery),
        ("half a question", short, Verdict::PassLength),
        ("compressed name", pointer, Verdict::PassQuestion),
        ("64-byte name", QuerySpec { name: &long, ..spec() }.message(), Verdict::PassQuestion),
        ("CHAOS", QuerySpec { qclass: 3, ..spec() }.message(), Verdict::PassQuestion),
        ("ANY", QuerySpec { qtype: 255, ..spec() }.message(), Verdict::PassNoRecord),
        (
            "other name",
            QuerySpec { name: b"\x05audio\x07example\x03com\x00", ..spec() }.message(),
            Verdict::PassNoRecord,
        ),
        ("the root", QuerySpec { name: b"\x00", ..spec() }.message(), Verdict::PassNoRecord),
        ("no OPT where one is promised", with_opt(b""), Verdict::PassEdns),
        ("EDNS version 1", with_opt(b"\0\0\x29\x04\xd0\0\x01\0\0\0\0"), Verdict::PassEdns),
        ("bytes behind OPT", with_opt(b"\0\0\x29\x04\xd0\0\0\0\0\0\0x"), Verdict::PassEdns),
        ("NSID", with_opt(b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x03\0\0"), Verdict::PassEdns),
        (
            "option over its end",
            with_opt(b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x0a\0\x09"),
            Verdict::PassEdns,
        ),
        ("TSIG instead of OPT", with_opt(b"\0\0\xfa\0\xff\0\0\0\0\0\0"), Verdict::PassEdns),
    ]
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn messages_that_the_kernel_leaves_to_userspace_pass_untouched() {
    let mut bench = Bench::new();
    for (why, message, want) in message_verdicts() {
        for frame in [frame_v4(&message), frame_v6(&message)] {
            assert_eq!(bench.run(why, &frame).0, want, "{why}");
        }
    }
}

/// A valid frame with some of its bytes replaced.
fn damaged(v6: bool, patches: &[(usize, &[u8])]) -> Vec<u8> {
    let query = QuerySpec::default().message();
    let mut frame = if v6 { frame_v6(&query) } else { frame_v4(&query) };
    for (offset, bytes) in patches {
        frame[*offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    frame
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn frames_that_are_no_dns_query_to_this_node_pass_untouched() {
    let mut bench = Bench::new();
    for (why, frame, want) in [
        ("ARP", damaged(false, &[(12, b"\x08\x06")]), Verdict::PassNotIp),
        ("VLAN tag", damaged(false, &[(12, b"\x81\x00")]), Verdict::PassNotIp),
        ("IPv4 options", damaged(false, &[(14, b"\x46")]), Verdict::PassIpHeader),
        ("more fragments", damaged(false, &[(20, b"\x20")]), Verdict::PassIpHeader),
        ("last fragment", damaged(false, &[(21, b"\x10")]), Verdict::PassIpHeader),
        ("IPv4 version 6", damaged(false, &[(14, b"\x65")]), Verdict::PassIpHeader),
        ("TCP", damaged(false, &[(23, b"\x06")]), Verdict::PassNotDns),
        ("other port", damaged(false, &[(36, b"\x00\x50")]), Verdict::PassNotDns),
        ("source port 0", damaged(false, &[(34, b"\x00\x00")]), Verdict::PassBadSource),
        ("broadcast frame", damaged(false, &[(0, &[0xff; 6])]), Verdict::PassBadSource),
        ("from multicast", damaged(false, &[(26, b"\xe0\0\0\x01")]), Verdict::PassBadSource),
        ("from loopback", damaged(false, &[(26, b"\x7f\0\0\x01")]), Verdict::PassBadSource),
        ("to another host", damaged(false, &[(33, b"\x07")]), Verdict::PassNotOurs),
        ("to address zero", damaged(false, &[(30, &[0; 4])]), Verdict::PassNotOurs),
        ("UDP length short", damaged(false, &[(38, b"\x00\x1c")]), Verdict::PassLength),
        ("UDP length long", damaged(false, &[(38, b"\x00\xff")]), Verdict::PassLength),
        (
            "IPv4 length long",
            damaged(false, &[(16, b"\x00\xff"), (38, b"\x00\xeb")]),
            Verdict::PassLength,
        ),
        ("extension header", damaged(true, &[(20, b"\x00")]), Verdict::PassNotDns),
        ("IPv6 version 4", damaged(true, &[(14, b"\x40")]), Verdict::PassIpHeader),
        ("from IPv6 multicast", damaged(true, &[(22, b"\xff\x02")]), Verdict::PassBadSource),
        ("from unspecified", damaged(true, &[(22, &[0; 16])]), Verdict::PassBadSource),
        ("to another IPv6 host", damaged(true, &[(53, b"\x07")]), Verdict::PassNotOurs),
    ] {
        assert_eq!(bench.run(why, &frame).0, want, "{why}");
    }
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn a_frame_cut_anywhere_passes_untouched() {
    let mut bench = Bench::new();
    let query = QuerySpec { counts: [1, 0, 0, 1], after: OPT, ..QuerySpec::default() }.message();
    for frame in [frame_v4(&query), frame_v6(&query)] {
        // The kernel refuses to run a program on less than an Ethernet header.
        for end in 14..frame.len() {
            let (verdict, _) = bench.run("cut", &frame[..end]);
            assert_eq!(verdict.fate(), Fate::Passed, "cut at {end}");
        }
    }
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn nothing_is_answered_before_a_zone_is_published_or_after_the_lease() {
    let frame = frame_v4(&QuerySpec::default().message());
    let mut bench = Bench::new();
    assert_eq!(bench.run("in force", &frame).0, Verdict::Answered);
    bench.kernel.end_lease().expect("ended");
    assert_eq!(bench.run("lease over", &frame).0, Verdict::PassLeaseOver);
    bench.kernel.renew_lease().expect("no error");
    assert_eq!(bench.run("ended on purpose", &frame).0, Verdict::PassLeaseOver);
    bench.kernel.publish(&zone(3)).expect("published");
    assert_eq!(bench.run("published again", &frame).0, Verdict::Answered);
    bench.kernel = Kernel::load(&[IpAddr::from(LOCAL_V4)]).expect("loads");
    assert_eq!(bench.run("no zone yet", &frame).0, Verdict::PassLeaseOver);
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn a_new_zone_replaces_the_old_one_any_number_of_times() {
    let mut bench = Bench::new();
    let query = QuerySpec::default().message();
    for answers_max in [1, 2, 3, 1, 3, 2] {
        bench.kernel.publish(&zone(answers_max)).expect("published");
        let (_, out) = bench.run("published", &frame_v4(&query));
        let decoded = Message::from_vec(&reply_message(&out)).expect("valid");
        assert_eq!(decoded.answers.len(), answers_max);
    }
}

/// The verifier gives up at a million instructions, and a program that grows to that stops loading on other kernels first.
#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn the_verifier_walks_less_than_half_of_what_it_may() {
    let verified = Bench::new().kernel.verified().expect("info");
    writeln!(std::io::stdout(), "{verified:?}").expect("printed");
    assert!((1..500_000).contains(&verified.instructions), "{verified:?}");
    assert!((1..64 * 1024).contains(&verified.bytes), "{verified:?}");
}
