//! The headers of a reply, written anew: Ethernet, IP, UDP, and that of DNS.
//!
//! Sums are those of the Internet checksum (RFC 1071), which do not depend on the order of bytes as long as all words have
//! the same: here little-endian, in 64 bits that cannot overflow, folded once at the end.

use autoradio_common::verdict::Verdict;
use autoradio_common::wire::{HEADER_BYTES, PORT};
use aya_ebpf::programs::XdpContext;

use crate::packet::{
    Datagram, ETHERNET_BYTES, Family, IPV4_BYTES, IPV6_BYTES, PROTOCOL_UDP, UDP_BYTES, bytes_at,
};

/// Hop limit of replies, as Linux sends them.
const HOPS: u8 = 64;

/// What of the message is not copied: its header, and the sum of all of it.
pub struct Message {
    /// As it stands in the packet, in little-endian order.
    pub id: u16,
    /// Flags and response code.
    pub flags: u16,
    /// The four counts, as they stand in the packet, in little-endian order.
    pub counts: u64,
    /// Sum of the whole message.
    pub sum: u64,
}

/// Folds a sum into 16 bits.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// Bytes of the headers of a reply over IPv4, and where its parts start.
const V4_BYTES: usize = Family::V4.message_offset() + HEADER_BYTES;
/// The same over IPv6.
const V6_BYTES: usize = Family::V6.message_offset() + HEADER_BYTES;

/// Some of the bytes of a view.
#[inline(always)]
pub fn get<const BYTES: usize>(frame: &[u8], at: usize) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes.copy_from_slice(&frame[at..at + BYTES]);
    bytes
}

#[inline(always)]
fn put<const BYTES: usize>(frame: &mut [u8], at: usize, bytes: [u8; BYTES]) {
    frame[at..at + BYTES].copy_from_slice(&bytes);
}

/// Adds the halves of a word of eight bytes.
#[inline(always)]
fn halves(bytes: [u8; 8]) -> u64 {
    let word = u64::from_le_bytes(bytes);
    (word & 0xffff_ffff) + (word >> 32)
}

/// Where a query came from and went to, read before its frame is resized.
pub struct Asked<const BYTES: usize> {
    /// Ours and the client's on their link.
    ends: [[u8; 6]; 2],
    /// The client's and ours.
    addresses: [[u8; BYTES]; 2],
}

impl Asked<4> {
    /// Reads them from a frame with IPv4.
    #[inline(always)]
    pub fn over_v4(ctx: &XdpContext) -> Option<Self> {
        let frame = bytes_at::<{ ETHERNET_BYTES + IPV4_BYTES }>(ctx, 0)?;
        Some(Self { ends: ends(frame), addresses: [get(frame, 26), get(frame, 30)] })
    }
}

impl Asked<16> {
    /// Reads them from a frame with IPv6.
    #[inline(always)]
    pub fn over_v6(ctx: &XdpContext) -> Option<Self> {
        let frame = bytes_at::<{ ETHERNET_BYTES + IPV6_BYTES }>(ctx, 0)?;
        Some(Self { ends: ends(frame), addresses: [get(frame, 22), get(frame, 38)] })
    }
}

#[inline(always)]
fn ends(frame: &[u8]) -> [[u8; 6]; 2] {
    [get(frame, 0), get(frame, 6)]
}

/// Writes the headers of the reply: Ethernet, IPv4, UDP, DNS.
#[inline(always)]
pub fn write_v4(
    ctx: &XdpContext,
    asked: &Asked<4>,
    datagram: &Datagram,
    message: &Message,
    udp_bytes: usize,
) -> Result<(), Verdict> {
    let frame = bytes_at::<V4_BYTES>(ctx, 0).ok_or(Verdict::DropWriteFailed)?;
    let [source, destination] = asked.addresses;
    write_ethernet(frame, asked.ends, [0x08, 0x00]);
    let total = ((IPV4_BYTES + udp_bytes) as u16).to_be_bytes();
    // No type of service, no identification, may not be fragmented: as Linux answers a small datagram.
    let start = [0x45, 0, total[0], total[1], 0, 0, 0x40, 0];
    let addresses =
        u64::from(u32::from_le_bytes(source)) + u64::from(u32::from_le_bytes(destination));
    let hops = u64::from(u16::from_le_bytes([HOPS, PROTOCOL_UDP]));
    let checksum = (!fold(halves(start) + hops + addresses)).to_le_bytes();
    put(frame, ETHERNET_BYTES, start);
    put(frame, ETHERNET_BYTES + 8, [HOPS, PROTOCOL_UDP, checksum[0], checksum[1]]);
    put(frame, 26, destination);
    put(frame, 30, source);
    write_udp(frame, Family::V4.udp_offset(), datagram, message, udp_bytes, addresses);
    Ok(())
}

/// Writes the headers of the reply: Ethernet, IPv6, UDP, DNS.
#[inline(always)]
pub fn write_v6(
    ctx: &XdpContext,
    asked: &Asked<16>,
    datagram: &Datagram,
    message: &Message,
    udp_bytes: usize,
) -> Result<(), Verdict> {
    let frame = bytes_at::<V6_BYTES>(ctx, 0).ok_or(Verdict::DropWriteFailed)?;
    let [source, destination] = asked.addresses;
    write_ethernet(frame, asked.ends, [0x86, 0xdd]);
    let payload = (udp_bytes as u16).to_be_bytes();
    put(frame, ETHERNET_BYTES, [0x60, 0, 0, 0, payload[0], payload[1], PROTOCOL_UDP, HOPS]);
    put(frame, 22, destination);
    put(frame, 38, source);
    let mut addresses = 0;
    for at in [0, 8] {
        addresses += halves(get::<8>(&source, at)) + halves(get::<8>(&destination, at));
    }
    write_udp(frame, Family::V6.udp_offset(), datagram, message, udp_bytes, addresses);
    Ok(())
}

#[inline(always)]
fn write_ethernet(frame: &mut [u8], [ours, client]: [[u8; 6]; 2], ethertype: [u8; 2]) {
    put(frame, 0, client);
    put(frame, 6, ours);
    put(frame, 12, ethertype);
}

/// Writes the UDP and DNS headers, with a full checksum: what came in may carry the pseudo-header's sum only.
#[inline(always)]
fn write_udp(
    frame: &mut [u8],
    at: usize,
    datagram: &Datagram,
    message: &Message,
    udp_bytes: usize,
    addresses: u64,
) {
    let (port, client_port) = (PORT.to_be_bytes(), datagram.client_port.to_be_bytes());
    let length = (udp_bytes as u16).to_be_bytes();
    // The pseudo-header has the addresses, the protocol and the length (RFC 768; RFC 8200 §8.1).
    let sum = message.sum
        + addresses
        + u64::from(u16::from_le_bytes([0, PROTOCOL_UDP]))
        + 2 * u64::from(u16::from_le_bytes(length))
        + u64::from(u16::from_le_bytes(port))
        + u64::from(u16::from_le_bytes(client_port));
    // A sum of zero means "none", so it is sent as its other form (RFC 768).
    let checksum = match !fold(sum) {
        0 => [0xff, 0xff],
        value => value.to_le_bytes(),
    };
    put(frame, at, [port[0], port[1], client_port[0], client_port[1]]);
    put(frame, at + 4, [length[0], length[1], checksum[0], checksum[1]]);
    put(frame, at + UDP_BYTES, message.id.to_le_bytes());
    put(frame, at + UDP_BYTES + 2, message.flags.to_be_bytes());
    put(frame, at + UDP_BYTES + 4, message.counts.to_le_bytes());
}
