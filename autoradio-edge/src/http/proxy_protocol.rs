//! The PROXY protocol: what a proxy says about the client before the client's own first byte. Pure.
//!
//! Source: HAProxy's `proxy-protocol.txt` (version 1 in §2.1, version 2 in §2.2). Read strictly: what is not exactly in one of the two
//! forms is malformed, since it decides whose address counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What version 1 begins with.
const LINE: &[u8] = b"PROXY ";
/// Longest line of version 1, its end included, in bytes (§2.1).
const LINE_BYTES_MAX: usize = 107;
/// What version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, and length of the rest, in bytes (§2.2).
const PREFIX_BYTES: usize = 16;
/// Longest rest that is taken, in bytes: addresses and some extensions (TLVs), which are skipped.
const REST_BYTES_MAX: usize = 2_048;

/// What the beginning of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Not a header, and it cannot become one: these are the client's own bytes.
    Absent,
    /// It may be one; more bytes are needed to tell.
    Partial,
    /// One of this many bytes.
    Whole {
        /// Its length.
        bytes: usize,
        /// Whom the proxy speaks for; `None`: for itself, or for somebody without an IP address.
        client: Option<IpAddr>,
    },
    /// It begins as one and breaks the rules.
    Malformed,
}

impl ProxyHeader {
    /// Looks at the first bytes of a connection.
    pub fn parse(input: &[u8]) -> Self {
        for (beginning, parse) in
            [(LINE, parse_line as fn(&[u8]) -> Option<Self>), (SIGNATURE, parse_binary)]
        {
            let seen = beginning.len().min(input.len());
            if input[..seen] == beginning[..seen] {
                return if seen < beginning.len() {
                    Self::Partial
                } else {
                    parse(input).unwrap_or(Self::Malformed)
                };
            }
        }
        Self::Absent
    }
}

/// Version 1: `PROXY TCP4 <from> <to> <port> <port>\r\n`, or `PROXY UNKNOWN…\r\n`. `None`: malformed.
fn parse_line(input: &[u8]) -> Option<ProxyHeader> {
    let within = &input[..input.len().min(LINE_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return (input.len() < LINE_BYTES_MAX).then_some(ProxyHeader::Partial);
    };
    let line = std::str::from_utf8(&input[LINE.len()..end]).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    let client = match words.as_slice() {
        ["UNKNOWN", ..] => None,
        ["TCP4", from, to, ports @ ..] => {
            let [from, _]: [Ipv4Addr; 2] = [from.parse().ok()?, to.parse().ok()?];
            two_ports(ports)?;
            Some(from.into())
        }
        ["TCP6", from, to, ports @ ..] => {
            let [from, _]: [Ipv6Addr; 2] = [from.parse().ok()?, to.parse().ok()?];
            two_ports(ports)?;
            Some(IpAddr::from(from))
        }
        _ => return None,
    };
    let client = client.map(|client| client.to_canonical());
    Some(ProxyHeader::Whole { bytes: end + 2, client })
}

fn two_ports(words: &[&str]) -> Option<()> {
    let digits = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    let [from, to] = words else { return None };
    ([from, to].iter().all(|word| digits(word) && word.parse::<u16>().is_ok())).then_some(())
}

/// Version 2: signature, `0x20` (for the proxy itself) or `0x21`, family, length, addresses, extensions. `None`: malformed.
fn parse_binary(input: &[u8]) -> Option<ProxyHeader> {
    // What is wrong already is said at once.
    let local = match input.get(12) {
        None | Some(0x21) => false,
        Some(0x20) => true,
        Some(_) => return None,
    };
    let &[family, high, low] = input.get(13..PREFIX_BYTES).unwrap_or_default() else {
        return Some(ProxyHeader::Partial);
    };
    let rest_bytes = usize::from(u16::from_be_bytes([high, low]));
    if rest_bytes > REST_BYTES_MAX {
        return None;
    }
    let bytes = PREFIX_BYTES + rest_bytes;
    let Some(rest) = input.get(PREFIX_BYTES..bytes) else {
        return Some(ProxyHeader::Partial);
    };
    let client: Option<IpAddr> = match family {
        _ if local => None,
        // Over TCP: two addresses, then two ports.
        0x11 => Some(rest.first_chunk::<12>().map(|all| [all[0], all[1], all[2], all[3]])?.into()),
        0x21 => {
            rest.first_chunk::<36>()?;
            Some(IpAddr::from(*rest.first_chunk::<16>()?))
        }
        // Unspecified, datagrams and Unix sockets: nobody whose address would mean anything here.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => None,
        _ => return None,
    };
    let client = client.map(|client| client.to_canonical());
    Some(ProxyHeader::Whole { bytes, client })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn whole(input: &[u8], client: Option<&str>) {
        let client = client.map(|client| client.parse().expect("an address"));
        let want = ProxyHeader::Whole { bytes: input.len(), client };
        let followed = [input, b"GET / HTTP/1.0\r\n\r\n"].concat();
        assert_eq!(ProxyHeader::parse(&followed), want, "{}", input.escape_ascii());
        for cut in 0..input.len() {
            let parsed = ProxyHeader::parse(&input[..cut]);
            assert_eq!(parsed, ProxyHeader::Partial, "{} cut at {cut}", input.escape_ascii());
        }
    }

    #[test]
    fn both_versions_name_the_client_and_end_where_its_bytes_begin() {
        whole(b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 80\r\n", Some("192.0.2.7"));
        whole(b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 80\r\n", Some("2001:db8::7"));
        whole(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 80\r\n", Some("192.0.2.7"));
        whole(b"PROXY UNKNOWN\r\n", None);
        whole(b"PROXY UNKNOWN ff ff 1 2\r\n", None);
        let v4 = [192, 0, 2, 7, 192, 0, 2, 1, 0xdc, 4, 0, 80];
        whole(&binary(0x21, 0x11, &v4), Some("192.0.2.7"));
        whole(&binary(0x21, 0x11, &[&v4[..], &[4, 0, 1, 9]].concat()), Some("192.0.2.7"));
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 20]].concat();
        whole(&binary(0x21, 0x21, &v6), Some("2001:db8::7"));
        whole(&binary(0x20, 0x11, &v4), None);
        whole(&binary(0x20, 0, &[]), None);
        whole(&binary(0x21, 0x31, &[0; 216]), None);
    }

    #[test]
    fn what_only_looks_like_a_header_is_malformed_and_what_does_not_is_the_clients() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_BYTES_MAX));
        for (why, input) in [
            ("a name for an address", &b"PROXY TCP4 localhost 192.0.2.1 1 80\r\n"[..]),
            ("another family", b"PROXY TCP4 ::1 ::1 1 80\r\n"),
            ("a port too large", b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 80\r\n"),
            ("a signed port", b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 80\r\n"),
            ("a port missing", b"PROXY TCP4 192.0.2.7 192.0.2.1 80\r\n"),
            ("a word too many", b"PROXY TCP4 192.0.2.7 192.0.2.1 1 80 2\r\n"),
            ("two spaces", b"PROXY  TCP4 192.0.2.7 192.0.2.1 1 80\r\n"),
            ("UDP", b"PROXY UDP4 192.0.2.7 192.0.2.1 1 80\r\n"),
            ("too long", long.as_bytes()),
            ("version 3", &binary(0x31, 0x11, &[0; 12])),
            ("an unknown command", &binary(0x22, 0x11, &[0; 12])),
            ("an unknown family", &binary(0x21, 0x41, &[0; 12])),
            ("addresses cut short", &binary(0x21, 0x11, &[0; 11])),
            ("addresses cut short, IPv6", &binary(0x21, 0x21, &[0; 35])),
            ("a rest too long", &binary(0x21, 0x11, &[0; REST_BYTES_MAX + 1])),
        ] {
            assert_eq!(ProxyHeader::parse(input), ProxyHeader::Malformed, "{why}");
        }
        for input in [&b"PUT / HTTP/1.1\r\n"[..], b"GET", b"\r\n\r\nGET", b"PROXIMITY", b"\xff\xfb"]
        {
            assert_eq!(ProxyHeader::parse(input), ProxyHeader::Absent);
        }
    }
}
