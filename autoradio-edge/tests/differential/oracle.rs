//! What a frame is, judged apart from the program: which of them carry a query to this node, and which of those queries
//! the kernel must answer by itself. Slower and plainer than the program on purpose, and it shares no code with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A DNS message to this node, and who sent it.
#[derive(Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) client: IpAddr,
    pub(crate) client_port: u16,
    pub(crate) local: IpAddr,
    pub(crate) message: &'a [u8],
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The datagram in a frame that may be answered; `None` for every other frame.
pub(crate) fn datagram<'a>(frame: &'a [u8], locals: &[IpAddr]) -> Option<Datagram<'a>> {
    let is_group = |mac: &[u8]| mac[0] & 1 == 1;
    let (ethernet, packet) = frame.split_at_checked(14)?;
    if is_group(&ethernet[..6]) || is_group(&ethernet[6..12]) {
        return None;
    }
    let (client, local, udp) = match word(ethernet, 12)? {
        0x0800 => ipv4(packet)?,
        0x86dd => ipv6(packet)?,
        _ => return None,
    };
    let (client_port, port, udp_bytes) = (word(udp, 0)?, word(udp, 2)?, word(udp, 4)?);
    let ours = locals.contains(&local) && port == 53 && client_port != 0;
    if !ours || usize::from(udp_bytes) != udp.len() || !is_host(client) {
        return None;
    }
    Some(Datagram { client, client_port, local, message: &udp[8..] })
}

fn ipv4(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let (total, fragment) = (word(packet, 2)?, word(packet, 6)? & 0x3fff);
    if packet.len() < 20 || packet[0] != 0x45 || fragment != 0 || packet[9] != 17 {
        return None;
    }
    let address =
        |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    let payload = packet.get(20..usize::from(total))?;
    (payload.len() >= 8).then_some((address(12).into(), address(16).into(), payload))
}

fn ipv6(packet: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let length = usize::from(word(packet, 4)?);
    if packet.len() < 40 || packet[0] >> 4 != 6 || packet[6] != 17 {
        return None;
    }
    let address = |at: usize| {
        let octets: [u8; 16] = packet[at..at + 16].try_into().expect("sixteen bytes");
        IpAddr::from(Ipv6Addr::from(octets))
    };
    let payload = packet.get(40..40 + length)?;
    (payload.len() >= 8).then_some((address(8), address(24), payload))
}

/// Whether this may be one host's address, to which something can be answered.
fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let first = address.octets()[0];
            first != 0 && first != 127 && first < 224
        }
        // All of 0000::/8 is reserved, the loopback and the unspecified address among it.
        IpAddr::V6(address) => !matches!(address.octets()[0], 0 | 0xff),
    }
}

/// What is promised to be hot: a plain query for a name up to 63 bytes in the zone, with EDNS that needs nothing of
/// userspace, of one of the types that are records.
pub(crate) fn kernel_must_answer(message: &[u8], apex: &[u8]) -> bool {
    must_answer(message, apex).unwrap_or(false)
}

fn must_answer(message: &[u8], apex: &[u8]) -> Option<bool> {
    const QR_OPCODE_TC: u16 = 0x8000 | 0x7800 | 0x0200;
    let additionals = word(message, 10)?;
    let counts = (word(message, 4)?, word(message, 6)?, word(message, 8)?);
    let plain = word(message, 2)? & QR_OPCODE_TC == 0 && counts == (1, 0, 0);
    if !plain || additionals > 1 || message.len() > 512 {
        return Some(false);
    }
    let labels = labels(&message[12..])?;
    let name_bytes = labels.iter().map(|label| label.len() + 1).sum::<usize>() + 1;
    let apex: Vec<&[u8]> = self::labels(apex)?;
    let below = labels.len().checked_sub(apex.len())?;
    let same = |(one, other): (&&[u8], &&[u8])| one.eq_ignore_ascii_case(other);
    let in_zone = labels[below..].iter().zip(&apex).all(same);
    let question_end = 12 + name_bytes + 4;
    let (qtype, qclass) = (word(message, question_end - 4)?, word(message, question_end - 2)?);
    // OPT and type 0 are no records; 128 to 255 ask for more than records (RFC 6895 §3.1).
    let is_record = !matches!(qtype, 0 | 41 | 128..=255);
    let edns = match additionals {
        0 => question_end == message.len(),
        _ => opt_is_plain(&message[question_end..])?,
    };
    // The program takes a name's first zero for its end; whoever has one in a label asks for nothing that exists.
    let zero_free = labels.iter().all(|label| !label.contains(&0));
    Some(name_bytes <= 63 && in_zone && zero_free && qclass == 1 && is_record && edns)
}

fn labels(mut wire: &[u8]) -> Option<Vec<&[u8]>> {
    let mut labels = Vec::new();
    loop {
        let (&length, rest) = wire.split_first()?;
        if length == 0 {
            return Some(labels);
        }
        if length > 63 || rest.len() < usize::from(length) {
            return None;
        }
        let (label, after) = rest.split_at(usize::from(length));
        labels.push(label);
        wire = after;
    }
}

/// Whether an OPT record, which is all there is, asks for nothing that only userspace gives.
fn opt_is_plain(opt: &[u8]) -> Option<bool> {
    let (root, rtype, version) = (*opt.first()?, word(opt, 1)?, *opt.get(6)?);
    let mut options = opt.get(11..)?;
    let whole = usize::from(word(opt, 9)?) == options.len();
    if root != 0 || rtype != 41 || version != 0 || !whole {
        return Some(false);
    }
    let (mut seen, mut cookies, mut subnets) = (0, 0, 0);
    while !options.is_empty() {
        let (code, bytes) = (word(options, 0)?, usize::from(word(options, 2)?));
        let data = options.get(4..4 + bytes)?;
        seen += 1;
        let fine = match code {
            10 => {
                cookies += 1;
                matches!(bytes, 8 | 16..=40)
            }
            8 => {
                subnets += 1;
                subnet_is_valid(data)
            }
            3 | 12 => false,
            _ => true,
        };
        if !fine {
            return Some(false);
        }
        options = &options[4 + bytes..];
    }
    // How many of one kind the kernel reads over, and what it makes of a second cookie, is its own business.
    Some(seen <= 4 && cookies <= 1 && subnets <= 1)
}

/// RFC 7871 §6: family, prefix, no scope, just the bytes of the prefix, and nothing beyond it.
fn subnet_is_valid(data: &[u8]) -> bool {
    let &[0, family, bits, 0, ref address @ ..] = data else {
        return false;
    };
    let bits_max = [0, 32, 128].get(usize::from(family)).copied();
    if bits_max.is_none_or(|max| usize::from(bits) > max) {
        return false;
    }
    let bit = |at: usize| address[at / 8] >> (7 - at % 8) & 1;
    let all = 8 * address.len();
    address.len() == usize::from(bits).div_ceil(8)
        && (usize::from(bits)..all).all(|at| bit(at) == 0)
}

#[test]
fn what_the_kernel_must_answer_is_judged_by_the_message_alone() {
    const APEX: &[u8] = b"\x05radio\x04test\0";
    let message = |flags: u16, name: &[u8], qtype: u16, opt: &[u8]| {
        let counts = [7, flags, 1, 0, 0, u16::from(!opt.is_empty())];
        let mut message: Vec<u8> = counts.iter().flat_map(|word| word.to_be_bytes()).collect();
        message.extend_from_slice(name);
        message.extend_from_slice(&[qtype.to_be_bytes(), [0, 1]].concat());
        message.extend_from_slice(opt);
        message
    };
    let longest = [&[47][..], &[b'x'; 47], &[2, b'a', b'b'], APEX].concat();
    let too_long = [&[48][..], &[b'x'; 48], &[2, b'a', b'b'], APEX].concat();
    let cookie = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08abcdefgh";
    for (why, want, message) in [
        ("the zone's name", true, message(0x0100, APEX, 1, b"")),
        ("in any case", true, message(0, b"\x05RaDiO\x04TEST\0", 65, b"")),
        ("a name of 63 bytes", true, message(0, &longest, 28, b"")),
        ("a name of 64 bytes", false, message(0, &too_long, 28, b"")),
        ("another zone", false, message(0, b"\x06aradio\x04test\0", 1, b"")),
        ("a response", false, message(0x8000, APEX, 1, b"")),
        ("ANY", false, message(0, APEX, 255, b"")),
        ("a cookie", true, message(0, APEX, 1, cookie)),
        ("half a cookie option", false, message(0, APEX, 1, &cookie[..20])),
        ("NSID", false, message(0, APEX, 1, b"\0\0\x29\x04\xd0\0\0\0\0\0\x04\0\x03\0\0")),
        (
            "a subnet",
            true,
            message(0, APEX, 1, b"\0\0\x29\x04\xd0\0\0\0\0\0\x09\0\x08\0\x05\0\x01\x08\0\x0a"),
        ),
        (
            "bits beyond it",
            false,
            message(0, APEX, 1, b"\0\0\x29\x04\xd0\0\0\0\0\0\x09\0\x08\0\x05\0\x01\x07\0\x0b"),
        ),
    ] {
        assert_eq!(kernel_must_answer(&message, APEX), want, "{why}");
    }
}
