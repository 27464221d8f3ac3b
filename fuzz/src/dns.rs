//! DNS: queries, and names as people write them.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use autoradio_common::cookie::{COOKIE_BYTES, CookieClient, CookieKeys, Verified, verify, words};
use autoradio_common::limits::DNS_UDP_BYTES_MAX;
use autoradio_common::wire::HEADER_BYTES;
use autoradio_edge::cluster::{
    Capacity, Master, MountRecord, NodeRecord, SCHEMA_VERSION, Snapshot,
};
use autoradio_edge::dns::{
    Answer, Asked, Lookup, Policy, Transport, WireName, Zone, ZoneSettings, compile, respond,
};
use autoradio_edge::placement::{Placement, place};
use hickory_proto::op::{Message, MessageType};
use hickory_proto::rr::Name;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::serialize::binary::DecodeError;

/// Two nodes in both families, a mount that is held and one that is not.
static PLACEMENT: LazyLock<Placement> = LazyLock::new(|| {
    let mut snapshot = Snapshot { revision: 7, ..Snapshot::default() };
    for number in 1..=2_u8 {
        let address = IpAddr::from([198, 18, 0, number]);
        let v6 = IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)]);
        let record = NodeRecord {
            schema: SCHEMA_VERSION,
            name: format!("node{number}").parse().expect("a name"),
            domain: "radio.example.com".to_owned(),
            addresses: vec![address, v6],
            peer_address: address,
            http_port: 80,
            icecast_port: 8_000,
            version: String::new(),
            id: String::new(),
            capacity: Capacity::default(),
            unknown: serde_json::Map::new(),
        };
        snapshot.nodes.insert(record.name.clone(), Arc::new(record));
    }
    for path in ["/live", "/idle"] {
        let path = path.parse().expect("a mount path");
        let record = MountRecord::new(path, "source", String::new());
        snapshot.mounts.insert(record.path.clone(), Arc::new(record));
    }
    let master = Master { node: "node2".parse().expect("a name"), epoch: 5 };
    snapshot.masters.insert("/live".parse().expect("a mount path"), master);
    place(&snapshot)
});

static ZONE: LazyLock<Zone> = LazyLock::new(|| {
    let settings = ZoneSettings::new("radio.example.com", 3, &[]).expect("settings");
    compile(&PLACEMENT, &settings)
});

/// Longest name of a zone on the wire, in bytes: the longest name below it, `<63>.source.<zone>`, is one of 255.
const APEX_BYTES_MAX: usize = 255 - 64 - 7;

/// Secrets of the cookies in `seeds/dns_query`.
const KEYS: CookieKeys = CookieKeys { current: [1, 2], other: [3, 4] };
/// Unix time of every query, in seconds.
const NOW_S: u32 = 1_559_731_985;

static POLICY: LazyLock<Policy> =
    LazyLock::new(|| Policy { cookies: KEYS, ..Policy::named("node1".to_owned()) });

/// Any message is answered with one that can be read, or not at all; a response never is.
///
/// The first byte is the draw; its lowest bit also says whether the message came by TCP.
pub(crate) fn query(data: &[u8]) {
    let Some((&draw, message)) = data.split_first() else {
        return;
    };
    let via = if draw & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    let client = IpAddr::from([198, 51, 100, 100]);
    let asked = Asked { policy: &POLICY, client, draw, unix_s: NOW_S, via };
    let mut reply = vec![0xff; 3];
    let Some(mut replied) = respond(message, &ZONE, &asked, &mut reply) else {
        let is_response = message.len() >= 4 && message[2] & 0x80 != 0;
        assert!(message.len() < HEADER_BYTES || is_response, "a question without an answer");
        return;
    };
    assert_eq!(message[2] & 0x80, 0, "a response was answered");
    check_reply(message, &reply);
    if via == Transport::Udp {
        assert!(reply.len() <= usize::from(DNS_UDP_BYTES_MAX), "{} bytes", reply.len());
    }
    if replied.may_slip() {
        replied.truncate(&mut reply);
        check_reply(message, &reply);
        assert_eq!(reply[2] & 0x02, 0x02, "truncated");
    }
}

/// Checks what holds of every reply.
fn check_reply(message: &[u8], reply: &[u8]) {
    let decoded = match Message::from_vec(reply) {
        // A client subnet of no family, echoed; legal (RFC 7871 §6), but not known there.
        Err(DecodeError::UnknownAddressFamily(0)) => return,
        decoded => decoded.expect("a reply can be read"),
    };
    assert_eq!(decoded.metadata.message_type, MessageType::Response);
    assert_eq!(reply[..2], message[..2], "the query's number");
    let questions = decoded.queries.len();
    assert!(questions <= 1, "{questions} questions");
    if questions == 1 {
        let end = HEADER_BYTES + name_bytes(&reply[HEADER_BYTES..]) + 4;
        assert_eq!(reply[HEADER_BYTES..end], message[HEADER_BYTES..end], "the question as asked");
    }
    let Some(edns) = decoded.edns else { return };
    if let Some(option) = edns.option(EdnsCode::Cookie) {
        let EdnsOption::Unknown(10, cookie) = option else {
            panic!("{option:?} in the place of a cookie");
        };
        let whole: &[u8; COOKIE_BYTES] = cookie.as_slice().try_into().expect("a whole cookie");
        let client = CookieClient::V4(u32::from_le_bytes([198, 51, 100, 100]));
        assert_eq!(verify(&KEYS, words(whole), client, NOW_S), Verified::Fresh, "a cookie of ours");
    }
}

/// Bytes of an uncompressed name at the front of `wire`.
fn name_bytes(wire: &[u8]) -> usize {
    let mut bytes = 0;
    while wire[bytes] != 0 {
        bytes += 1 + usize::from(wire[bytes]);
    }
    bytes + 1
}

/// A name that is taken fits DNS, in lower case; a zone of that name has answers that can be read.
pub(crate) fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(name) = WireName::parse(text) else {
        return;
    };
    let wire = name.as_bytes();
    assert!((1..=255).contains(&wire.len()), "{} bytes", wire.len());
    assert_eq!(name_bytes(wire), wire.len(), "labels up to the root");
    assert_eq!(WireName::from_wire(wire), name, "lower case");
    assert!(name.is_suffix_of(wire));
    let labels: Vec<&[u8]> = labels(wire).collect();
    Name::from_labels(labels).expect("a name that DNS can carry");
    // Of a longer one, or of the root, the daemon makes no zone.
    if (2..=APEX_BYTES_MAX).contains(&wire.len()) {
        let settings = ZoneSettings::new(text, 3, &[]).expect("a name that was taken");
        check_zone(&compile(&PLACEMENT, &settings));
    }
}

/// Checks that every answer of a zone can be read.
pub(crate) fn check_zone(zone: &Zone) {
    for name in zone.names.keys() {
        for rtype in [1, 28, 2, 6] {
            if let Lookup::Found(set) = zone.lookup(name.as_bytes(), rtype) {
                set.variants.iter().for_each(|answer| whole(name.as_bytes(), rtype, answer));
            }
        }
    }
}

/// Checks that an answer to this question can be read.
fn whole(name: &[u8], rtype: u16, answer: &Answer) {
    let mut message = vec![0, 0, 0x84, 0];
    for count in [1, answer.answers, answer.authorities, answer.additionals] {
        message.extend_from_slice(&count.to_be_bytes());
    }
    message.extend_from_slice(name);
    message.extend_from_slice(&rtype.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message.extend_from_slice(&answer.bytes);
    let decoded = Message::from_vec(&message).expect("an answer of the zone can be read");
    assert_eq!(decoded.answers.len(), usize::from(answer.answers));
}

fn labels(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&bytes, rest) = wire.split_first().filter(|(bytes, _)| **bytes > 0)?;
        let (label, after) = rest.split_at(usize::from(bytes));
        wire = after;
        Some(label)
    })
}
