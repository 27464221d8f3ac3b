//! The options of EDNS: which of a query's are understood, and those of the reply. Pure; never panics on any bytes.

use std::net::IpAddr;

use autoradio_common::cookie::{
    self, CLIENT_COOKIE_BYTES, COOKIE_BYTES, CookieKeys, OPTION_COOKIE, Verified,
    WHOLE_COOKIE_BYTES,
};
use autoradio_common::limits::DNS_TCP_IDLE_MS;
use autoradio_common::wire::OPT_RECORD;

use super::policy::{Asked, Transport, cookie_client};
use super::query::{Malformed, Reader};

/// Name of the server (RFC 5001 §2.1).
const OPTION_NSID: u16 = 3;
/// Client subnet (RFC 7871 §6).
const OPTION_SUBNET: u16 = 8;
/// How long an idle connection may last (RFC 7828 §3.1).
const OPTION_KEEPALIVE: u16 = 11;

/// Families of client subnets, and the bits of their addresses (RFC 7871 §6).
const SUBNET_FAMILIES: [(u16, u8); 3] = [(0, 0), (1, 32), (2, 128)];

/// What a query's options ask for. Of several of one kind the first counts; kinds not named here are ignored, as RFC 6891
/// §6.1.2 demands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// The cookie, whatever its length.
    pub cookie: Option<&'a [u8]>,
    /// The client subnet, checked.
    pub subnet: Option<&'a [u8]>,
    /// The client wants to know which server this is.
    pub nsid: bool,
    /// The client wants to know how long its connection may be idle.
    pub keepalive: bool,
}

impl<'a> Options<'a> {
    /// Reads the data of an OPT record.
    pub fn read(rdata: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(rdata);
        let mut options = Self::default();
        while !reader.is_at_end() {
            let (code, bytes) = (reader.word()?, reader.word()?);
            let data = reader.take(usize::from(bytes))?;
            match code {
                OPTION_COOKIE if options.cookie.is_none() => options.cookie = Some(data),
                OPTION_SUBNET if options.subnet.is_none() => options.subnet = Some(subnet(data)?),
                OPTION_NSID => options.nsid = true,
                OPTION_KEEPALIVE => options.keepalive |= data.is_empty(),
                _ => {}
            }
        }
        Ok(options)
    }
}

/// Checks a client subnet (RFC 7871 §6, §7.1.1): known family, no scope yet, as many address bytes as the prefix needs,
/// and no bits beyond the prefix.
fn subnet(data: &[u8]) -> Result<&[u8], Malformed> {
    let &[family_high, family_low, source, scope, ref address @ ..] = data else {
        return Err(Malformed);
    };
    let family = u16::from_be_bytes([family_high, family_low]);
    let known = SUBNET_FAMILIES.iter().find(|(number, _)| *number == family);
    let in_range = known.is_some_and(|(_, bits)| source <= *bits);
    if !in_range || scope != 0 || address.len() != usize::from(source).div_ceil(8) {
        return Err(Malformed);
    }
    let spare_bits = 8 * address.len() - usize::from(source);
    let spare = address.last().is_some_and(|last| last.trailing_zeros() < spare_bits as u32);
    if spare { Err(Malformed) } else { Ok(data) }
}

/// The options of one reply.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReplyOptions<'a> {
    cookie: Option<[u8; COOKIE_BYTES]>,
    /// What the query's server cookie is worth; `None` without one.
    pub(super) verified: Option<Verified>,
    subnet: Option<&'a [u8]>,
    nsid: Option<&'a str>,
    keepalive: bool,
}

impl<'a> ReplyOptions<'a> {
    /// What is said to `options`, or that a cookie is malformed.
    pub(super) fn to(options: &Options<'a>, asked: &Asked<'a>) -> Result<Self, Malformed> {
        // A server without secrets does not know the option, however it looks (RFC 6891 §6.1.2).
        let cookie = options.cookie.filter(|_| asked.policy.cookies.are_set());
        let (cookie, verified) = match cookie {
            Some(given) => {
                let (made, verified) =
                    reply_cookie(&asked.policy.cookies, given, asked.client, asked.unix_s)?;
                (Some(made), verified)
            }
            None => (None, None),
        };
        let nsid = options.nsid.then_some(asked.policy.node.as_str());
        let keepalive = options.keepalive && asked.via == Transport::Tcp;
        Ok(Self { cookie, verified, subnet: options.subnet, nsid, keepalive })
    }

    /// Whether the reply has a cookie.
    pub(super) fn has_cookie(&self) -> bool {
        self.cookie.is_some()
    }

    /// Appends the OPT record with `rcode`'s upper bits.
    pub(super) fn write(&self, rcode: u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&OPT_RECORD);
        if let Some(cookie) = &self.cookie {
            push(out, OPTION_COOKIE, cookie);
        }
        if let Some(subnet) = self.subnet {
            push(out, OPTION_SUBNET, subnet);
        }
        if let Some(node) = self.nsid {
            push(out, OPTION_NSID, node.as_bytes());
        }
        if self.keepalive {
            const IDLE_100_MS: u16 = (DNS_TCP_IDLE_MS / 100) as u16;
            push(out, OPTION_KEEPALIVE, &IDLE_100_MS.to_be_bytes());
        }
        let rdata_bytes = (out.len() - start - OPT_RECORD.len()) as u16;
        out[start + 5] = (rcode >> 4) as u8;
        out[start + 9..start + 11].copy_from_slice(&rdata_bytes.to_be_bytes());
    }
}

fn push(out: &mut Vec<u8>, code: u16, data: &[u8]) {
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

/// The cookie given back, and what the server cookie that came is worth (RFC 7873 §5.2, RFC 9018 §4.3).
fn reply_cookie(
    keys: &CookieKeys,
    given: &[u8],
    client: IpAddr,
    unix_s: u32,
) -> Result<([u8; COOKIE_BYTES], Option<Verified>), Malformed> {
    let client_only = given.len() == CLIENT_COOKIE_BYTES;
    if !client_only && !WHOLE_COOKIE_BYTES.contains(&given.len()) {
        return Err(Malformed);
    }
    let client = cookie_client(client);
    if let Ok(whole) = given.try_into() {
        let verified = cookie::verify(keys, cookie::words(whole), client, unix_s);
        if verified == Verified::Fresh {
            return Ok((*whole, Some(verified)));
        }
        return Ok((new_cookie(keys, given, client, unix_s), Some(verified)));
    }
    let verified = (!client_only).then_some(Verified::Not);
    Ok((new_cookie(keys, given, client, unix_s), verified))
}

/// The client's half of `given`, 8 bytes at least, with a server cookie made now.
fn new_cookie(
    keys: &CookieKeys,
    given: &[u8],
    client: cookie::CookieClient,
    unix_s: u32,
) -> [u8; COOKIE_BYTES] {
    let mut client_cookie = [0; CLIENT_COOKIE_BYTES];
    client_cookie.copy_from_slice(&given[..CLIENT_COOKIE_BYTES]);
    let stamp = cookie::stamp(unix_s);
    let hash = cookie::hash(keys.current, client_cookie, stamp, client);
    let mut made = [0; COOKIE_BYTES];
    made[..8].copy_from_slice(&client_cookie);
    made[8..16].copy_from_slice(&stamp);
    made[16..].copy_from_slice(&hash);
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn option(code: u16, data: &[u8]) -> Vec<u8> {
        let mut option = Vec::new();
        push(&mut option, code, data);
        option
    }

    #[test]
    fn the_first_of_each_kind_counts_and_unknown_kinds_are_ignored() {
        let rdata = [
            option(65_001, b"what"),
            option(OPTION_COOKIE, b"first---"),
            option(OPTION_COOKIE, b"x"),
            option(OPTION_SUBNET, &[0, 1, 24, 0, 192, 0, 2]),
            option(OPTION_SUBNET, b"nonsense"),
            option(OPTION_NSID, b""),
            option(12, &[0; 30]),
        ]
        .concat();
        let options = Options::read(&rdata).expect("well-formed");
        assert_eq!(options.cookie, Some(b"first---".as_slice()));
        assert_eq!(options.subnet, Some([0, 1, 24, 0, 192, 0, 2].as_slice()));
        assert!(options.nsid && !options.keepalive);
    }

    #[test]
    fn options_over_the_end_are_malformed() {
        for rdata in
            [&b"\x00"[..], b"\x00\x03\x00", b"\x00\x03\x00\x01", b"\x00\x0a\x00\x09abcdefgh"]
        {
            assert_eq!(Options::read(rdata), Err(Malformed), "{rdata:?}");
        }
    }

    #[test]
    fn a_client_subnet_is_taken_as_rfc_7871_has_it_or_not_at_all() {
        for (why, data, want) in [
            ("IPv4 /24", &[0, 1, 24, 0, 192, 0, 2][..], true),
            ("IPv4 /32", &[0, 1, 32, 0, 192, 0, 2, 1], true),
            ("IPv4 /20 with its spare bits zero", &[0, 1, 20, 0, 192, 0, 0x20], true),
            ("IPv4 /0: the client wants none used", &[0, 1, 0, 0], true),
            ("IPv6 /56", &[0, 2, 56, 0, 0x20, 1, 0xd, 0xb8, 0, 1, 2], true),
            ("no family, no address", &[0, 0, 0, 0], true),
            ("no family, an address", &[0, 0, 8, 0, 1], false),
            ("an unknown family", &[0, 3, 0, 0], false),
            ("a scope in a query", &[0, 1, 24, 24, 192, 0, 2], false),
            ("IPv4 /33", &[0, 1, 33, 0, 192, 0, 2, 1, 0], false),
            (
                "IPv6 /129",
                &[0, 2, 129, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                false,
            ),
            ("too few address bytes", &[0, 1, 24, 0, 192, 0], false),
            ("too many address bytes", &[0, 1, 24, 0, 192, 0, 2, 0], false),
            ("bits beyond the prefix", &[0, 1, 20, 0, 192, 0, 0x28], false),
            ("cut", &[0, 1, 24], false),
            ("empty", &[], false),
        ] {
            assert_eq!(subnet(data).is_ok(), want, "{why}");
        }
    }

    #[test]
    fn only_an_empty_keepalive_asks_for_ours() {
        assert!(Options::read(&option(OPTION_KEEPALIVE, b"")).expect("valid").keepalive);
        assert!(!Options::read(&option(OPTION_KEEPALIVE, &[0, 9])).expect("valid").keepalive);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_options_panic(rdata in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Options::read(&rdata);
        }
    }
}
