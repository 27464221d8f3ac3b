//! What the kernel answers beyond plain addresses: every type and name of the zone, cookies, client subnets.

use autoradio_common::cookie::{self, CookieClient, CookieKeys, hash, stamp};
use autoradio_common::verdict::Verdict;
use autoradio_edge::clock;

use super::{Bench, userspace};
use crate::frames::{CLIENT_V4, CLIENT_V6, OPT, QuerySpec, frame_v4, frame_v6};
use crate::reply::reply_message;

const EDNS: [u16; 4] = [1, 0, 0, 1];
const CLIENT_COOKIE: [u8; 8] = *b"clientck";

impl Bench {
    /// The verdict on a query over IPv4, and the reply where there is one.
    pub(super) fn ask(&mut self, why: &str, query: &[u8]) -> (Verdict, Vec<u8>) {
        let (verdict, out) = self.run(why, &frame_v4(query));
        let answered = verdict.label().starts_with("answered");
        (verdict, if answered { reply_message(&out) } else { Vec::new() })
    }
}

/// A question for the apex's addresses with these options.
pub(super) fn with_options(options: &[u8]) -> Vec<u8> {
    let after = [&OPT[..9], &(options.len() as u16).to_be_bytes(), options].concat();
    QuerySpec { counts: EDNS, after: &after, ..QuerySpec::default() }.message()
}

pub(super) fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let length = data.len() as u16;
    [&code.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

/// Whether `reply` is an answer of userspace to the same question without options, with `options` in its OPT record.
fn is_answer_with(bench: &Bench, reply: &[u8], options: &[u8]) -> bool {
    let query = with_options(b"");
    (0..=255).any(|draw| {
        let plain = userspace(&query, &bench.zone, draw);
        let before = &plain[..plain.len() - 2];
        reply == [before, &(options.len() as u16).to_be_bytes(), options].concat()
    })
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn every_name_and_type_of_the_zone_is_answered_as_userspace_answers_it() {
    let mut bench = Bench::new();
    let (apex, no_data) = (Verdict::Answered, Verdict::AnsweredNoData);
    let below =
        |label: &str| [&[label.len() as u8], label.as_bytes(), crate::frames::APEX].concat();
    let (node, source) = (below("Node2"), below("source"));
    let (absent, deep) = (below("absent"), [b"\x01a\x01b".as_slice(), &below("node1")].concat());
    for (why, name, qtype, want) in [
        ("SOA of the apex", crate::frames::APEX, 6, apex),
        ("NS of the apex", crate::frames::APEX, 2, apex),
        ("AAAA where there is none", crate::frames::APEX, 28, no_data),
        ("HTTPS", crate::frames::APEX, 65, no_data),
        ("TXT", crate::frames::APEX, 16, no_data),
        ("A of a node", &node, 1, Verdict::Answered),
        ("NS of a node", &node, 2, no_data),
        ("a name between others", &source, 1, no_data),
        ("a type above the meta types", &node, 257, no_data),
        ("a name that does not exist", &absent, 1, Verdict::AnsweredNxDomain),
        ("a name below a node", &deep, 28, Verdict::AnsweredNxDomain),
    ] {
        for (after, counts) in [(b"".as_slice(), [1, 0, 0, 0]), (OPT, EDNS)] {
            let query = QuerySpec { counts, name, qtype, after, ..QuerySpec::default() }.message();
            for frame in [frame_v4(&query), frame_v6(&query)] {
                let (verdict, out) = bench.run(why, &frame);
                assert_eq!(verdict, want, "{why}");
                let message = reply_message(&out);
                let same = (0..=255).any(|draw| userspace(&query, &bench.zone, draw) == message);
                assert!(same, "{why}: {message:02x?}");
            }
        }
    }
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn questions_that_are_not_about_a_record_of_the_zone_pass() {
    let mut bench = Bench::new();
    let apex = crate::frames::APEX;
    for (why, name, qtype, want) in [
        ("type 0", apex, 0, Verdict::PassNoRecord),
        ("OPT", apex, 41, Verdict::PassNoRecord),
        ("TSIG", apex, 250, Verdict::PassNoRecord),
        ("AXFR", apex, 252, Verdict::PassNoRecord),
        ("ANY", apex, 255, Verdict::PassNoRecord),
        ("above the zone", b"\x07example\x03com\x00", 1, Verdict::PassNoRecord),
        ("ends alike", b"\x07myradio\x07example\x03com\x00", 1, Verdict::PassNoRecord),
        ("a label over the end", b"\x0dx\x05radio\x03foo.\x03com\x00", 1, Verdict::PassQuestion),
        (
            "the apex's bytes within a label",
            b"\x13x\x05radio\x07example\x03com\x00",
            1,
            Verdict::PassNoRecord,
        ),
        ("a zero within a label", b"\x05ra\x00io\x07example\x03com\x00", 1, Verdict::PassQuestion),
    ] {
        let query = QuerySpec { name, qtype, ..QuerySpec::default() }.message();
        assert_eq!(bench.ask(why, &query).0, want, "{why}");
    }
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn names_of_every_length_are_read_to_their_end() {
    let mut bench = Bench::new();
    let apex = crate::frames::APEX;
    for label_bytes in 1..=63u8 {
        let label = vec![b'X'; usize::from(label_bytes)];
        let name = [&[label_bytes], label.as_slice(), apex].concat();
        let query = QuerySpec { name: &name, ..QuerySpec::default() }.message();
        let (verdict, reply) = bench.ask("long", &query);
        if name.len() <= 63 {
            assert_eq!(verdict, Verdict::AnsweredNxDomain, "{} bytes", name.len());
            assert_eq!(reply, userspace(&query, &bench.zone, 0), "{} bytes", name.len());
        } else {
            assert_eq!(verdict, Verdict::PassQuestion, "{} bytes", name.len());
        }
    }
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn client_subnets_are_echoed_and_wrong_ones_pass() {
    let mut bench = Bench::new();
    let valid: [(&str, &[u8]); 6] = [
        ("an IPv4 /24", b"\x00\x01\x18\x00\xc0\x00\x02"),
        ("an IPv4 /20", b"\x00\x01\x14\x00\xc0\x00\x10"),
        ("an IPv4 /32", b"\x00\x01\x20\x00\xc0\x00\x02\x01"),
        ("an IPv6 /56", b"\x00\x02\x38\x00\x20\x01\x0d\xb8\x00\x00\x01"),
        ("an IPv6 /128", b"\x00\x02\x80\x00\x20\x01\x0d\xb8abcdefghijkl"),
        ("no address", b"\x00\x00\x00\x00"),
    ];
    for (why, data) in valid {
        let subnet = option(8, data);
        let (verdict, reply) = bench.ask(why, &with_options(&subnet));
        assert_eq!(verdict, Verdict::Answered, "{why}");
        assert!(is_answer_with(&bench, &reply, &subnet), "{why}: {reply:02x?}");
        let query = with_options(&subnet);
        let (_, out) = bench.run(why, &frame_v6(&query));
        assert!(is_answer_with(&bench, &reply_message(&out), &subnet), "{why} over IPv6");
    }
    let wrong: [(&str, &[u8]); 7] = [
        ("too short", b"\x00\x01\x00"),
        ("a scope", b"\x00\x01\x18\x18\xc0\x00\x02"),
        ("an IPv4 /33", b"\x00\x01\x21\x00\xc0\x00\x02\x01\x00"),
        ("an address too long", b"\x00\x01\x18\x00\xc0\x00\x02\x00"),
        ("spare bits set", b"\x00\x01\x14\x00\xc0\x00\x11"),
        ("an unknown family", b"\x00\x03\x08\x00\x01"),
        ("family 0 with an address", b"\x00\x00\x08\x00\x01"),
    ];
    for (why, data) in wrong {
        assert_eq!(bench.ask(why, &with_options(&option(8, data))).0, Verdict::PassEdns, "{why}");
    }
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn of_two_subnets_the_first_counts_and_unknown_options_are_ignored() {
    let mut bench = Bench::new();
    let first = option(8, b"\x00\x01\x18\x00\xc0\x00\x02");
    let second = option(8, b"\x00\x01\x21\x00");
    let (keep_alive, unknown) = (option(11, b""), option(65_001, b"abc"));
    let options = [unknown.clone(), first.clone(), keep_alive, second].concat();
    let (_, reply) = bench.ask("two subnets", &with_options(&options));
    assert!(is_answer_with(&bench, &reply, &first), "{reply:02x?}");
    for (count, want) in [(8, Verdict::Answered), (9, Verdict::PassEdns)] {
        let query = with_options(&unknown.repeat(count));
        assert_eq!(bench.ask("many options", &query).0, want, "{count} options");
    }
    let padded = [first, option(12, &[0; 8])].concat();
    assert_eq!(bench.ask("padding", &with_options(&padded)).0, Verdict::PassEdns);
}

pub(super) fn keys(current: u8, other: u8) -> CookieKeys {
    CookieKeys { current: CookieKeys::key([current; 16]), other: CookieKeys::key([other; 16]) }
}

/// A whole cookie of the client made with key `key`, so many seconds ago.
pub(super) fn cookie(key: u8, client: CookieClient, age_s: u32) -> Vec<u8> {
    let stamp = stamp(clock::unix_s() as u32 - age_s);
    let hash = hash(CookieKeys::key([key; 16]), CLIENT_COOKIE, stamp, client);
    [CLIENT_COOKIE, stamp, hash].concat()
}

pub(super) const V4: CookieClient = CookieClient::V4(u32::from_le_bytes(CLIENT_V4));

/// The cookie in a reply to [`with_options`].
fn cookie_of(reply: &[u8]) -> &[u8] {
    let option = &reply[reply.len() - 28..];
    assert_eq!(option[..4], [0, 10, 0, 24], "a cookie of 24 bytes ends the reply");
    &option[4..]
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn cookies_are_echoed_while_fresh_and_made_anew_otherwise() {
    let mut bench = Bench::new();
    bench.kernel.set_cookies(keys(1, 2)).expect("set");
    let (fresh, old) = (cookie(1, V4, 60), cookie(1, V4, 2_000));
    let long = [CLIENT_COOKIE.as_slice(), &[7; 32]].concat();
    for (why, given, same) in [
        ("fresh", fresh.clone(), true),
        ("old", old, false),
        ("over an hour old", cookie(1, V4, 4_000), false),
        ("made with the other key", cookie(2, V4, 60), false),
        ("made with an unknown key", cookie(3, V4, 60), false),
        ("another client's", cookie(1, CookieClient::V4(1), 60), false),
        ("the client's alone", CLIENT_COOKIE.to_vec(), false),
        ("of another server, longer", long, false),
    ] {
        let (verdict, reply) = bench.ask(why, &with_options(&option(10, &given)));
        assert_eq!(verdict, Verdict::Answered, "{why}");
        let back = cookie_of(&reply).to_vec();
        assert_eq!(back == given, same, "{why}");
        assert!(is_answer_with(&bench, &reply, &option(10, &back)), "{why}: {reply:02x?}");
        let now_s = clock::unix_s() as u32;
        let words = cookie::words(back.as_slice().try_into().expect("24 bytes"));
        let verified = cookie::verify(&keys(1, 0), words, V4, now_s);
        assert_eq!(verified, cookie::Verified::Fresh, "{why}");
    }
    let subnet = option(8, b"\x00\x01\x14\x00\xc0\x00\x10");
    let both = [subnet.clone(), option(10, &fresh)].concat();
    let (_, reply) = bench.ask("both", &with_options(&both));
    let want = [option(10, &fresh), subnet].concat();
    assert!(is_answer_with(&bench, &reply, &want), "the cookie comes first: {reply:02x?}");
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn cookies_hold_over_ipv6_too() {
    let mut bench = Bench::new();
    bench.kernel.set_cookies(keys(1, 0)).expect("set");
    let words =
        [0, 8].map(|at| u64::from_le_bytes(CLIENT_V6[at..at + 8].try_into().expect("eight bytes")));
    let fresh = option(10, &cookie(1, CookieClient::V6(words), 60));
    let (_, out) = bench.run("IPv6", &frame_v6(&with_options(&fresh)));
    assert!(is_answer_with(&bench, &reply_message(&out), &fresh));
}

#[test]
#[ignore = "needs root and the kernel program: cargo xtask test"]
fn malformed_cookies_pass_and_without_keys_cookies_are_ignored() {
    let mut bench = Bench::new();
    let (_, reply) = bench.ask("no keys", &with_options(&option(10, &CLIENT_COOKIE)));
    assert!(is_answer_with(&bench, &reply, b""), "{reply:02x?}");
    bench.kernel.set_cookies(keys(1, 0)).expect("set");
    for bytes in (0..=42).filter(|bytes| *bytes != 8 && !(16..=40).contains(bytes)) {
        let query = with_options(&option(10, &vec![1; bytes]));
        assert_eq!(bench.ask("length", &query).0, Verdict::PassEdns, "{bytes} bytes");
    }
}
