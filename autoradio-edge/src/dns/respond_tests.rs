//! Tests of the responder: every reply is read back with hickory-proto.

use std::net::IpAddr;

use autoradio_common::cookie::CookieKeys;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use proptest::prelude::*;

use super::*;
use crate::dns::policy::{Policy, Select};
use crate::dns::{RecordSet, ZoneSettings, compile};
use crate::placement::place;
use crate::placement::tests::one_node_snapshot;

#[path = "respond_options_tests.rs"]
mod options;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 100));
const NOW_S: u32 = 1_559_731_985;
const CLIENT_COOKIE: [u8; 8] = *b"abcdefgh";

fn zone() -> Zone {
    let settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("settings");
    compile(&place(&one_node_snapshot()), &settings)
}

fn policy() -> Policy {
    let cookies = CookieKeys { current: CookieKeys::key(*b"0123456789abcdef"), other: [0; 2] };
    Policy { cookies, ..Policy::named("node1".to_owned()) }
}

/// A query with this name, type and class; `edns` is appended as the only additional record.
fn query(name: &str, qtype: u16, qclass: u16, edns: &[u8]) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0x01, 0x10, 0, 1, 0, 0, 0, 0, 0, u8::from(!edns.is_empty())];
    for label in &Name::from_ascii(name).expect("name") {
        message.push(label.len() as u8);
        message.extend_from_slice(label);
    }
    message.push(0);
    message.extend_from_slice(&qtype.to_be_bytes());
    message.extend_from_slice(&qclass.to_be_bytes());
    message.extend_from_slice(edns);
    message
}

fn apex_a(edns: &[u8]) -> Vec<u8> {
    query("radio.example.com", 1, 1, edns)
}

const OPT: &[u8] = b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00";

/// An OPT record with these options.
fn opt(options: &[(u16, &[u8])]) -> Vec<u8> {
    let rdata: Vec<u8> = options
        .iter()
        .flat_map(|(code, data)| {
            [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
        })
        .collect();
    [&OPT[..9], &(rdata.len() as u16).to_be_bytes(), &rdata].concat()
}

/// The reply of `zone` by `policy`, read strictly.
fn reply_of(
    message: &[u8],
    (zone, policy): (&Zone, &Policy),
    draw: u8,
    via: Transport,
) -> Option<(Replied, Vec<u8>)> {
    let mut out = b"what was there before".to_vec();
    let asked = Asked { policy, client: CLIENT, draw, unix_s: NOW_S, via };
    let replied = respond(message, zone, &asked, &mut out)?;
    Message::from_vec(&out).expect("hickory reads it");
    Some((replied, out))
}

fn reply(message: &[u8], via: Transport) -> (Replied, Vec<u8>) {
    reply_of(message, (&zone(), &policy()), 0, via).expect("a reply")
}

fn answer(message: &[u8]) -> Message {
    Message::from_vec(&reply(message, Transport::Udp).1).expect("hickory reads it")
}

/// The options of a reply whose last record is an OPT record.
fn options_of(reply: &[u8], question_and_records: usize) -> &[u8] {
    let opt = &reply[question_and_records..];
    assert_eq!(opt[..5], [0, 0, 41, 0x04, 0xd0], "the root, OPT, our size");
    let (length, options) = opt[9..].split_at(2);
    assert_eq!(usize::from(u16::from_be_bytes([length[0], length[1]])), options.len());
    options
}

#[test]
fn replies_carry_the_right_code_and_authority() {
    for (why, name, qtype, qclass, code, authoritative, answers) in [
        ("apex", "radio.example.com", 1, 1, ResponseCode::NoError, true, 1),
        ("case is echoed", "RaDiO.example.COM", 1, 1, ResponseCode::NoError, true, 1),
        ("a node", "node1.radio.example.com", 1, 1, ResponseCode::NoError, true, 1),
        ("no data", "radio.example.com", 65, 1, ResponseCode::NoError, true, 0),
        ("no name", "nope.radio.example.com", 1, 1, ResponseCode::NXDomain, true, 0),
        ("ANY is minimal", "radio.example.com", 255, 1, ResponseCode::NoError, true, 1),
        ("outside", "example.com", 1, 1, ResponseCode::Refused, false, 0),
        ("CHAOS", "version.bind", 16, 3, ResponseCode::Refused, false, 0),
        ("any class", "radio.example.com", 1, 255, ResponseCode::Refused, false, 0),
        ("AXFR", "radio.example.com", 252, 1, ResponseCode::Refused, false, 0),
        ("IXFR", "radio.example.com", 251, 1, ResponseCode::Refused, false, 0),
        ("type 0", "radio.example.com", 0, 1, ResponseCode::NotImp, false, 0),
        ("OPT", "radio.example.com", 41, 1, ResponseCode::NotImp, false, 0),
        ("MAILA", "radio.example.com", 254, 1, ResponseCode::NotImp, false, 0),
        ("TSIG", "radio.example.com", 250, 1, ResponseCode::NotImp, false, 0),
        (
            "the first that is no record's",
            "radio.example.com",
            128,
            1,
            ResponseCode::NotImp,
            false,
            0,
        ),
        (
            "the last that is a record's",
            "radio.example.com",
            127,
            1,
            ResponseCode::NoError,
            true,
            0,
        ),
    ] {
        let query = query(name, qtype, qclass, OPT);
        let reply = answer(&query);
        assert_eq!(reply.metadata.response_code, code, "{why}");
        assert_eq!(reply.metadata.authoritative, authoritative, "{why}");
        assert_eq!(reply.answers.len(), answers, "{why}");
        assert_eq!(reply.metadata.id, 0xabcd, "{why}");
        assert!(reply.edns.is_some(), "{why}");
        let bytes = self::reply(&query, Transport::Udp).1;
        let question_end = query.len() - OPT.len();
        assert_eq!(bytes[12..question_end], query[12..question_end], "{why}: question echoed");
    }
}

#[test]
fn the_apex_answer_is_the_nodes_address() {
    let reply = answer(&apex_a(b""));
    assert!(reply.edns.is_none(), "no OPT without OPT in the query");
    assert_eq!(reply.answers[0].record_type(), RecordType::A);
    let RData::A(address) = reply.answers[0].data else { panic!("{:?}", reply.answers[0]) };
    assert_eq!(address.0.octets(), [198, 18, 0, 1]);
}

#[test]
fn negative_answers_carry_the_soa() {
    for name in ["radio.example.com", "nope.radio.example.com"] {
        let reply = answer(&query(name, 65, 1, b""));
        assert_eq!(reply.authorities[0].record_type(), RecordType::SOA, "{name}");
    }
}

#[test]
fn what_must_not_be_answered_is_not() {
    let mut response = apex_a(b"");
    response[2] |= 0x80;
    for (why, message) in [("a response", response), ("half a header", vec![0; 11])] {
        let reply = reply_of(&message, (&zone(), &policy()), 0, Transport::Udp);
        assert_eq!(reply, None, "{why}");
    }
}

#[test]
fn what_cannot_be_read_gets_formerr_and_other_operations_notimp() {
    let mut notify = query("radio.example.com", 6, 1, OPT);
    notify[2] = 0x20;
    let mut update_cut = query("radio.example.com", 6, 1, b"");
    update_cut[2] = 0x28;
    update_cut.pop();
    let mut garbage = apex_a(b"");
    garbage.push(7);
    let no_question = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0].to_vec();
    for (why, message, code, has_question) in [
        ("NOTIFY", notify, ResponseCode::NotImp, true),
        ("half an UPDATE", update_cut, ResponseCode::NotImp, false),
        ("garbage", garbage, ResponseCode::FormErr, false),
        ("no question and no cookie", no_question, ResponseCode::FormErr, false),
    ] {
        let bytes = self::reply(&message, Transport::Udp).1;
        assert_eq!(bytes[2], message[2] | 0x80, "{why}: the operation is echoed");
        let reply = Message::from_vec(&bytes).expect("valid");
        assert_eq!(reply.metadata.response_code, code, "{why}");
        assert_eq!(reply.queries.len(), usize::from(has_question), "{why}");
    }
}

#[test]
fn another_edns_version_gets_badvers_whatever_its_options_are() {
    for rest in [&b"\0\0"[..], b"\0\x03\0\x03\0", b"\0\x04\0\x03\0\0"] {
        let edns = [b"\0\0\x29\x10\0\0\x01\0\0", rest].concat();
        let reply = answer(&apex_a(&edns));
        // BADVERS in a reply is BADSIG in a TSIG record (RFC 6895 §2.3); hickory calls both by one name.
        assert_eq!(u16::from(reply.metadata.response_code), rcode::BAD_VERS);
    }
}

#[test]
fn udp_reply_stays_within_512_and_1232_bytes() {
    for (why, edns_bytes, want) in [
        ("no OPT record", None, 512),
        ("OPT below the RFC floor", Some(100), 512),
        ("huge claim is capped", Some(4096), 1232),
    ] {
        assert_eq!(udp_reply_bytes_max(edns_bytes), want, "{why}");
    }
}

/// A zone whose apex has so many addresses.
fn zone_of(addresses: u16) -> Zone {
    let mut zone = zone();
    let mut big = Answer { answers: addresses, ..Answer::default() };
    for _ in 0..addresses {
        let owner = crate::dns::record::Owner::Question;
        crate::dns::record::push_address(&mut big.bytes, owner, 10, [198, 18, 0, 9].into());
    }
    let apex = zone.apex.clone();
    zone.names.entry(apex).or_default().a = Some(RecordSet::fixed(big).into());
    zone
}

#[test]
fn an_answer_over_the_clients_size_is_truncated_on_udp_and_whole_on_tcp() {
    let over = |via, edns: &[u8]| {
        let zone = zone_of(90);
        let (_, reply) = reply_of(&apex_a(edns), (&zone, &policy()), 0, via).expect("a reply");
        Message::from_vec(&reply).expect("valid")
    };
    for edns in [b"".as_slice(), OPT] {
        let udp = over(Transport::Udp, edns);
        assert!(udp.metadata.truncation && udp.metadata.authoritative && udp.answers.is_empty());
        assert_eq!(udp.edns.is_some(), !edns.is_empty(), "OPT is kept");
        assert_eq!(over(Transport::Tcp, edns).answers.len(), 90);
    }
}

#[test]
fn the_options_of_the_reply_count_for_its_size() {
    // 12 + 23 + 29 × 16 + 11 = 510 bytes with a bare OPT record.
    let (zone, mut edns) = (zone_of(29), opt(&[(10, &CLIENT_COOKIE)]));
    let is_truncated = |edns: &[u8]| {
        let reply = reply_of(&apex_a(edns), (&zone, &policy()), 0, Transport::Udp);
        reply.expect("a reply").1[2] & 2 != 0
    };
    let mut bare = OPT.to_vec();
    bare[3..5].copy_from_slice(&[2, 0]);
    edns[3..5].copy_from_slice(&[2, 0]);
    assert!(!is_truncated(&bare));
    assert!(is_truncated(&edns));
}

#[test]
fn a_reply_that_slips_keeps_authority_and_options_but_neither_records_nor_code() {
    let edns = opt(&[(10, &CLIENT_COOKIE)]);
    for name in ["radio.example.com", "nope.radio.example.com"] {
        let query = query(name, 1, 1, &edns);
        let (mut replied, mut reply) = reply(&query, Transport::Udp);
        assert!(replied.may_slip());
        let question_end = query.len() - edns.len();
        replied.truncate(&mut reply);
        assert_eq!(reply[2..4], [0x87, 0x10], "QR, AA, TC, RD; CD");
        assert_eq!(reply[4..12], [0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(options_of(&reply, question_end).len(), 28);
        assert_eq!(replied.rcode, rcode::NO_ERROR);
        let once = reply.clone();
        replied.truncate(&mut reply);
        assert_eq!(reply, once, "there is nothing more to take out");
    }
    let (replied, _) = reply(&query("example.com", 1, 1, b""), Transport::Udp);
    assert!(!replied.may_slip(), "REFUSED");
}

#[test]
fn a_sticky_draw_follows_the_clients_prefix_and_a_random_one_the_draw() {
    let mut zone = zone();
    let variants = (0..=255).map(|number| Answer { answers: number, ..Answer::default() });
    let slots = Box::new(std::array::from_fn(|slot| slot as u8));
    let set = RecordSet { variants: variants.collect(), slots };
    let apex = zone.apex.clone();
    zone.names.entry(apex).or_default().a = Some(set.into());
    let drawn = |select, client: [u8; 4], draw| {
        let policy = Policy { select, ..policy() };
        let via = Transport::Tcp;
        let asked = Asked { policy: &policy, client: client.into(), draw, unix_s: 0, via };
        let mut out = Vec::new();
        respond(&apex_a(b""), &zone, &asked, &mut out).expect("a reply");
        out[7]
    };
    assert_eq!(drawn(Select::Random, [192, 0, 2, 1], 77), 77);
    let sticky = autoradio_common::prefix::sticky_draw((1 << 56) | 0x00c0_0002);
    assert_eq!(drawn(Select::Sticky, [192, 0, 2, 1], 77), sticky);
    assert_eq!(drawn(Select::Sticky, [192, 0, 2, 250], 78), sticky);
}

#[test]
fn the_longest_name_with_every_option_still_fits_512_bytes_without_records() {
    let name = format!("{}.radio.example.com", ["x".repeat(60).as_str(); 3].join("."));
    let subnet = [&[0, 2, 128, 0][..], &[9; 16]].concat();
    let edns = opt(&[(3, b""), (8, &subnet), (10, &CLIENT_COOKIE)]);
    let policy = Policy { node: "n".repeat(63), ..policy() };
    let reply = reply_of(&query(&name, 1, 1, &edns), (&zone(), &policy), 0, Transport::Udp);
    let (mut replied, mut reply) = reply.expect("a reply");
    replied.truncate(&mut reply);
    assert!(reply.len() + 255 - 202 <= 512, "{}", reply.len());
}

proptest! {
    #[test]
    fn no_message_makes_the_responder_panic_or_reply_with_nonsense(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        options in prop::collection::vec((0u16..14, prop::collection::vec(any::<u8>(), 0..45)), 0..5),
        flip in any::<prop::sample::Index>(),
        value in any::<u8>(),
        draw in any::<u8>(),
    ) {
        let (zone, policy) = (zone(), policy());
        let options: Vec<_> = options.iter().map(|(code, data)| (*code, data.as_slice())).collect();
        let with_options = apex_a(&opt(&options));
        let mut near = with_options.clone();
        let index = flip.index(near.len());
        near[index] = value;
        for message in [bytes, with_options, near] {
            for via in [Transport::Udp, Transport::Tcp] {
                // `reply_of` reads the reply strictly.
                if let Some((mut replied, mut reply)) = reply_of(&message, (&zone, &policy), draw, via) {
                    prop_assert_eq!(&reply[..2], &message[..2]);
                    if via == Transport::Udp {
                        prop_assert!(reply.len() <= 1_232);
                    }
                    replied.truncate(&mut reply);
                    prop_assert!(Message::from_vec(&reply).is_ok());
                }
            }
        }
    }
}
