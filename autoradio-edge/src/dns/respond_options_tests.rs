//! Tests of the responder's EDNS options.

use autoradio_common::cookie;

use super::*;
use crate::dns::policy::cookie_client;

#[test]
fn options_that_break_a_rule_get_formerr_with_an_opt_record() {
    let cookie = |bytes| opt(&[(10, &[7; 50][..bytes])]);
    let scope = opt(&[(8, &[0, 1, 24, 24, 192, 0, 2])]);
    let over = [&OPT[..9], b"\x00\x04\x00\x03\x00\x09"].concat();
    for (why, edns) in [
        ("an empty cookie", cookie(0)),
        ("less than a client cookie", cookie(7)),
        ("half a server cookie", cookie(9)),
        ("one byte less than a server cookie", cookie(15)),
        ("a cookie too long", cookie(41)),
        ("a client subnet with a scope", scope),
        ("an option over the end", over),
    ] {
        let query = apex_a(&edns);
        let (replied, reply) = reply(&query, Transport::Udp);
        assert_eq!(replied.rcode, rcode::FORM_ERR, "{why}");
        let question_end = query.len() - edns.len();
        assert_eq!(reply[12..question_end], query[12..question_end], "{why}");
        assert!(options_of(&reply, question_end).is_empty(), "{why}");
    }
}

#[test]
fn options_are_answered_in_one_order_and_unknown_ones_are_not() {
    let subnet: &[u8] = &[0, 2, 48, 0, 0x20, 1, 0xd, 0xb8, 0, 1];
    let edns = opt(&[(3, b""), (65_001, b"?"), (8, subnet), (12, &[0; 9]), (10, &CLIENT_COOKIE)]);
    let query = apex_a(&edns);
    let (replied, udp) = reply(&query, Transport::Udp);
    assert_eq!((replied.rcode, replied.cookie), (0, None));
    let options = options_of(&udp, query.len() - edns.len() + 16);
    let (cookie, rest) = options.split_at(28);
    assert_eq!(cookie[..12], [&[0, 10, 0, 24][..], &CLIENT_COOKIE].concat());
    assert_eq!(rest, [&[0, 8, 0, 10][..], subnet, b"\x00\x03\x00\x05node1"].concat());
}

#[test]
fn keepalive_is_told_on_tcp_only_and_to_those_who_ask() {
    let asks = apex_a(&opt(&[(11, b"")]));
    let question_and_records = asks.len() - 15 + 16;
    assert!(options_of(&reply(&asks, Transport::Udp).1, question_and_records).is_empty());
    let (_, tcp) = reply(&asks, Transport::Tcp);
    assert_eq!(options_of(&tcp, question_and_records), [0, 11, 0, 2, 0, 100], "10 s");
}

/// A whole cookie made at `made_s` for the test's client.
fn whole_cookie(made_s: u32) -> Vec<u8> {
    let stamp = cookie::stamp(made_s);
    let hash = cookie::hash(policy().cookies.current, CLIENT_COOKIE, stamp, cookie_client(CLIENT));
    [CLIENT_COOKIE, stamp, hash].concat()
}

#[test]
fn cookies_are_made_kept_and_renewed() {
    use cookie::Verified::{Fresh, Not, Old};
    let (fresh, old) = (whole_cookie(NOW_S - 10), whole_cookie(NOW_S - 3_000));
    let new = whole_cookie(NOW_S);
    let mut forged = fresh.clone();
    forged[23] ^= 1;
    for (why, given, verified, want) in [
        ("a client cookie alone", &CLIENT_COOKIE[..], None, &new),
        ("a fresh one", &fresh, Some(Fresh), &fresh),
        ("an old one", &old, Some(Old), &new),
        ("one over an hour old", &whole_cookie(NOW_S - 3_601), Some(Not), &new),
        ("a forged one", &forged, Some(Not), &new),
        ("another server's, shorter", &fresh[..16], Some(Not), &new),
        ("another server's, longer", &[&fresh[..], &[0; 16]].concat(), Some(Not), &new),
    ] {
        let edns = opt(&[(10, given)]);
        let query = apex_a(&edns);
        let (replied, reply) = reply(&query, Transport::Udp);
        assert_eq!((replied.rcode, replied.cookie), (rcode::NO_ERROR, verified), "{why}");
        assert_eq!(replied.is_verified(), matches!(verified, Some(Fresh | Old)), "{why}");
        let options = options_of(&reply, query.len() - edns.len() + 16);
        assert_eq!(options, [&[0, 10, 0, 24][..], want].concat(), "{why}");
    }
}

#[test]
fn a_server_without_secrets_does_not_know_cookies() {
    for given in [&CLIENT_COOKIE[..], &[0; 3]] {
        let edns = opt(&[(10, given)]);
        let policy = Policy { cookies: CookieKeys::default(), ..policy() };
        let (replied, reply) =
            reply_of(&apex_a(&edns), (&zone(), &policy), 0, Transport::Udp).expect("a reply");
        assert_eq!((replied.rcode, replied.cookie), (rcode::NO_ERROR, None));
        assert!(reply.ends_with(&[0, 0]), "no options");
    }
}

#[test]
fn a_cookie_may_be_asked_for_alone() {
    let (fresh, forged) = (whole_cookie(NOW_S), [7; 24]);
    for (why, given, code) in [
        ("a client cookie", &CLIENT_COOKIE[..], rcode::NO_ERROR),
        ("a valid one", &fresh, rcode::NO_ERROR),
        ("an invalid one", &forged, rcode::BAD_COOKIE),
    ] {
        let header = [0xab, 0xcd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let query = [&header[..], &opt(&[(10, given)])].concat();
        let (replied, reply) = reply(&query, Transport::Udp);
        assert_eq!(replied.rcode, code, "{why}");
        assert_eq!(reply[4..12], [0, 0, 0, 0, 0, 0, 0, 1], "{why}: OPT alone");
        assert_eq!(options_of(&reply, 12).len(), 28, "{why}");
    }
}
