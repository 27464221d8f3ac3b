//! Tests of the responder: every reply is read back with hickory-proto.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use proptest::prelude::*;

use super::*;
use crate::dns::{ZoneSettings, compile};
use crate::placement::place;
use crate::placement::tests::one_node_snapshot;

fn zone() -> Zone {
    let settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("settings");
    compile(&place(&one_node_snapshot()), &settings)
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

const OPT: &[u8] = b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00";

fn answer(message: &[u8]) -> Message {
    let reply = respond(message, &zone(), "node1", 0, Transport::Udp).expect("a reply");
    Message::from_vec(&reply.bytes).expect("hickory reads it")
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
        ("AXFR", "radio.example.com", 252, 1, ResponseCode::Refused, false, 0),
    ] {
        let query = query(name, qtype, qclass, OPT);
        let reply = answer(&query);
        assert_eq!(reply.metadata.response_code, code, "{why}");
        assert_eq!(reply.metadata.authoritative, authoritative, "{why}");
        assert_eq!(reply.answers.len(), answers, "{why}");
        assert_eq!(reply.metadata.id, 0xabcd, "{why}");
        assert!(reply.edns.is_some(), "{why}");
        let bytes = respond(&query, &zone(), "node1", 0, Transport::Udp).expect("a reply").bytes;
        let question_end = query.len() - OPT.len();
        assert_eq!(bytes[12..question_end], query[12..question_end], "{why}: question echoed");
    }
}

#[test]
fn the_apex_answer_is_the_nodes_address() {
    let reply = answer(&query("radio.example.com", 1, 1, b""));
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
    let mut response = query("radio.example.com", 1, 1, b"");
    response[2] |= 0x80;
    for (why, message) in [("a response", response), ("half a header", vec![0; 11])] {
        assert_eq!(respond(&message, &zone(), "node1", 0, Transport::Udp), None, "{why}");
    }
}

#[test]
fn what_cannot_be_read_gets_formerr_and_other_operations_notimp() {
    let mut notify = query("radio.example.com", 6, 1, b"");
    notify[2] = 0x20;
    let mut garbage = query("radio.example.com", 1, 1, b"");
    garbage.push(7);
    for (why, message, code) in
        [("NOTIFY", notify, ResponseCode::NotImp), ("garbage", garbage, ResponseCode::FormErr)]
    {
        assert_eq!(answer(&message).metadata.response_code, code, "{why}");
    }
}

#[test]
fn another_edns_version_gets_badvers() {
    let reply = answer(&query("radio.example.com", 1, 1, b"\0\0\x29\x10\0\0\x01\0\0\0\0"));
    // The code is BADVERS in a reply and BADSIG in a TSIG record (RFC 6895 §2.3); hickory calls both by one name.
    assert_eq!(u16::from(reply.metadata.response_code), rcode::BAD_VERS);
}

#[test]
fn a_server_that_is_asked_for_its_name_says_it() {
    let query = query("radio.example.com", 1, 1, b"\0\0\x29\x10\0\0\0\0\0\0\x04\0\x03\0\0");
    let reply = respond(&query, &zone(), "node1", 0, Transport::Udp).expect("a reply");
    assert!(reply.bytes.ends_with(b"\x00\x03\x00\x05node1"));
}

#[test]
fn udp_reply_stays_within_512_and_1232_bytes() {
    let edns = |udp_bytes| Some(Edns { udp_bytes, version: 0, nsid: false });
    for (why, edns, want) in [
        ("no OPT record", None, 512),
        ("OPT below the RFC floor", edns(100), 512),
        ("huge claim is capped", edns(4096), 1232),
    ] {
        assert_eq!(udp_reply_bytes_max(edns), want, "{why}");
    }
}

#[test]
fn an_answer_over_the_clients_size_is_truncated_on_udp_and_whole_on_tcp() {
    let mut zone = zone();
    let apex = zone.apex.clone();
    let mut big = Answer::default();
    for _ in 0..40 {
        let address = "198.18.0.9".parse().expect("address");
        crate::dns::record::push_address(
            &mut big.bytes,
            crate::dns::record::Owner::Question,
            10,
            address,
        );
        big.answers += 1;
    }
    zone.names.entry(apex).or_default().a = Some(crate::dns::RecordSet::fixed(big).into());
    let query = query("radio.example.com", 1, 1, b"");
    let over = |via| {
        let reply = respond(&query, &zone, "node1", 0, via).expect("a reply");
        Message::from_vec(&reply.bytes).expect("valid")
    };
    let udp = over(Transport::Udp);
    assert!(udp.metadata.truncation && udp.answers.is_empty());
    assert_eq!(over(Transport::Tcp).answers.len(), 40);
}

proptest! {
    #[test]
    fn no_message_makes_the_responder_panic_or_reply_with_nonsense(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        flip in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let zone = zone();
        let mut near = query("radio.example.com", 1, 1, OPT);
        let index = flip.index(near.len());
        near[index] = value;
        for message in [bytes, near] {
            if let Some(reply) = respond(&message, &zone, "node1", 3, Transport::Udp) {
                prop_assert!(Message::from_vec(&reply.bytes).is_ok());
            }
        }
    }
}
